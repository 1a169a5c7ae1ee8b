"""The same sets of boxes as the rules of other libraries, for the draws of a plan.

Written here from what their sources do, in NumPy; where ours differs, the tests say how.
"""

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import BoundingBoxes, Instances
from batchmix.policies import CopyPaste, CutMix, MixUp

H, W, B, N = 96, 128, 16, 6
SIZE = {"H": H, "W": W}


def scattered(seed, least=3, most=60):
    """[B, N, 5]: boxes anywhere in the image, and numbers that tell them apart."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(least, most, (B, N, 2))
    low = rng.uniform(0, 1, (B, N, 2)) * ([W, H] - sides)
    numbers = np.arange(B * N).reshape(B, N, 1)
    return np.concatenate([low, low + sides, numbers], -1)


def inside(boxes, region):
    """What of boxes [..., 4] lies in a region, and its width and height."""
    left, top, right, bottom = region
    cut = np.clip(boxes, [left, top, left, top], [right, bottom, right, bottom])
    return cut, cut[..., 2] - cut[..., 0], cut[..., 3] - cut[..., 1]


def ids(mixed):
    """Numbers of the boxes that are there."""
    return set(mixed[mixed[:, 4] >= 0][:, 4].astype(int).tolist())


def draws(policy, seed, hints=None):
    """A plan, and its region of each row as left, top, right, bottom."""
    plan = bm.draw(policy, bm.Key(seed), B, SIZE, hints=hints)
    return plan, np.stack([plan.box[:, 1, 0], plan.box[:, 0, 0], plan.box[:, 1, 1],
                           plan.box[:, 0, 1]], 1)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_ultralytics_cutmix(seed):
    """A region that no own box is in; of the partner, boxes of which 0.1 is in it, cut to it."""
    boxes = scattered(seed)
    plan, regions = draws(CutMix(1.0), seed)
    compared = 0
    mixed = BoundingBoxes(min_visible=0.1, min_size=0)(boxes, plan)
    for row, region in enumerate(regions):
        own, theirs = boxes[row], boxes[plan.partner[row]]
        _, width, height = inside(own[:, :4], region)
        own = own[width * height == 0]  # others of the row: it looks for another region
        cut, width, height = inside(theirs[:, :4], region)
        areas = (theirs[:, 2] - theirs[:, 0]) * (theirs[:, 3] - theirs[:, 1])
        chosen = width * height / areas >= 0.1
        want = set(own[:, 4].astype(int)) | set(theirs[chosen, 4].astype(int))
        rest = set(boxes[row, :, 4].astype(int)) - set(own[:, 4].astype(int))
        got = ids(mixed[row])
        assert got - rest == want
        for box, number in zip(cut[chosen], theirs[chosen, 4]):
            (found,) = mixed[row][mixed[row, :, 4] == number]
            np.testing.assert_allclose(found[:4], box)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("seed", range(8))
def test_ultralytics_box_candidates(seed):
    """More than 2 pixels on each side, more than 0.1 of the area, at most 100 times as long."""
    boxes = scattered(seed, most=90)
    plan, regions = draws(CutMix(1.0), seed)
    mixed = BoundingBoxes()(boxes, plan)  # the thresholds are the defaults; none is 100 times
    for row, region in enumerate(regions):
        theirs = boxes[plan.partner[row]]
        _, width, height = inside(theirs[:, :4], region)
        areas = (theirs[:, 2] - theirs[:, 0]) * (theirs[:, 3] - theirs[:, 1])
        chosen = (width > 2) & (height > 2) & (width * height / areas > 0.1)
        assert ids(mixed[row, N:]) == set(theirs[chosen, 4].astype(int))


def test_ultralytics_drops_small_boxes_that_nobody_touched():
    small = np.array([[[3.0, 3, 4, 9]], [[90, 80, 91, 90]]])
    plan = bm.Plan([1, 0], [[[40, 96], [60, 128]]] * 2, [1, 1], "HW", (H, W))
    assert (BoundingBoxes()(small, plan)[0] > 0).all()  # ours keeps what did not change


def objects(seed, most=40):
    """[B, N, H, W]: ellipses, the boxes around them, and an "area"."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    middle = rng.uniform(0, 1, (B, N, 2, 1, 1)) * np.array([H, W]).reshape(2, 1, 1)
    half = rng.uniform(3, most / 2, (B, N, 2, 1, 1))
    masks = ((np.stack([y, x]) - middle) / half) ** 2
    masks = masks.sum(2) <= 1
    boxes = np.zeros((B, N, 4))
    for place, mask in zip(boxes.reshape(-1, 4), masks.reshape(-1, H, W)):
        place[:] = around(mask)
    return masks, boxes


def around(mask):
    """Left, top, right, bottom of the cells of a mask; zeros of none."""
    down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [across[0], down[0], across[-1] + 1, down[-1] + 1] if len(across) else [0] * 4


