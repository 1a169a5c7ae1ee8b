"""Embeddings of a language model, mixed with the union of both masks: on a tiny random BERT."""

import os

os.environ |= {"HF_HUB_OFFLINE": "1"}  # read by transformers while it is imported

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainingArguments,
)

import batchmix as bm
import pages
from batchmix.adapters.huggingface import MixCollator
from batchmix.fields import Grid, Ids, Labels, PaddingMask
from batchmix.policies import CutMix, MixUp

B, T, CLASSES = 4, 8, 4
LENGTHS = torch.tensor([3, 8, 5, 6])
MASK = (torch.arange(T) < LENGTHS[:, None]).long()
Y = torch.arange(B)
FIELDS = {"embeds": Grid("NTC"), "mask": PaddingMask("NT"), "labels": Labels(CLASSES)}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}


def bert(kind=BertForSequenceClassification):
    torch.manual_seed(0)
    config = BertConfig(**SIZES, intermediate_size=16, num_labels=CLASSES)
    return kind(config).eval()


def distilbert():
    torch.manual_seed(0)
    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "vocab_size": 50}
    config = DistilBertConfig(**sizes, num_labels=CLASSES, attention_dropout=0.0, dropout=0.0)
    return DistilBertForSequenceClassification(config).eval()


def words():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 50, (B, T), generator=generator) * MASK


def batch_of(model):
    return {"embeds": model.get_input_embeddings()(words()), "mask": MASK, "labels": Y}


@pytest.mark.parametrize("make", [bert, distilbert])
def test_a_batch_that_is_left_alone_has_the_logits_of_its_words(make):
    model = make()
    mixed = bm.Mixer(None, FIELDS)(batch_of(model))
    found = model(inputs_embeds=mixed["embeds"], attention_mask=mixed["mask"]).logits
    torch.testing.assert_close(found, model(words(), MASK).logits)
    loss = bm.losses.soft_cross_entropy(found, mixed["labels"])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(found, Y))


@pytest.mark.parametrize("policy", [MixUp(1.0), CutMix(1.0)])
def test_what_neither_row_says_is_not_heard(policy):
    """Padding may hold anything; what one of the two says is always heard."""
    model = bert()
    batch = batch_of(model)
    mixer = bm.Mixer(policy, FIELDS, seed=3)
    plan = mixer.draw(batch, step=0)
    mixed = mixer.apply(batch, plan)
    logits = model(inputs_embeds=mixed["embeds"], attention_mask=mixed["mask"]).logits
    noise = torch.randn_like(mixed["embeds"]) * (1 - mixed["mask"])[..., None]
    noisy = model(inputs_embeds=mixed["embeds"] + noise, attention_mask=mixed["mask"]).logits
    torch.testing.assert_close(noisy, logits)
    length = mixed["mask"].sum(1)
    if isinstance(policy, MixUp):
        assert length.tolist() == torch.maximum(LENGTHS, LENGTHS[plan.partner]).tolist()
        # the heavier row alone would cut words off
        heavier = PaddingMask("NT", rule="heavier")(MASK, plan)
        assert (heavier.sum(1) < length).any()
    else:
        low, high = plan.box[:, 0].T
        for row, (lo, hi) in enumerate(zip(low, high)):
            want = MASK[row].clone()
            want[lo:hi] = MASK[plan.partner[row], lo:hi]
            assert torch.equal(mixed["mask"][row], want)


def test_gradients_reach_the_words_of_both_rows():
    model = bert()
    batch = batch_of(model)
    plan = bm.Plan([1, 0, 3, 2], [], [0.5] * B, "", ())
    mixed = bm.Mixer(MixUp(1.0), FIELDS).apply(batch, plan)
    logits = model(inputs_embeds=mixed["embeds"], attention_mask=mixed["mask"]).logits
    bm.losses.soft_cross_entropy(logits, mixed["labels"]).backward()
    reached = model.get_input_embeddings().weight.grad.abs().sum(1) > 0
    assert reached[words()[MASK == 1]].all()


