"""MONAI: volumes with meta data through a Mixer, and MixHandler in a real trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor, decollate_batch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import StatsHandler
from monai.transforms import Compose, CutMixd, Invertd, MixUpd, Rotate90d

import batchmix as bm
from batchmix.adapters.monai import MixHandler
from batchmix.backends import _native
from batchmix.fields import Ids, Image, Labels, SoftMask
from batchmix.policies import ClassMix, CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
ROWS, BATCH = 10, 4  # 3 batches, the last of 2 rows
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {"image": Image("NCHWD"), "label": Labels(ROWS), "seg": Ids("NCHWD")}


def mixer(policy=POLICY, **options):
    return bm.Mixer(policy, FIELDS, **{"seed": 3} | options)


def volume(k, dtype=torch.float32):
    """Filled with k, and with meta data that says whose it is."""
    meta = {"affine": torch.eye(4) * (k + 1), "name": f"{k}.nii"}
    return MetaTensor(torch.full((1, 6, 5, 7), k, dtype=dtype), meta=meta)


def loader(rows=ROWS):
    """Every row is new, as from files: nobody has written to it."""
    data = [
        {"image": volume(k), "label": k % ROWS, "seg": volume(k, torch.int64)} for k in range(rows)
    ]
    return DataLoader(data, batch_size=BATCH)


@pytest.mark.parametrize("inplace", [False, True])
def test_labels_match_voxels_and_meta_data_stay(inplace):
    for step, batch in enumerate(loader()):
        before = batch["image"].affine.clone()
        mixed = mixer(inplace=inplace)(dict(batch), step=step)
        assert type(mixed["image"]) is type(mixed["seg"]) is MetaTensor
        assert torch.equal(mixed["image"].affine, before)
        names = [row["image"].meta["name"] for row in decollate_batch(mixed)]
        assert names == [f"{BATCH * step + k}.nii" for k in range(len(before))]
        content = mixed["image"].as_tensor().double().mean((1, 2, 3, 4))
        expected = mixed["label"].double() @ torch.arange(ROWS).double()
        assert torch.allclose(content, expected, atol=1e-5)
        assert mixed["seg"].dtype == torch.int64
        assert set(mixed["seg"].unique().tolist()) <= set(range(ROWS))


def test_meta_tensors_and_plain_ones_get_the_same():
    (batch, *_) = loader()
    plain = {"label": batch["label"]}
    plain |= {name: batch[name].as_tensor() for name in ("image", "seg")}
    one, two = mixer()(dict(batch), step=0), mixer()(plain, step=0)
    for name in FIELDS:
        assert torch.equal(torch.as_tensor(one[name]), two[name])
    assert mixer().draw(plain, step=0).axes == "HWD"  # boxes are cuboids


def test_what_was_done_to_a_row_before_is_still_known_of_it():
    """Affine, operations and names are those of its own file, and MONAI can undo the operations."""
    turned = Rotate90d(("image", "seg"), k=1, spatial_axes=(0, 1))
    data = [turned({"image": volume(k), "seg": volume(k, torch.int64)}) for k in range(BATCH)]
    (batch,) = DataLoader(data, batch_size=BATCH)
    fields = {name: FIELDS[name] for name in ("image", "seg")}
    mixed = bm.Mixer(CutMix(1.0), fields, seed=0)(dict(batch))
    rows = decollate_batch(mixed)
    for row, own in zip(rows, data, strict=True):
        for name in fields:
            assert torch.equal(row[name].affine, own[name].affine)
            assert row[name].meta["name"] == own[name].meta["name"]
            told = [one["class"] for one in row[name].applied_operations]
            assert told == [one["class"] for one in own[name].applied_operations] != []
        back = Invertd("image", turned, orig_keys="image", meta_keys=None)(row)["image"]
        assert back.shape == (1, 6, 5, 7)
        assert torch.equal(back.rot90(1, (1, 2)).as_tensor(), row["image"].as_tensor())


@pytest.mark.parametrize("policy", [MixUp(1.0), CutMix(1.0), ClassMix()], ids=str)
def test_a_mixer_is_a_transform_of_batches_and_masks_become_soft(policy):
    """In a Compose, as MixUpd would be; masks of one channel, as MONAI has them."""
    (batch, *_) = loader()
    batch["seg"][..., :3] = 7
    fields = {"image": Image("NCHWD"), "seg": SoftMask("NCHWD", ROWS)}
    mixed = Compose([bm.Mixer(policy, fields, seed=0)])(dict(batch))
    assert type(mixed["image"]) is MetaTensor
    assert mixed["seg"].shape == (BATCH, ROWS, 6, 5, 7)
    assert mixed["label"] is batch["label"]
    plan = bm.Mixer(policy, fields, seed=0).draw(batch)
    hot = torch.nn.functional.one_hot(batch["seg"].as_tensor()[:, 0], ROWS).movedim(-1, 1)
    torch.testing.assert_close(
        torch.as_tensor(mixed["seg"]).as_subclass(torch.Tensor), bm.mix(hot.float(), plan, "NCHWD")
    )
    assert len(decollate_batch(mixed)) == BATCH


def test_meta_tensors_reach_the_kernel(monkeypatch):
    """The formula, which holds for any subclass, takes many times as long."""
    calls, paste = [], _native.paste
    monkeypatch.setattr(_native, "paste", lambda *given: calls.append(1) or paste(*given))
    images = torch.stack([volume(k) for k in range(BATCH)])
    assert type(bm.mix(images, bm.Plan.identity(BATCH, "HWD", (6, 5, 7)), "NCHWD")) is MetaTensor
    assert calls


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(6 * 5 * 7, ROWS)

    def forward(self, x):
        return self.layer(x.as_tensor().flatten(1))


def trainer(seen, policy=POLICY, epochs=2, data=None, handler=None, **options):
    """A real trainer that notes each batch on which it trained, and its loss."""

    def loss(logits, targets):
        value = torch.nn.functional.cross_entropy(logits, targets)
        seen.append((targets.clone(), value.item()))
        return value

    net = Net()
    data = loader() if data is None else data
    made = SupervisedTrainer(
        "cpu", epochs, data, net, torch.optim.SGD(net.parameters(), 0.0), loss,
        train_handlers=[MixHandler(mixer(policy), **handler or {})], **options,
    )  # fmt: skip
    made.logger.disabled = True
    return made


def test_each_batch_has_the_plan_of_its_epoch_and_number():
    seen = []
    trainer(seen).run()
    expected = [mixer()(dict(b), step=s, epoch=e) for e in (0, 1) for s, b in enumerate(loader())]
    assert len(seen) == len(expected) == 6
    net = Net()
    for (targets, value), batch in zip(seen, expected):
        assert torch.equal(targets, batch["label"])
        by_hand = -(torch.log_softmax(net(batch["image"]), 1) * batch["label"]).sum(1).mean()
        assert value == pytest.approx(by_hand.item(), rel=1e-5)
    assert not torch.equal(seen[0][0], seen[3][0])  # another epoch, another mix


def test_what_was_done_is_among_the_metrics(capsys):
    """Means over the batches of the epoch so far."""
    shown, made = [], trainer([], handler={"log": True})
    made.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: shown.append(dict(engine.state.metrics))
    )
    StatsHandler(iteration_log=False).attach(made)
    made.run()
    again, shown, printed = mixer(), iter(shown), capsys.readouterr().out
    for epoch in (0, 1):
        found = []
        for step, batch in enumerate(loader()):
            again(dict(batch), step=step, epoch=epoch)
            found.append(again.summary())
            wanted = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
            assert next(shown) == pytest.approx(wanted)
        assert len(found) == 3
        assert f"mix/lam: {wanted['mix/lam']:.4f}" in printed
    assert next(shown, None) is None
    names = ("lam", "hardness", "unmixed", "mixup", "cutmix")
    assert wanted.keys() == {f"mix/{name}" for name in names}
    quiet = trainer([])
    quiet.run()
    assert not quiet.state.metrics


def test_validation_is_clean():
    seen, clean = [], []

    def note(batch, device, non_blocking, **kwargs):
        clean.append(batch["label"])
        return batch["image"], batch["label"]

    made = trainer(seen)
    evaluator = SupervisedEvaluator("cpu", loader(), made.network, prepare_batch=note)
    evaluator.logger.disabled = True
    evaluator.run()
    made.run()
    evaluator.run()
    assert all(label.dtype == torch.int64 and label.ndim == 1 for label in clean)
    assert len(clean) == 6


def test_a_run_that_is_resumed_goes_on():
    """In the middle of an epoch, from the state that MONAI's CheckpointSaver keeps."""
    batch = next(iter(loader()))
    alike = [dict(batch) for _ in range(3)]  # so that only the address tells batches apart
    whole, first, rest = [], [], []
    trainer(whole, data=alike).run()
    stopped = trainer(first, data=alike)
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda engine: engine.terminate())
    stopped.run()
    resumed = trainer(rest, data=alike)
    resumed.load_state_dict({"iteration": 4, "max_epochs": 2, "epoch_length": 3})
    resumed.run()
    for (a, _), (b, _) in zip(whole, first + rest, strict=True):
        assert torch.equal(a, b)
    assert len({targets.numpy().tobytes() for targets, _ in whole}) == 6


