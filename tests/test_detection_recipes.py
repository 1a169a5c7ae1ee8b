"""Policies of detectors: windows and probabilities of their sources, counted in what is drawn."""

import collections

import numpy as np
import pytest
from scipy import stats

import batchmix as bm
import oracle
from batchmix import recipes
from batchmix.pairing import Roll
from batchmix.policies import Blend, CopyBlend, MixUp, Mosaic

SIZE = {"H": 40, "W": 40}
BOXES = np.tile([[[2.0, 2, 22, 20], [20, 20, 38, 38]]], (64, 1, 1))


def draw(policy, epoch, rows=64, **hints):
    hints = hints or {"boxes": BOXES[:rows]}
    return bm.draw(policy, bm.Key(3, epoch), rows, SIZE, pairing=Roll(1), hints=hints)


def kinds(policy, epoch, rows=64):
    """How many rows are blended over the whole grid, have objects pasted, and are as they were."""
    counted = collections.Counter()
    for step in range(20):
        plan = bm.draw(policy, bm.Key(3, epoch, step), rows, SIZE, hints={"boxes": BOXES[:rows]})
        whole = (plan.box == [[0, 40], [0, 40]]).all((1, 2)) & (plan.opacity > 0)
        counted["blend"] += int(whole.sum())
        counted["copy"] += int(((plan.lam < 1) & ~whole).sum())
        counted["none"] += int((plan.lam == 1).sum())
    return {name: n / 20 / rows for name, n in counted.items()}


# stop_epoch, and the windows of mixup and of copyblend, of DEIM's and DEIMv2's configurations
WINDOWS = [(50, 29, 50), (20, 14, 20), (120, 64, 120), (148, 78, 148)]


@pytest.mark.parametrize(("stop", "mixup", "copyblend"), WINDOWS)
def test_the_windows_of_deim(stop, mixup, copyblend):
    policy = recipes.deim_policy(stop)
    for epoch in (0, 3, 4, mixup - 1, mixup, copyblend - 1, copyblend):
        found = kinds(policy, epoch)
        assert (found["blend"] > 0) == (4 <= epoch < mixup)
        assert (found["copy"] > 0) == (4 <= epoch < copyblend)


def test_how_often_deim_does_what():
    first, later = (kinds(recipes.deim_policy(50, mixup=0.5, copyblend=0.4), n) for n in (9, 40))
    assert first == pytest.approx({"blend": 0.5, "copy": 0.2, "none": 0.3}, abs=0.04)
    assert later == pytest.approx({"blend": 0, "copy": 0.4, "none": 0.6}, abs=0.04)


def test_deim_without_copyblend_reads_no_boxes():
    policy = recipes.deim_policy(50, copyblend=0)
    assert policy.reads == ()
    assert policy.layers == 1
    plan = bm.draw(policy, bm.Key(0, 4), 400, SIZE)
    assert (plan.lam < 1).mean() == pytest.approx(0.5, abs=0.08)
    assert plan.lam.min() >= 0.45 - 1e-3
    assert bm.draw(policy, bm.Key(0, 29), 400, SIZE).lam.min() == 1
    only = recipes.deim_policy(50, mixup=0, copyblend=1)
    assert {policy for _, policy in only.stages[:1]} != {None}
    assert kinds(only, 4) == {"blend": 0, "copy": 1, "none": 0}


def test_deim_for_few_epochs():
    assert [epoch for epoch, _ in recipes.deim_policy(6).stages] == [4, 6]
    assert [epoch for epoch, _ in recipes.deim_policy(1, start=0).stages] == [0, 1]


def test_the_last_epochs_of_yolo_are_not_mixed():
    policy = recipes.yolo_policy(30)
    for epoch, mixed in ((0, True), (19, True), (20, False), (29, False)):
        plan = draw(policy, epoch)
        assert (plan.lam < 1).all() == mixed
        assert bool((plan.lam < 1).any()) == mixed