def pasted(seed, most=40):
    """A plan of CopyPaste with the targets that it is for, and what it pastes of each row."""
    masks, boxes = objects(seed, most)
    rows = [
        {"boxes": boxes[i], "labels": N * i + np.arange(N), "masks": masks[i],
         "area": masks[i].sum((1, 2))}
        for i in range(B)
    ]  # fmt: skip
    plan = bm.draw(CopyPaste(), bm.Key(seed), B, SIZE, hints={"instances": masks})
    whole = np.zeros((B, H, W), bool)
    for row, (top, left) in enumerate(plan.box[:, :, 0]):
        bottom, right = plan.box[row, :, 1]
        if plan.opacity[row]:
            whole[row, top:bottom, left:right] = plan.mask[row, top:bottom, left:right] > 0
    return plan, rows, masks, boxes, whole


@pytest.mark.parametrize("seed", range(4))
def test_torchvision_copy_paste(seed):
    """Own masks without what was pasted; those with none left go; boxes around what is left."""
    plan, rows, masks, _, pastes = pasted(seed)
    mixed = BoundingBoxes(min_visible=0, min_size=0)(rows, plan)
    for row, (target, paste) in enumerate(zip(mixed, pastes)):
        own = masks[row] & ~paste
        left = own.any((1, 2))
        count = left.sum()
        np.testing.assert_array_equal(target["masks"][:count], own[left])
        np.testing.assert_array_equal(target["labels"][:count], N * row + np.flatnonzero(left))
        np.testing.assert_array_equal(target["area"][:count], own[left].sum((1, 2)))
        # its `masks_to_boxes` ends at the last cell, ours after it; so it drops what is one wide
        np.testing.assert_array_equal(target["boxes"][:count], [around(one) for one in own[left]])
        partner = plan.partner[row]
        theirs = target["labels"][count:] - N * partner
        np.testing.assert_array_equal(target["masks"][count:].any(0), paste)
        whole = (target["masks"][count:] == masks[partner][theirs]).all((1, 2))
        np.testing.assert_array_equal(
            target["boxes"][count:][whole], rows[partner]["boxes"][theirs][whole]
        )


def mmdetection(boxes, own, moved_by, cells):
    """Which own objects its CopyPaste keeps: a box that hardly moved, or much of a mask."""
    now = np.array([around(one) for one in own])
    near = (np.abs(now - boxes) <= moved_by).all(1)
    return near | (own.sum((1, 2)) > cells)


@pytest.mark.parametrize("seed", range(4))
def test_mmdetection_copy_paste_by_what_is_left_of_masks(seed):
    """`mask_occluded_thr` alone is `min_area`, one cell more, of objects that are larger."""
    plan, _, masks, boxes, pastes = pasted(seed, most=50)
    mixed = Instances(min_visible=0, min_area=301)(masks, plan)
    for row, paste in enumerate(pastes):
        large = masks[row].sum((1, 2)) > 300
        chosen = mmdetection(boxes[row], masks[row] & ~paste, moved_by=-1, cells=300)
        np.testing.assert_array_equal(mixed[row, :N].any((1, 2))[large], chosen[large])


def test_mmdetection_copy_paste_keeps_what_is_hidden_if_its_box_hardly_moved():
    """Its rule has no share: of small objects it keeps almost all, of large ones a few cells."""
    mine, theirs = 0, 0
    for seed in range(4):
        plan, rows, masks, boxes, pastes = pasted(seed)
        mixed = BoundingBoxes(min_visible=0, min_size=0)(rows, plan)
        default = BoundingBoxes()(rows, plan)
        for row, paste in enumerate(pastes):
            own = masks[row] & ~paste
            kept = mmdetection(boxes[row], own, moved_by=10, cells=300) & own.any((1, 2))
            wanted = set(N * row + np.flatnonzero(kept))
            assert wanted <= set(mixed[row]["labels"])
            held = set(default[row]["labels"]) & set(range(N * row, N * row + N))
            mine, theirs = mine + len(held - wanted), theirs + len(wanted - held)
    assert mine > 0  # a tenth of an object is seen and its box moved by more than 10 cells
    assert theirs > 0  # less is seen, and its box hardly moved


@pytest.mark.parametrize("seed", range(4))
def test_deim_mixup(seed):
    """All boxes of both, each with the weight of its image."""
    boxes = scattered(seed)
    plan = bm.draw(MixUp(32.0), bm.Key(seed), B, SIZE)
    mixed = BoundingBoxes(weights=True)(boxes, plan)
    np.testing.assert_array_equal(mixed[:, :N, :5], boxes)
    np.testing.assert_array_equal(mixed[:, N:, :5], boxes[plan.partner])
    np.testing.assert_allclose(mixed[:, :N, 5], np.repeat(plan.lam[:, None], N, 1), atol=1e-6)
    np.testing.assert_allclose(mixed[:, N:, 5], 1 - np.repeat(plan.lam[:, None], N, 1), atol=1e-6)
