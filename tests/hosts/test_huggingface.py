"""The collator, the callback and the loss in real Trainers, and Accelerate with two processes."""

import os

os.environ |= {"HF_HUB_OFFLINE": "1"}  # read by transformers while it is imported

import ast
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)

import batchmix as bm
import batchmix.adapters.huggingface as adapter
from batchmix.adapters.huggingface import MixCollator, MixTraining, soft_cross_entropy
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
ROWS, BATCH, CLASSES = 20, 4, 20  # 5 batches
POLICY = Switch([MixUp(1.0), CutMix(1.0)])


class Rows(Dataset):
    """Row i holds i / ROWS in the image, and i as label."""

    def __len__(self):
        return ROWS

    def __getitem__(self, i):
        return {"pixel_values": torch.full((1, 8, 8), i / ROWS), "labels": i, "name": f"row {i}"}


class Stream(IterableDataset):
    def __iter__(self):
        return iter([Rows()[i] for i in range(ROWS)])


def vit():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "image_size": 8, "patch_size": 4, "num_channels": 1}
    return ViTForImageClassification(ViTConfig(**sizes, num_labels=CLASSES))


def resnet():
    torch.manual_seed(0)
    sizes = {"num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}
    sizes |= {"layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**sizes, num_labels=CLASSES))


class Seen(Trainer):
    """Remembers what the model is trained and evaluated on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.trained, self.evaluated = [], []

    def compute_loss(self, model, inputs, *args, **options):
        (self.trained if model.training else self.evaluated).append(dict(inputs))
        return super().compute_loss(model, inputs, *args, **options)

    def _get_train_sampler(self, *args, **options):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def arguments(folder, **options):
    quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no"}
    quiet |= {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH}
    quiet |= {"dataloader_pin_memory": False}
    return TrainingArguments(str(folder), **(quiet | {"num_train_epochs": 2} | options))


def trainer(
    folder, *, model=None, policy=POLICY, loss=soft_cross_entropy, rows=None, log=False, **options
):
    mix = MixTraining(MixCollator(policy, CLASSES, seed=3), log=log)
    rows = Rows() if rows is None else rows
    return Seen(
        model=model or vit(),
        args=arguments(folder, **options),
        train_dataset=rows,
        eval_dataset=Rows(),
        compute_loss_func=loss,
        callbacks=[mix],
    )


def expected(epochs=2, rank=0, policy=POLICY):
    """The same plans on the same batches, without a Trainer."""
    fields = {"pixel_values": Image("NCHW"), "labels": Labels(CLASSES)}
    mixer = bm.Mixer(policy, fields, seed=3, rank=rank)
    names = ("pixel_values", "labels")
    rows = [{name: Rows()[i][name] for name in names} for i in range(ROWS)]
    batches = [default_data_collator(rows[k : k + BATCH]) for k in range(0, ROWS, BATCH)]
    return [
        mixer(batch, step=step, epoch=epoch)
        for epoch in range(epochs)
        for step, batch in enumerate(batches)
    ]


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two):
        assert torch.equal(a["pixel_values"], b["pixel_values"])
        assert torch.equal(a["labels"], b["labels"])


@pytest.mark.parametrize(("workers", "stay"), [(0, False), (2, False), (2, True)])
def test_training_is_mixed_and_evaluation_is_not(tmp_path, workers, stay):
    options = {"dataloader_num_workers": workers, "dataloader_persistent_workers": stay}
    run = trainer(tmp_path, eval_strategy="steps", eval_steps=2, **options)
    run.train()
    assert_same(run.trained, expected())
    ids = torch.arange(CLASSES, dtype=torch.float32)
    for batch in run.trained:
        share = batch["labels"] @ ids
        assert torch.allclose(batch["pixel_values"].flatten(1).mean(1) * ROWS, share, atol=1e-4)
    assert len(run.evaluated) == 5 * 5
    plain = [default_data_collator([Rows()[i] for i in range(k, k + 4)]) for k in range(0, 20, 4)]
    assert_same(run.evaluated, plain * 5)


class Reporter(TrainerCallback):
    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs, **_):
        self.logs.append(dict(logs))


def test_what_was_done_is_in_the_logs_of_training(tmp_path, capsys):
    """Five batches an epoch: each log is the mean of those since the last."""
    run = trainer(tmp_path, log=True, logging_steps=5, eval_strategy="epoch")
    run.add_callback(Reporter)
    run.train()
    fields = {"pixel_values": Image("NCHW"), "labels": Labels(CLASSES)}
    mixer, wanted = bm.Mixer(POLICY, fields, seed=3, rank=0), []
    rows = [{name: Rows()[i][name] for name in fields} for i in range(ROWS)]
    for k in range(10):
        step = k % 5
        batch = default_data_collator(rows[step * BATCH : step * BATCH + BATCH])
        mixer(batch, step=step, epoch=k // 5)
        wanted.append(mixer.summary())
    (reporter,) = (one for one in run.callback_handler.callbacks if isinstance(one, Reporter))
    printed = capsys.readouterr().out
    for logs in (run.state.log_history, reporter.logs):
        trained = [log for log in logs if "loss" in log]
        assert len(trained) == 2
        for epoch, log in enumerate(trained):
            for name in wanted[0]:
                mean = np.mean([one[name] for one in wanted[5 * epoch : 5 * epoch + 5]])
                assert log[name] == pytest.approx(mean)
                assert f"'{name}': '{mean:.4g}'" in printed
        assert not any("mix/lam" in log for log in logs if "loss" not in log)
    quiet = trainer(tmp_path, logging_steps=5)
    quiet.train()
    assert not any("mix/lam" in log for log in quiet.state.log_history)


@pytest.mark.parametrize("setting", [{"dataloader_num_workers": 2}, {"report_to": "tensorboard"}])
def test_a_log_that_would_miss_something_is_refused(tmp_path, setting, monkeypatch):
    run = trainer(tmp_path, log=True, **{k: v for k, v in setting.items() if k != "report_to"})
    if "report_to" in setting:  # which need not be installed
        monkeypatch.setattr(run.args, "report_to", [setting["report_to"]])
    with pytest.raises(bm.MixError, match="log=True") as caught:
        run.train()
    assert str(*setting.values()) in str(caught.value)
    assert not run.trained


def test_labels_of_an_evaluation_reach_the_metrics(tmp_path):
    run, got = trainer(tmp_path, num_train_epochs=1), []
    run.compute_metrics = lambda given: (
        got.append(given.label_ids) or {"rows": len(given.label_ids)}
    )
    run.train()
    assert run.evaluate()["eval_rows"] == ROWS
    assert got[0].tolist() == list(range(ROWS))
    assert run.predict(Rows()).label_ids.tolist() == list(range(ROWS))


@pytest.mark.parametrize(("make", "epochs"), [(vit, 20), (resnet, 8)])
def test_the_loss_goes_down(tmp_path, make, epochs):
    options = {"learning_rate": 0.01, "num_train_epochs": epochs, "logging_steps": 5}
    run = trainer(tmp_path, model=make(), policy=MixUp(0.2), **options)
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.1  # each the mean of an epoch


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_is_that_of_a_hand_written_loop(tmp_path, accumulate):
    options = {"gradient_accumulation_steps": accumulate, "max_grad_norm": 0.0, "optim": "sgd"}
    options |= {"lr_scheduler_type": "constant", "learning_rate": 0.1, "num_train_epochs": 1}
    run = trainer(tmp_path, model=resnet(), logging_steps=1, **options)
    run.train()

    model, losses = resnet().train(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batches = expected(1)
    for k in range(0, len(batches), accumulate):
        group = batches[k : k + accumulate]
        optimizer.zero_grad()
        total = 0
        for batch in group:
            log = model(batch["pixel_values"]).logits.log_softmax(1)
            loss = -(batch["labels"] * log).sum() / (BATCH * len(group))
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    logged = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert logged == pytest.approx(losses, abs=2e-4)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


def test_soft_cross_entropy_takes_ids_and_soft_labels():
    outputs = SimpleNamespace(logits=torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    ids = torch.tensor([0, 2, 1, 1])
    hard = torch.nn.functional.one_hot(ids, 3).float()
    expected = torch.nn.functional.cross_entropy(outputs.logits, ids)
    for got in (
        soft_cross_entropy(outputs, ids),
        soft_cross_entropy(outputs, hard),
        soft_cross_entropy({"logits": outputs.logits}, hard),
        soft_cross_entropy(outputs, ids, 8) * 2,
        soft_cross_entropy(outputs, hard, torch.tensor(24)) * 2,  # the Trainer counts B x C
    ):
        torch.testing.assert_close(got, expected)
    with pytest.raises(bm.MixError, match="shape"):
        soft_cross_entropy(outputs, torch.zeros(4, 5))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resume_in_the_middle_of_an_epoch(tmp_path, accumulate, workers):
    options = {"gradient_accumulation_steps": accumulate, "dataloader_num_workers": workers}
    whole = trainer(tmp_path / "whole", **options)
    whole.train()
    keep = {"save_strategy": "steps", "save_steps": 1}
    first = trainer(tmp_path / "part", **options, **keep)
    first.train()
    step = {1: 7, 2: 4}[accumulate]  # in the second epoch: 2, and 2 batches into it
    rest = trainer(tmp_path / "part", **options)
    rest.train(resume_from_checkpoint=str(tmp_path / "part" / f"checkpoint-{step}"))
    assert_same(whole.trained, expected())
    assert_same(rest.trained, expected()[7:])


def test_a_policy_may_look_at_the_epoch_with_workers_that_stay(tmp_path):
    options = {"dataloader_num_workers": 2, "dataloader_persistent_workers": True}
    run = trainer(tmp_path, policy=Schedule.off_after(MixUp(1.0), 1), **options)
    run.train()
    hard = [bool((batch["labels"].max(1).values == 1).all()) for batch in run.trained]
    assert hard == [False] * 5 + [True] * 5


def test_a_stream_has_epochs_too(tmp_path):
    run = trainer(tmp_path, rows=Stream(), max_steps=10)
    run.train()
    assert_same(run.trained, expected())


def test_a_second_training_is_mixed_once(tmp_path):
    run = trainer(tmp_path)
    run.train(), run.train()
    assert_same(run.trained, expected() * 2)


def test_without_the_loss_it_fails_instead_of_training_on_another(tmp_path):
    """A model given soft labels takes them for multi-label ones, without a word."""
    with torch.no_grad():
        loss = vit()(**expected(1)[0]).loss
        assert float(loss) < 1 < math.log(CLASSES)  # a binary cross-entropy; what is not to happen
    with pytest.raises((ValueError, RuntimeError), match="batch_size"):
        trainer(tmp_path, loss=None).train()


def test_a_collator_that_mixes_is_refused_as_the_trainers(tmp_path):
    run = trainer(tmp_path)
    run.data_collator = MixCollator(POLICY, CLASSES)
    with pytest.raises(bm.MixError, match=r"is a MixCollator(.|\n)*Give the Trainer a"):
        run.train()


def test_smoothing_that_would_not_reach_the_labels_is_refused(tmp_path):
    run = trainer(tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(bm.MixError, match=r"smoothing=\.\.\."):
        run.train()


@pytest.mark.parametrize(("given", "rank"), [(None, 1), (5, 5)])
def test_the_rank_is_the_trainers_unless_one_is_given(given, rank):
    options = {} if given is None else {"rank": given}
    mixing = MixTraining(MixCollator(POLICY, CLASSES, seed=3, **options))
    batches = loader(default_data_collator, 0)
    args = SimpleNamespace(process_index=1, label_smoothing_factor=0.0)
    state = SimpleNamespace(epoch=0.0)
    mixing.on_train_begin(args, state, None, model=None, train_dataloader=batches)
    mixing.on_epoch_begin(args, state, None)
    assert_same(list(batches), expected(1, rank=rank))
    mixing.on_train_end(args, state, None)
    assert batches.collate_fn is default_data_collator
    assert mixing.mix.mixer.rank == given


def test_only_memory_that_the_default_collator_made_is_written_to(monkeypatch):
    rows, made = [Rows()[i] for i in range(BATCH)], []

    def collate(given):
        made.append(default_data_collator(given))
        return made[-1]

    one = MixCollator(POLICY, CLASSES, collator=collate, seed=3)(rows)
    assert not torch.equal(made[0]["pixel_values"], one["pixel_values"])
    monkeypatch.setattr(adapter, "default_data_collator", collate)
    two = MixCollator(POLICY, CLASSES, collator=collate, seed=3)(rows)
    assert made[1]["pixel_values"].data_ptr() == two["pixel_values"].data_ptr()
    assert torch.equal(one["pixel_values"], two["pixel_values"])
    assert all(torch.equal(row["pixel_values"], Rows()[i]["pixel_values"])
               for i, row in enumerate(rows))  # fmt: skip


def loader(mix, workers, **options):
    options |= {"multiprocessing_context": "fork"} if workers else {}
    return DataLoader(Rows(), BATCH, collate_fn=mix, num_workers=workers, **options)


@pytest.mark.parametrize("stay", [False, True])
def test_the_collator_alone(stay):
    mix = MixCollator(POLICY, CLASSES, seed=3)
    batches, got = loader(mix, 2, persistent_workers=stay), []
    for epoch in range(2):
        mix.set_epoch(epoch)
        got += list(batches)
    assert_same(got, expected())
    assert isinstance(got[0]["labels"], torch.Tensor)


def test_a_pass_of_new_workers_needs_an_epoch():
    mix = MixCollator(POLICY, CLASSES)
    with pytest.raises(bm.MixError, match="set_epoch"):
        list(loader(mix, 1))


def test_other_fields_and_collators():
    def collate(rows):
        images = torch.stack([row["pixel_values"] for row in rows])
        return {"image": images, "y": torch.tensor([row["labels"] for row in rows])}

    fields = {"image": Image("NCHW"), "y": Labels(CLASSES, smoothing=0.1)}
    mix = MixCollator(bm.Mixer(POLICY, fields, seed=3), collator=collate)
    batch = mix([Rows()[i] for i in range(BATCH)])
    assert torch.equal(batch["image"], expected(1)[0]["pixel_values"])
    smooth = expected(1)[0]["labels"] * 0.9 + 0.1 / CLASSES
    torch.testing.assert_close(batch["y"], smooth)


def test_classes_beside_fields_are_refused():
    mixer = bm.Mixer(POLICY, {"pixel_values": Image("NCHW"), "labels": Labels(CLASSES)})
    with pytest.raises(bm.MixError, match="Give both to Labels"):
        MixCollator(mixer, CLASSES)
    with pytest.raises(bm.MixError, match="got a Mixer and rank"):
        MixCollator(mixer, rank=0)


def test_rows_of_numpy_and_wrong_labels():
    rows = [{"pixel_values": np.ones((3, 4, 4), np.float32), "label": k} for k in range(4)]
    assert MixCollator(MixUp(), 4)(rows)["labels"].shape == (4, 4)
    with pytest.raises(bm.MixError, match="label 3 with classes=3"):
        MixCollator(MixUp(), 3)(rows)


def test_two_processes_of_accelerate():
    """Ranks differ, asked of each process, and collator and mixer agree."""
    script = Path(__file__).parent / "scripts" / "accelerate_ddp.py"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, str(script)], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"rank (\d): (\[.*?\])", done.stdout)
    seen = {int(rank): ast.literal_eval(weights) for rank, weights in found}
    assert sorted(seen) == [0, 1]
    assert len(seen[0]) == len(seen[1]) == 16
    met = set(seen[0]) & set(seen[1])  # by chance: lam has 4096 values
    assert len(met) <= 1


@pytest.mark.parametrize("name", ["huggingface_trainer", "accelerate_loop"])
def test_examples(name, tmp_path):
    words = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("test accuracy:")[1].split()[0]) > 0.6
