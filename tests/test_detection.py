"""Targets of detection in the forms that data sets have them: what goes with a box stays with it."""

import collections

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import batchmix as bm
from batchmix.fields import BoundingBoxes, Image
from batchmix.policies import CopyPaste, CutMix, MixUp
from checks import plans

SIZE = (16, 12)
PLAN = bm.Plan([1, 0], [[[0, 16], [0, 6]], [[4, 4], [0, 0]]], [1, 1], "HW", SIZE)


def target(xp, boxes, labels, **more):
    """One row, as torchvision's detection has it."""
    corners = np.array(boxes, float).reshape(-1, 4)
    return {
        "boxes": xp.array(corners, "float32"),
        "labels": xp.ids(labels),
        "image_id": xp.ids([17]),
        "name": "a.jpg",
        **more,
    }


def test_what_goes_with_a_box_follows_it(xp):
    rows = [target(xp, [[2, 0, 12, 8], [0, 1, 4, 3]], [1, 2]), target(xp, [[1, 1, 5, 5]], [3])]
    before = [{name: value for name, value in row.items()} for row in rows]
    mixed = BoundingBoxes()(rows, PLAN)
    assert isinstance(mixed, list)
    assert [list(row) for row in mixed] == [list(row) for row in rows]
    assert xp.numpy(mixed[0]["boxes"]).tolist() == [[6, 0, 12, 8], [1, 1, 5, 5]]
    assert xp.numpy(mixed[0]["labels"]).tolist() == [1, 3]
    assert xp.numpy(mixed[0]["image_id"]).tolist() == [17]
    assert xp.dtype(mixed[0]["boxes"]) == "float32"
    assert xp.dtype(mixed[0]["labels"]) == "int64"
    assert xp.numpy(mixed[1]["boxes"]).tolist() == [[1, 1, 5, 5]]  # not mixed
    for row, was in zip(rows, before):
        assert all(row[name] is was[name] for name in was)


@st.composite
def padded(draw, rows):
    """[rows, 3, 5] with a number that tells boxes apart; some places are padding."""
    made = np.full((rows, 3, 5), -1.0)
    for i in range(rows):
        for k in range(draw(st.integers(0, 3))):
            ends = [sorted(draw(st.lists(st.integers(0, 4 * n), min_size=2, max_size=2, unique=True)))
                    for n in (SIZE[1], SIZE[0])]  # fmt: skip
            (left, right), (top, bottom) = ends
            made[i, k] = left / 4, top / 4, right / 4, bottom / 4, 10 * i + k
    return made


def ragged(boxes):
    """The same as a dict for each row."""
    some = [row[row[:, 4] >= 0] for row in boxes]
    return [{"boxes": row[:, :4], "labels": row[:, 4].astype(int)} for row in some]


def layer_of(rng, rows, axes="HW"):
    """A paste of any box, opacity, mask and source."""
    ends = [np.sort(rng.integers(0, n + 1, (rows, 2)), 1) for n in SIZE]
    source = [np.stack([low := rng.integers(0, n, rows), rng.integers(low + 1, n + 1)], 1)
              for n in SIZE]  # fmt: skip
    masks = [None, None, rng.choice(np.uint8([0, 128, 255]), (rows, *SIZE)),
             rng.choice([0.0, 0.5, 1.0], (rows, 3, 2))]  # fmt: skip
    return bm.Plan(
        rng.integers(0, rows, rows), np.stack(ends, 1), rng.choice([0, 0.25, 1], rows), "HW", SIZE,
        mask=masks[rng.integers(4)], source=np.stack(source, 1) if rng.random() < 0.5 else None,
    )  # fmt: skip


@st.composite
def layered(draw):
    """A plan of one to three pastes."""
    rng, rows = np.random.default_rng(draw(st.integers(0, 10**6))), draw(st.integers(1, 4))
    plan = layer_of(rng, rows)
    for _ in range(draw(st.integers(0, 2))):
        plan = plan.then(layer_of(rng, rows))
    return plan


@given(layered(), st.data())
def test_ragged_is_padded(plan, data):
    boxes = data.draw(padded(len(plan)))
    field = BoundingBoxes(weights=True)
    wide, rows = field(boxes, plan), field(ragged(boxes), plan)
    for one, row in zip(wide, rows):
        there = one[one[:, 2] > one[:, 0]]
        np.testing.assert_array_equal(there[:, :4], row["boxes"])
        np.testing.assert_array_equal(there[:, 4], row["labels"])
        np.testing.assert_allclose(there[:, 5], row["weights"], rtol=1e-6)


class Seen:
    """A policy that keeps what it was handed."""

    def __init__(self, name):
        self.reads = (name,)

    def sample(self, request):
        self.got = request.theirs[self.reads[0]]
        return MixUp(1.0).sample(request)


IMAGES = np.zeros((2, 1, *SIZE), np.float32)


@pytest.mark.parametrize("format", ["xyxy", "cxcywh", "xyxyn", "cxcywhn"])
def test_policies_read_boxes_in_cells(format, xp):
    cells = {"xyxy": [[2, 4, 8, 12]], "cxcywh": [[5, 8, 6, 8]]}[format.removesuffix("n")]
    share = np.array([12, 16, 12, 16.0]) if format.endswith("n") else 1
    rows = [
        {"boxes": xp.array(np.array(cells) / share, "float64"), "class_labels": xp.ids([5])},
        {"boxes": xp.array(np.zeros((0, 4)), "float64"), "class_labels": xp.ids([])},
    ]
    policy = Seen("boxes")
    pairing = bm.pairing.Roll(0)
    bm.Mixer(policy, {0: Image("NCHW"), 1: BoundingBoxes(format)}, pairing=pairing)((IMAGES, rows))
    np.testing.assert_allclose(policy.got, [[[2, 4, 8, 12, 5]], [[-1] * 5]])
    wide = np.concatenate([np.array(cells) / share, [[5.0]]], 1)[None].repeat(2, 0)
    bm.Mixer(policy, {0: Image("NCHW"), 1: BoundingBoxes(format)}, pairing=pairing)((IMAGES, wide))
    np.testing.assert_allclose(policy.got, [[[2, 4, 8, 12, 5]]] * 2)


def test_masks_of_targets_are_the_instances_that_are_pasted():
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 2:6, 2:6], masks[1, 8:12, 3:9] = True, True
    rows = [
        {"boxes": np.array([[2.0, 2, 6, 6]]), "masks": masks[:1]},
        {"boxes": np.array([[3.0, 8, 9, 12]]), "masks": masks[1:]},
    ]
    mixer = bm.Mixer(CopyPaste(prob=1), {0: Image("NCHW"), 1: BoundingBoxes()})
    images = np.stack([masks[:1], masks[1:]]).astype(np.float32) + [[[[1]]], [[[3]]]]
    mixed, targets = mixer((images, rows))
    assert [len(row["boxes"]) for row in targets] == [2, 2]
    assert (mixed[0, 0][targets[0]["masks"][1]] == 4).all()
    np.testing.assert_array_equal(targets[0]["boxes"], [[2, 2, 6, 6], [3, 8, 9, 12]])