def test_the_loss_is_the_mix_of_both():
    model = bert()
    batch = batch_of(model)
    mixer = bm.Mixer(MixUp(1.0), FIELDS, seed=1)
    plan = mixer.draw(batch, step=0)
    mixed = mixer.apply(batch, plan)
    logits = model(inputs_embeds=mixed["embeds"], attention_mask=mixed["mask"]).logits
    each = torch.nn.CrossEntropyLoss(reduction="none")
    pairs = bm.losses.pairwise(each, logits, bm.pairs(Y, plan))
    torch.testing.assert_close(bm.losses.soft_cross_entropy(logits, mixed["labels"]), pairs)


def test_tags_of_words_follow_their_words():
    """CutMix of ids, in a collator; the loss of the model leaves out what has no tag."""
    ids, model = words(), bert(BertForTokenClassification)
    tags = torch.where(MASK == 1, ids % CLASSES, -100)
    fields = {"input_ids": Ids("NT"), "attention_mask": PaddingMask("NT"), "labels": Ids("NT")}
    mix = MixCollator(bm.Mixer(CutMix(1.0), fields, seed=2))
    rows = zip(ids, MASK, tags)
    batch = mix([{"input_ids": i, "attention_mask": m, "labels": t} for i, m, t in rows])
    there = batch["attention_mask"] == 1
    assert not torch.equal(batch["input_ids"], ids)
    assert torch.equal(batch["labels"][there], batch["input_ids"][there] % CLASSES)
    assert (batch["labels"][~there] == -100).all()
    found = model(**batch)
    want = torch.nn.functional.cross_entropy(
        found.logits[there], batch["input_ids"][there] % CLASSES
    )
    torch.testing.assert_close(found.loss, want)


def test_soft_tags_weigh_each_place_by_what_is_known():
    model = bert(BertForTokenClassification)
    batch = batch_of(model)
    hot = torch.nn.functional.one_hot(words() % CLASSES, CLASSES) * MASK[..., None]
    fields = {"embeds": Grid("NTC"), "mask": PaddingMask("NT"), "tags": Grid("NTC")}
    batch = {"embeds": batch["embeds"], "mask": MASK, "tags": hot.float()}
    mixer = bm.Mixer(MixUp(1.0), fields, seed=1)
    plan = mixer.draw(batch, step=0)
    mixed = mixer.apply(batch, plan)
    logits = model(inputs_embeds=mixed["embeds"], attention_mask=mixed["mask"]).logits
    dense = bm.losses.soft_cross_entropy(logits.flatten(0, 1), mixed["tags"].flatten(0, 1), "none")
    each = torch.nn.CrossEntropyLoss(reduction="none", ignore_index=-100)
    tags = torch.where(MASK == 1, words() % CLASSES, -100)
    pairs = bm.losses.pairwise(
        lambda z, y: each(z.transpose(1, 2), y), logits, bm.pairs(tags, plan), "none"
    )
    torch.testing.assert_close(dense.reshape(B, T), pairs)


def test_the_trainer_of_the_page_accumulates_a_mean(tmp_path):
    """Four batches of 8 rows move the weights as one of 32 does, where nothing is mixed."""
    page = pages.DOCS / "kinds" / "text.md"
    (code,) = (b.code for b in pages.blocks(page) if "class MixedTrainer" in b.code)

    def mixed_loss(model, batch):
        logits = model(inputs_embeds=model.get_input_embeddings()(batch["input_ids"])).logits
        soft = torch.nn.functional.one_hot(batch["labels"], CLASSES).float()
        return bm.losses.soft_cross_entropy(logits, soft)

    names = {"mixed_loss": mixed_loss}
    exec(code, names)
    ids = torch.arange(32 * T).reshape(32, T) % 50
    rows = [{"input_ids": ids[k], "labels": k % CLASSES} for k in range(32)]
    same = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "num_train_epochs": 1}
    same |= {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    found = []
    for size in (32, 8):
        model = bert()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 32 // size}
        arguments = TrainingArguments(str(tmp_path), **same, **options)
        names["MixedTrainer"](model, arguments, train_dataset=rows).train()
        found.append(model.classifier.weight.detach())
    torch.testing.assert_close(*found)