def test_a_schedule_by_epoch():
    seen = []
    trainer(seen, Schedule.off_after(MixUp(1.0), epoch=1)).run()
    hard = [bool((targets.amax(1) == 1).all()) for targets, _ in seen]
    assert hard == [False] * 3 + [True] * 3


def test_processes_differ(monkeypatch):
    batches = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        seen = []
        trainer(seen, epochs=1).run()
        batch = next(iter(loader()))
        assert torch.equal(seen[0][0], mixer(rank=rank)(batch, step=0, epoch=0)["label"])
        batches.append(seen)
    assert not any(torch.equal(a, b) for (a, _), (b, _) in zip(*batches))


def test_a_loader_without_length():
    class Stream:
        def __iter__(self):
            return iter(loader())

    seen = []
    trainer(seen, data=Stream()).run()
    expected = [mixer()(dict(b), step=s, epoch=e) for e in (0, 1) for s, b in enumerate(loader())]
    assert [t.tolist() for t, _ in seen] == [b["label"].tolist() for b in expected]


def test_what_does_not_fit_is_refused():
    with pytest.raises(bm.MixError, match="MixHandler"):
        MixHandler(POLICY)
    with pytest.raises(bm.MixError, match="'label' is not in the batch"):
        trainer([], data=[{"image": torch.ones(2, 1, 3, 3, 3)}]).run()


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")
def test_what_the_page_says_of_their_own():
    """Labels of CutMixd are the partner's, whole; MixUpd takes no labels and averages ids."""
    images = torch.zeros(4, 1, 16, 16, 16) + torch.arange(4.0).reshape(4, 1, 1, 1, 1)
    theirs = CutMixd(["image"], batch_size=4, label_keys=["label"]).set_random_state(0)
    mixed = theirs({"image": images, "label": torch.eye(4)})
    own = torch.stack([(mixed["image"][k] == k).double().mean() for k in range(4)])
    assert (own > 0.9).all()
    assert (mixed["label"].diagonal() == 0).all()
    unchanged = CutMixd(["image"], batch_size=4)({"image": images})
    assert torch.equal(unchanged["image"], images)
    with pytest.raises(ValueError, match="dimensions"):
        MixUpd(["image", "label"], batch_size=4)({"image": images, "label": torch.eye(4)})
    with pytest.raises(ValueError, match="batch of size"):
        MixUpd(["image"], batch_size=4)({"image": images[:3]})
    ids = (5 * images).to(torch.uint8)
    averaged = MixUpd(["ids"], batch_size=4).set_random_state(0)({"ids": ids})["ids"]
    assert set(averaged.unique().tolist()) - {0, 5, 10, 15}


def test_example():
    words = [sys.executable, "examples/monai_trainer.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("held-out accuracy:")[1].split()[0]) > 0.8
