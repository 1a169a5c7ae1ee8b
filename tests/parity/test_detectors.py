"""Pixels and targets by the mixing of detectors on the same draws: DEIM, mmdetection, torchvision.

Each is written here from its source. What becomes of boxes alone: test_detection.py.
"""

import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes

import batchmix as bm
from batchmix.fields import BoundingBoxes, Image
from batchmix.pairing import Roll
from batchmix.policies import Blend, CopyBlend, PerBatch
from batchmix.recipes import copy_paste_policy

SIDE = 64
HW = {"H": SIDE, "W": SIDE}


def scenes(rows=6, seed=0, whole=False):
    """Images, and for each a dict of up to four normalised boxes with labels."""
    rng = np.random.default_rng(seed)
    images = rng.random((rows, 3, SIDE, SIDE), np.float32)
    targets = []
    for _ in range(rows):
        n = int(rng.integers(1, 5))
        low, side = rng.uniform(0, 0.6, (n, 2)), rng.uniform(0.1, 0.4, (n, 2))
        if whole:
            low, side = np.rint(low * SIDE) / SIDE, np.rint(side * SIDE) / SIDE
        boxes = torch.tensor(np.concatenate([low + side / 2, side], 1))
        targets.append({"boxes": boxes, "labels": torch.tensor(rng.integers(0, 9, n))})
    return torch.from_numpy(images), targets


def deim_mixup(images, targets, beta):
    """The blend with the row before, both lists of boxes, and the share of each box."""
    blended = images.roll(1, 0) * (1 - beta) + images * beta
    made = []
    for own, theirs in zip(targets, [targets[-1], *targets[:-1]]):
        joined = {name: torch.cat([own[name], theirs[name]]) for name in own}
        shares = [beta] * len(own["labels"]) + [1 - beta] * len(theirs["labels"])
        made.append(joined | {"mixup": torch.tensor(shares)})
    return blended, made


@pytest.mark.parametrize("seed", range(3))
def test_mixup_of_deim(seed):
    images, targets = scenes(seed=seed)
    fields = {0: Image("NCHW"), 1: BoundingBoxes("cxcywhn", weights=True)}
    mixer = bm.Mixer(PerBatch(Blend()), fields, pairing=Roll(1), seed=seed)
    plan = mixer.draw((images, targets))
    mixed, ours = mixer.apply((images, targets), plan)
    want, theirs = deim_mixup(images, targets, float(plan.lam[0]))
    torch.testing.assert_close(mixed, want, rtol=0, atol=2e-7)
    for one, other in zip(ours, theirs):
        assert torch.equal(one["boxes"], other["boxes"])
        assert torch.equal(one["labels"], other["labels"])
        torch.testing.assert_close(one["weights"], other["mixup"], rtol=0, atol=1e-6)


def deim_copyblend(images, layers, beta):
    """Each object over what is there by then, from the rows as they were."""
    made = images.clone()
    for row, share in enumerate(beta):
        for layer in layers:
            if layer.opacity[row]:
                (top, bottom), (left, right) = layer.source[row]
                patch = images[layer.partner[row], :, top:bottom, left:right]
                (top, bottom), (left, right) = layer.box[row]
                below = made[row, :, top:bottom, left:right]
                made[row, :, top:bottom, left:right] = below * share + patch * (1 - share)
    return made


