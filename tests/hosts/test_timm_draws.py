"""What Mixup draws: timm's distribution, at an address that its own generator starts."""

from __future__ import annotations

import numpy as np
import pytest
import timm.data
import torch
from timm.data import mixup as timm_mixup

import batchmix as bm
from batchmix.adapters.timm import FastCollateMixup, Mixup
from batchmix.pairing import Reverse
from batchmix.policies import CutMix, PerBatch

B, C, H, W = 6, 7, 9, 14
X = torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 3, 6, 2, 2, 5])


def drawn(mixup, batches=300, batch=8, side=32):
    """The plans of so many batches."""
    given = torch.empty(batch, 3, side, side), torch.zeros(batch)
    return [mixup.mixer.draw(given, step, epoch=0) for step in range(batches)]


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_what_is_drawn_has_timms_distribution(mode):
    options = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 0.6, "switch_prob": 0.25}
    plans = drawn(Mixup(mode=mode, **options))
    kinds = np.stack([plan.kind for plan in plans])
    lam = np.stack([plan.lam for plan in plans])
    one = {"batch": np.s_[:, :1], "pair": np.s_[:, :4], "elem": np.s_[:]}[mode]
    kinds, alike = kinds[one], lam
    slack = 4 * np.sqrt(0.25 / kinds.size)
    assert (kinds >= 0).mean() == pytest.approx(0.6, abs=slack)
    assert (kinds == 1).mean() == pytest.approx(0.6 * 0.25, abs=slack)
    if mode == "batch":
        assert (alike == alike[:, :1]).all()
    else:
        assert (alike != alike[:, :1]).any()
    assert ((alike == alike[:, ::-1]).all()) == (mode != "elem")
    theirs = timm.data.Mixup(mode="elem", **options | {"prob": 1.0, "switch_prob": 0.0})
    np.random.seed(0)
    expected = np.sort(theirs._params_per_elem(20_000)[0])
    ours = np.sort(lam[one][kinds == 0])
    share = np.searchsorted(expected, ours) / len(expected)
    distance = np.abs(share - (np.arange(len(ours)) + 0.5) / len(ours)).max()
    assert distance < 1.95 / np.sqrt(len(ours))  # Kolmogorov-Smirnov at 0.1 %


def test_boxes_have_timms_distribution():
    ours = np.concatenate([p.lam for p in drawn(Mixup(0.0, 1.0, mode="elem"))])
    np.random.seed(0)
    lams = np.random.beta(1.0, 1.0, 4000)
    theirs = [timm_mixup.cutmix_bbox_and_lam((3, 32, 32), lam)[1] for lam in lams]
    assert ours.mean() == pytest.approx(np.mean(theirs), abs=0.03)
    assert (ours < 0.5).mean() == pytest.approx(np.mean(np.less(theirs, 0.5)), abs=0.04)


def test_an_uncorrected_lam_is_the_one_that_was_drawn():
    for plan in drawn(Mixup(0.0, 1.0, mode="elem", correct_lam=False), batches=4, batch=100):
        side = (32 * np.sqrt(1 - plan.label_lam.astype(float))).astype(int)
        inside = ((plan.box[:, :, 0] > 0) & (plan.box[:, :, 1] < 32)).all(1)
        assert inside.any()
        assert (np.diff(plan.box[inside])[..., 0] == side[inside, None]).all()
        assert (plan.label_lam <= plan.lam + 1e-6).all()
        assert (plan.label_lam < plan.lam - 0.01).any()
    assert all(p.label_lam is None for p in drawn(Mixup(0.0, 1.0), batches=2))


def test_equal_bounds_of_a_box():
    plans = drawn(Mixup(0.0, cutmix_minmax=(0.5, 0.5), mode="elem"), batches=2)
    assert all((np.diff(plan.box) == 16).all() for plan in plans)


def labels_of(mixup, batches=3):
    return torch.stack([mixup(X.clone(), Y)[1] for _ in range(batches)])


def both(**options):
    return Mixup(0.8, 1.0, mode="elem", num_classes=C, **options)


