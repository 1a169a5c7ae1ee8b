"""Labelled and unlabelled batches, each pasted on the other: BCP's cuboids, ClassMix, weights."""

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Grid, Image, Mask, SoftMask
from batchmix.pairing import Reverse, Roll
from batchmix.policies import ClassMix, CutMix, PerBatch

BCP = PerBatch(CutMix(minmax=(2 / 3, 2 / 3)))
AXES = {"HW": (12, 10), "DHW": (6, 9, 7)}


def batch(rows, axes, first):
    """Every cell another number, in images and masks alike."""
    shape = rows, *AXES[axes]
    x = first + np.arange(np.prod(shape)).reshape(shape)
    return {"image": x[:, None].astype(np.float64), "mask": x}


def both_ways(axes, rows, pairing, seed=0, step=0):
    fields = {"image": Image("NC" + axes), "mask": Mask("N" + axes)}
    mixer = bm.Mixer(BCP, fields, pairing=pairing, seed=seed)
    one, two = batch(rows[0], axes, 0), batch(rows[1], axes, 1_000_000)
    there = mixer.draw(one, step, 0, other=two), mixer.draw(two, step, 0, other=one)
    mixed = mixer(one, step, 0, other=two), mixer(two, step, 0, other=one)
    return (one, two), there, mixed


@pytest.mark.parametrize("n", [*range(2, 100), 112, 128, 160, 224, 256, 321, 512])
def test_the_box_has_two_thirds_of_each_side_as_theirs(n):
    """BCP's code has ``int(n * 2 / 3)``."""
    plan = bm.draw(BCP, bm.Key(0), 4, {"D": n, "H": n, "W": n})
    sides = plan.box[..., 1] - plan.box[..., 0]
    assert (sides == int(n * 2 / 3)).all()
    assert (plan.box == plan.box[:1]).all()  # one for the batch
    assert plan.box.min() >= 0
    assert plan.box.max() <= n


def test_every_place_of_the_box_is_drawn():
    """Also at the far border, which BCP's own code never reaches."""
    starts = {
        int(bm.draw(BCP, bm.Key(0, step=step), 1, {"T": 9}).box[0, 0, 0]) for step in range(200)
    }
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("rows", [(3, 3), (2, 5), (5, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("pairing", [Roll(0), Reverse()], ids=["roll", "reverse"])
def test_one_step_has_one_box_both_ways(axes, rows, pairing):
    """Inside the box each batch holds the other, outside itself: pixels and ids alike."""
    (one, two), (first, second), mixed = both_ways(axes, rows, pairing)
    assert (first.box[0] == second.box).all()
    inside = np.zeros(AXES[axes], bool)
    inside[tuple(slice(*ends) for ends in first.box[0])] = True
    assert 0 < inside.mean() < 1
    for got, own, other, plan in zip(mixed, (one, two), (two, one), (first, second)):
        want = np.where(inside, other["mask"][plan.partner], own["mask"])
        np.testing.assert_array_equal(got["mask"], want)
        np.testing.assert_array_equal(got["image"][:, 0], want)
    mutual = [(k, p) for k, p in enumerate(first.partner) if second.partner[p] == k]
    assert len(mutual) == min(rows) or pairing == Reverse()
    for k, p in mutual:  # what one lost the other has: together they are what they were
        total = mixed[0]["mask"][k] + mixed[1]["mask"][p]
        np.testing.assert_array_equal(total, one["mask"][k] + two["mask"][p])
        assert first.lam[k] == second.lam[p] == 1 - np.float32(inside.mean())


def test_another_step_has_another_box():
    boxes = {both_ways("DHW", (2, 2), Roll(0), step=s)[1][0].box.tobytes() for s in range(8)}
    assert len(boxes) > 4


def test_confidence_follows_its_pixels():
    """DACS: classes of a labelled batch on an unlabelled one, certain where they were pasted."""
    rng = np.random.default_rng(0)

    def made(rows, weight):
        ids = rng.integers(0, 5, (rows, 4, 4)).repeat(2, 1).repeat(2, 2)
        image = ids[:, None] + 100.0 * weight
        sure = np.full(ids.shape, weight, np.float32)
        return {"image": image, "mask": ids, "sure": sure}

    source, target = made(3, 1.0), made(7, 0.25)
    fields = {"image": Image("NCHW"), "mask": SoftMask("NHW", 5), "sure": Grid("NHW")}
    mixer = bm.Mixer(ClassMix(), fields, seed=0)
    plan = mixer.draw(target, other=source)
    mixed = mixer(target, step=0, other=source)
    pasted = mixed["sure"] == 1
    assert set(np.unique(mixed["sure"])) == {0.25, 1}
    np.testing.assert_array_equal(pasted, plan.mask == 255)
    np.testing.assert_array_equal(
        mixed["image"][:, 0] - 100 * mixed["sure"], mixed["mask"].argmax(1)
    )
    for k, p in enumerate(plan.partner):  # half of the classes of the partner, each whole
        theirs = source["mask"][p]
        classes = np.unique(theirs[pasted[k]])
        np.testing.assert_array_equal(pasted[k], np.isin(theirs, classes))
        assert len(classes) == len(np.unique(theirs)) // 2