@pytest.mark.parametrize("expand", [None, (0.1, 0.25)])
@pytest.mark.parametrize("seed", range(3))
def test_copyblend_of_deim(seed, expand):
    """Pixels are its own for the same objects and places; so are the boxes of what was chosen."""
    images, targets = scenes(seed=seed, whole=True)
    field = BoundingBoxes("cxcywhn", weights=True, min_visible=0, min_size=0)
    mixer = bm.Mixer(CopyBlend(3, 50, expand=expand), {0: Image("NCHW"), 1: field}, seed=seed)
    plan = mixer.draw((images, targets))
    mixed, ours = mixer.apply((images, targets), plan)
    beta = [1 - max(layer.opacity[row] for layer in plan.layers) for row in range(len(images))]
    want = deim_copyblend(images, plan.layers, beta)
    torch.testing.assert_close(mixed, want, rtol=0, atol=3e-7)
    for row, (one, own) in enumerate(zip(ours, targets)):
        count = len(own["boxes"])
        assert torch.equal(one["boxes"][:count], own["boxes"])  # all are kept: none is covered
        there = {tuple(box.round(decimals=5).tolist()) for box in one["boxes"][count:]}
        objects = [layer for layer in plan.layers if layer.opacity[row]]
        for layer in objects:
            shift = (layer.box[row] - layer.source[row])[::-1, 0] / SIDE
            moved = targets[int(layer.partner[row])]["boxes"].clone()
            moved[:, :2] += torch.tensor(shift)
            assert there & {tuple(box.round(decimals=5).tolist()) for box in moved}


def blended_half(own, theirs, boxes, their_boxes):
    """mmdetection's MixUp where the partner is neither scaled, flipped nor moved."""
    image = (0.5 * own.astype(np.float32) + 0.5 * theirs.astype(np.float32)).astype(np.uint8)
    joined = np.concatenate([boxes, np.clip(their_boxes, 0, SIDE)])
    left, top, right, bottom = joined.T
    inside = (left < SIDE) & (right > 0) & (top < SIDE) & (bottom > 0)
    return image, joined[inside]