def test_numpys_generator_decides_as_in_timm():
    """A script seeds it, by seed and rank: two objects, seeds and ranks differ."""
    np.random.seed(42)
    first, second = labels_of(both()), labels_of(both())
    assert not torch.equal(first, second)
    np.random.seed(42)
    assert torch.equal(labels_of(both()), first)
    np.random.seed(43)
    assert not torch.equal(labels_of(both()), first)
    np.random.seed(42)
    rows = [(x.numpy(), int(y)) for x, y in zip(X, Y)]
    collate = FastCollateMixup(0.8, 1.0, mode="elem", num_classes=C)
    assert torch.equal(torch.stack([collate(rows)[1] for _ in range(3)]), first)


def test_made_anew_for_each_batch_it_varies():
    np.random.seed(0)
    mixed = [
        Mixup(num_classes=B, label_smoothing=0.0)(X.clone(), torch.arange(B)) for _ in range(200)
    ]
    lam = np.array([float(targets.max(1).values.mean()) for _, targets in mixed])
    assert len(set(lam.tolist())) > 190
    assert lam.mean() == pytest.approx(0.75, abs=0.03)  # of max(lam, 1 - lam), lam uniform


def test_a_given_seed_replays_whatever_the_global_generators_are():
    np.random.seed(0), torch.manual_seed(0)
    first = labels_of(both(seed=0))
    before = np.random.get_state()[1].copy()
    assert torch.equal(labels_of(both(seed=0)), first)
    assert (np.random.get_state()[1] == before).all()
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(labels_of(both(seed=1)), first)
    assert not torch.equal(labels_of(both(seed=0, rank=1)), first)


def test_the_rank_is_asked(monkeypatch):
    expected = labels_of(both(seed=0, rank=3))
    monkeypatch.setenv("RANK", "3")
    assert torch.equal(labels_of(both(seed=0)), expected)


def test_epochs_and_the_step_of_a_resumed_run():
    mixup, epochs = both(seed=0), []
    for epoch in (0, 1, 0):
        mixup.set_epoch(epoch)
        epochs.append(labels_of(mixup))
    assert torch.equal(epochs[0], labels_of(both(seed=0)))
    assert torch.equal(epochs[2], epochs[0])
    assert not torch.equal(epochs[1], epochs[0])
    resumed = both(seed=0)
    resumed.set_epoch(1, step=2)
    assert torch.equal(resumed(X.clone(), Y)[1], epochs[1][2])


def test_the_plan_is_that_of_every_other_framework():
    x, _ = both(seed=7, rank=2)(X.clone(), Y)
    policy = both().mixer.policy
    plan = bm.draw(policy, bm.Key(7, 0, 0, 2), B, {"H": H, "W": W}, pairing=Reverse())
    assert torch.equal(x, bm.mix(X, plan, "NCHW"))


def test_attributes_may_change_while_training():
    mixup = Mixup(1.0, num_classes=C, mode="elem", seed=0)
    mixup(X.clone(), Y)
    mixup.mixup_alpha, mixup.cutmix_alpha = 0.0, 1.0
    images, _ = mixup(X.clone(), Y)
    assert mixup.mixer.policy == CutMix(1.0)
    assert torch.isin(images, X).all()  # pasted, not blended
    mixup.mode, mixup.num_classes = "batch", 9
    assert mixup(X.clone(), Y)[1].shape == (B, 9)
    assert mixup.mixer.policy == PerBatch(CutMix(1.0))
    mixup.cutmix_alpha = 0.0
    assert torch.equal(mixup(X.clone(), Y)[0], X)


def test_the_policy_is_made_once(monkeypatch):
    """It takes as long as a small batch."""
    mixup, made = Mixup(1.0, num_classes=C), []
    monkeypatch.setattr("batchmix.adapters.timm.timm_policy", lambda *_, **__: made.append(1))
    for _ in range(3):
        mixup(X.clone(), Y)
    assert not made
    mixup.mixup_alpha = 0.5
    mixup(X.clone(), Y), mixup(X.clone(), Y)
    assert len(made) == 1