def test_yolo_blends_a_plain_row_over_the_mosaic():
    plan = draw(recipes.yolo_policy(30, mixup=1.0), 0)
    assert len(plan.layers) == 4
    top = plan.layers[-1]
    assert (top.box == [[0, 40], [0, 40]]).all()
    assert stats.kstest(1 - top.opacity, stats.beta(32, 32).cdf).pvalue > 1e-3
    np.testing.assert_allclose(plan.weights, oracle.shares(plan), atol=1e-6)
    assert recipes.yolo_policy(30, mosaic=0, mixup=0.1).layers == 1
    half = draw(recipes.yolo_policy(30, mosaic=0.5), 0)
    assert (half.lam == 1).mean() == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_copy_paste_draws_as_often_as_there_are_instances(count):
    """torchvision: ids of n are drawn n times with repeats; 1 - (1 - 1/n)^n of them are there."""
    ids = np.zeros((2, 40, 40), int)
    for k in range(count):
        ids[:, 5 * k : 5 * k + 3, 4:30] = 1 + k
    pasted = collections.Counter()
    for step in range(600):
        plan = bm.draw(
            recipes.copy_paste_policy(), bm.Key(2, 0, step), 2, SIZE, pairing=Roll(1),
            hints={"instances": ids},
        )  # fmt: skip
        chosen = {*np.unique(ids[0][plan.mask[0] == 255]).tolist()}
        assert chosen
        pasted[len(chosen)] += 1
    rng = np.random.default_rng(0)
    theirs = collections.Counter(
        len({*rng.integers(0, count, count).tolist()}) for _ in range(20000)
    )
    for n in range(1, count + 1):
        assert pasted[n] / 600 == pytest.approx(theirs[n] / 20000, abs=0.07)


def test_copy_paste_of_masks_for_each_instance():
    masks = np.zeros((2, 3, 40, 40), bool)
    masks[:, 0, :5], masks[:, 1, 10:15] = True, True  # a third one is padding
    plan = draw(recipes.copy_paste_policy(), 0, 2, instances=masks)
    shown = plan.mask[0] == 255
    assert shown.any()
    assert not (shown & ~masks[1].any(0)).any()
    nothing = draw(recipes.copy_paste_policy(), 0, 2, instances=np.zeros_like(masks))
    assert nothing.lam.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: recipes.deim_policy(4), "0 <= start < epochs"),
        (lambda: recipes.deim_policy(50.0), "got epochs=50.0"),
        (lambda: recipes.deim_policy(50, start=-1), "start=-1"),
        (lambda: recipes.deim_policy(50, mixup=1.5), "got mixup=1.5"),
        (lambda: recipes.deim_policy(50, mixup=0, copyblend=0), "both 0"),
        (lambda: recipes.deim_policy(50, copyblend="a"), "got copyblend='a'"),
        (lambda: recipes.yolo_policy(10), "got epochs=10 and close=10"),
        (lambda: recipes.yolo_policy(True), "got epochs=True"),
        (lambda: recipes.yolo_policy(100, mosaic=-1), "got mosaic=-1"),
        (lambda: recipes.yolo_policy(100, mosaic=0), "both 0"),
    ],
)
def test_what_does_not_fit_is_said(make, says):
    with pytest.raises(bm.MixError) as error:
        make()
    assert says in str(error.value)


def test_they_are_values():
    assert recipes.deim_policy(50) == recipes.deim_policy(50)
    assert {recipes.yolo_policy(30), recipes.yolo_policy(30)} == {recipes.yolo_policy(30)}
    assert recipes.copy_paste_policy() == recipes.copy_paste_policy()
    parts = repr(recipes.deim_policy(50)) + repr(recipes.yolo_policy(30, mixup=0.1))
    for policy in (Blend(), CopyBlend(expand=(0.1, 0.25)), Mosaic(), MixUp(32.0)):
        assert repr(policy) in parts