def test_mixup_of_mmdetection():
    """Its integers are cut where ours are rounded; boxes are all that lie in the image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    low = rng.uniform(-10, 50, (4, 3, 2))
    boxes = np.concatenate([low, low + rng.uniform(12, 30, (4, 3, 2))], 2)
    boxes[1, 2] = SIDE + 2, 5, SIDE + 9, 20  # outside
    plan = bm.draw(Blend(0.5, 0.5), bm.Key(0), 4, HW, pairing=Roll(1))
    mixed = bm.mix(images, plan, "NHWC")
    found = BoundingBoxes(min_visible=0, min_size=0)(boxes, plan)
    for row, partner in enumerate(plan.partner):
        image, want = blended_half(images[row], images[partner], boxes[row], boxes[partner])
        assert set(np.unique(mixed[row].astype(int) - image)) <= {0, 1}
        mine = found[row][found[row, :, 2] > 0]
        on_grid = np.clip(mine, 0, SIDE)  # ours leaves a box that is all seen as it was
        np.testing.assert_allclose(on_grid, np.clip(want, 0, SIDE), atol=1e-9)


def tile(centre, after):
    """Of one axis: where an image that meets the centre is pasted, and which of its cells."""
    if after:
        end = min(centre + SIDE, 2 * SIDE)
        return [centre, end], [0, end - centre]
    start = max(centre - SIDE, 0)
    return [start, centre], [SIDE - (centre - start), SIDE]


@pytest.mark.parametrize("seed", range(4))
def test_mosaic_of_mmdetection(seed):
    """A canvas of twice the side is a plan of four layers; all boxes on it are there."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    low = rng.integers(-8, 50, (4, 3, 2))
    boxes = np.concatenate([low, low + rng.integers(9, 30, (4, 3, 2))], 2).astype(float)
    boxes = boxes.clip(0, SIDE)
    centre = rng.integers(SIDE // 2, 3 * SIDE // 2, 2).tolist()  # y, x
    want, found, plan = np.full((2 * SIDE, 2 * SIDE, 3), 114, np.uint8), [], None
    for k in range(4):
        parts = [tile(at, after) for at, after in zip(centre, (k >= 2, k % 2 == 1))]
        (y, x), (from_y, from_x) = zip(*parts)
        want[slice(*y), slice(*x)] = images[k, slice(*from_y), slice(*from_x)]
        shift = np.array([x[0] - from_x[0], y[0] - from_y[0]] * 2)
        moved = np.clip(boxes[k] + shift, 0, 2 * SIDE)
        left, top, right, bottom = moved.T
        found.append(moved[(left < 2 * SIDE) & (right > 0) & (top < 2 * SIDE) & (bottom > 0)])
        size, whole = (2 * SIDE, 2 * SIDE), [1, 0, 0, 0, 0]
        layer = bm.Plan([1 + k, 1, 2, 3, 4], [[y, x]] * 5, whole, "HW", size,
                        source=[[from_y, from_x]] * 5)  # fmt: skip
        plan = layer if plan is None else plan.then(layer)
    canvas = np.full((5, 2 * SIDE, 2 * SIDE, 3), 114, np.uint8)
    canvas[1:, :SIDE, :SIDE] = images
    np.testing.assert_array_equal(bm.mix(canvas, plan, "NHWC")[0], want)
    there = np.concatenate([np.full((1, 3, 4), -1.0), boxes])
    ours = BoundingBoxes(min_visible=0, min_size=0)(there, plan)[0]
    np.testing.assert_array_equal(ours[ours[:, 2] > ours[:, 0]], np.concatenate(found))


def instances(rows=4, seed=0):
    """Masks [rows, 3, S, S] of rectangles that do not meet, their boxes and labels."""
    rng = np.random.default_rng(seed)
    masks, boxes = np.zeros((rows, 3, SIDE, SIDE), bool), np.zeros((rows, 3, 4))
    for row in range(rows):
        for k in range(3):
            left, top = int(rng.integers(0, 40)), 21 * k + int(rng.integers(0, 3))
            right, bottom = left + int(rng.integers(4, 24)), top + int(rng.integers(4, 18))
            masks[row, k, top:bottom, left:right] = True
            boxes[row, k] = left, top, right, bottom
    labels = rng.integers(1, 9, (rows, 3))
    return masks, boxes, labels


def copied(policy, seed, **thresholds):
    """What our field makes of instances, and which of the partner's were pasted."""
    masks, boxes, labels = instances(seed=seed)
    targets = [
        {"boxes": torch.tensor(b), "masks": torch.tensor(m), "labels": torch.tensor(y)}
        for b, m, y in zip(boxes, masks, labels)
    ]
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    fields = {0: Image("NCHW"), 1: BoundingBoxes(**thresholds)}
    mixer = bm.Mixer(policy, fields, pairing=Roll(1), seed=seed)
    plan = mixer.draw((images, targets))
    mixed, ours = mixer.apply((images, targets), plan)
    chosen = [
        [k for k in range(3) if (plan.mask[row][masks[partner, k]] == 255).all()]
        for row, partner in enumerate(plan.partner)
    ]
    return images, targets, mixed, ours, plan, chosen


@pytest.mark.parametrize("seed", range(4))
def test_copy_paste_of_torchvision(seed):
    """Without its blur. Its boxes of masks end at the last cell, ours after it."""
    nothing = {"min_visible": 0, "min_size": 0}
    images, targets, mixed, ours, plan, chosen = copied(copy_paste_policy(), seed, **nothing)
    for row, partner in enumerate(plan.partner):
        own, theirs, some = targets[row], targets[int(partner)], chosen[row]
        assert some
        pasted = theirs["masks"][some].any(0)
        want = torch.where(pasted, images[int(partner)], images[row])
        assert torch.equal(mixed[row], want)
        left = own["masks"] & ~pasted
        there = left.flatten(1).any(1)
        assert torch.equal(ours[row]["masks"], torch.cat([left[there], theirs["masks"][some]]))
        assert torch.equal(
            ours[row]["labels"], torch.cat([own["labels"][there], theirs["labels"][some]])
        )
        boxes = masks_to_boxes(left[there]) + torch.tensor([0, 0, 1, 1])
        boxes = torch.cat([boxes.double(), theirs["boxes"][some]])
        torch.testing.assert_close(ours[row]["boxes"], boxes)
