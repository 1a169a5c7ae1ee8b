"""What is seen of boxes, masks and points, counted cell by cell and row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from batchmix.fields import BoundingBoxes, Instances, Keypoints
from test_detection import SIZE, layered, padded

CELLS = dict(zip("HW", np.indices(SIZE, sparse=True)))


def weights(plan, row):
    """[H, W] of a row's own content, then of each layer: how strongly a cell shows it."""
    found = [np.ones(SIZE)]
    for layer in plan.layers:
        a = np.broadcast_to(oracle.alpha(layer, row, CELLS), SIZE)
        found = [*(one * (1 - a) for one in found), a]
    return found


def moved(point, layer, row):
    """Where a point of the partner lies."""
    if layer.source is None:
        return point
    found = []
    for at, letter in zip(point, "WH"):
        axis = layer.axes.index(letter)
        (low, high), (start, stop) = layer.box[row, axis], layer.source[row, axis]
        found.append(low + (at - start) * (high - low) / (stop - start))
    return found


def overlap(box):
    """[H, W]: how much of each cell is in a box."""
    ends = []
    for low, high, n in ((box[1], box[3], SIZE[0]), (box[0], box[2], SIZE[1])):
        cells = np.arange(n)
        ends.append(np.maximum(np.minimum(high, cells + 1) - np.maximum(low, cells), 0))
    return ends[0][:, None] * ends[1]


def expected(box, layer, row, weight, min_visible, min_size):
    """The box that is left and its weight; None where it is gone."""
    at = box
    if layer is not None:
        at = [*moved(box[:2], layer, row), *moved(box[2:], layer, row)]
    scale = 1.0
    if layer is not None and layer.source is not None:
        sides = np.diff(layer.box[row])[:, 0] / np.diff(layer.source[row])[:, 0]
        scale = sides.prod()
    part, whole = overlap(at), overlap(box).sum() * scale
    seen = part * (weight > 0)
    if whole == 0 or seen.sum() < 1e-6:
        return None
    share = seen.sum() / whole
    worth = (part * weight).sum() / whole
    if share > 1 - 1e-6 and np.array_equal(at, box):
        return [*box, worth]
    down, across = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    left = [max(at[0], across[0]), max(at[1], down[0]),
            min(at[2], across[-1] + 1), min(at[3], down[-1] + 1)]  # fmt: skip
    near = abs(share - min_visible) < 1e-6
    small = min(left[2] - left[0], left[3] - left[1])
    near |= abs(small - min_size) < 1e-6
    if (share < min_visible or small < min_size) and not near:
        return None
    return [*left, worth] if not near else "either"


@pytest.mark.parametrize(("min_visible", "min_size"), [(0, 0), (0.1, 2), (0.5, 0), (0, 5)])
@given(plan=layered(), data=st.data())
def test_boxes_and_weights_are_those_of_the_cells(min_visible, min_size, plan, data):
    boxes = data.draw(padded(len(plan)))
    field = BoundingBoxes(min_visible=min_visible, min_size=min_size, weights=True)
    mixed = field(boxes, plan)
    assert mixed.shape == (len(plan), 3 * (len(plan.layers) + 1), 6)
    for row in range(len(plan)):
        maps = weights(plan, row)
        for k, weight in enumerate(maps):
            layer = plan.layers[k - 1] if k else None
            for n, box in enumerate(boxes[layer.partner[row]] if k else boxes[row]):
                got = mixed[row, 3 * k + n]
                want = None
                if box[4] >= 0:
                    want = expected(box[:4].tolist(), layer, row, weight, min_visible, min_size)
                if want is None:
                    assert got.tolist() == [-1] * 6
                elif want != "either":
                    np.testing.assert_allclose(got[[0, 1, 2, 3, 5]], want, atol=1e-6)
                    assert got[4] == box[4]


def pasted(masks, layer, row):
    """Masks [n, H, W] of a partner where they are pasted."""
    at = oracle.source_cell(layer, row, CELLS)
    found = masks[:, at["H"], at["W"]]
    inside = np.ones(SIZE, bool)
    for axis, letter in enumerate(layer.axes):
        low, high = layer.box[row, axis]
        inside = inside & (low <= CELLS[letter]) & (CELLS[letter] < high)
    return found * inside


@given(layered(), st.integers(0, 10**6), st.sampled_from([bool, np.uint8, np.float32]))
def test_masks_are_those_of_the_cells(plan, seed, dtype):
    rng = np.random.default_rng(seed)
    masks = (rng.integers(0, 3, (len(plan), 2, *SIZE)) > 1).astype(dtype)
    rows = [
        {"boxes": np.array([[0.0, 0, 12, 16]] * 2), "labels": 2 * i + np.arange(2),
         "masks": masks[i], "area": masks[i].sum((1, 2)).astype(np.float64)}
        for i in range(len(plan))
    ]  # fmt: skip
    mixed = BoundingBoxes(min_visible=0, min_size=0, weights=True)(rows, plan)
    wide = Instances(min_visible=0)(masks, plan)
    assert wide.dtype == dtype
    for row, target in enumerate(mixed):
        found, every = [], []
        for k, weight in enumerate(weights(plan, row)):
            layer = plan.layers[k - 1] if k else None
            whose = layer.partner[row] if k else row
            there = pasted(masks[whose], layer, row) if k else masks[whose]
            seen = there * (weight > 0)
            every.append(seen)
            found += [(one, 2 * whose + n) for n, one in enumerate(seen) if one.any()]
        np.testing.assert_array_equal(wide[row], np.concatenate(every))
        assert target["labels"].tolist() == [label for _, label in found]
        assert target["masks"].dtype == dtype
        for n, (mask, _) in enumerate(found):
            np.testing.assert_array_equal(target["masks"][n], mask)
            across, down = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
            if plan.lam[row] < 1 and mask.sum() != masks.reshape(-1, *SIZE)[found[n][1]].sum():
                want = [across[0], down[0], across[-1] + 1, down[-1] + 1]
                assert target["boxes"][n].tolist() == want
            np.testing.assert_allclose(target["area"][n], mask.sum())


@given(layered(), st.integers(0, 10**6), st.sampled_from(["xy", "xyv", "xyn", "xyvn"]))
def test_points_are_where_their_pixels_are(plan, seed, format):
    rng = np.random.default_rng(seed)
    points = rng.random((len(plan), 2, 3, 2)) * [12.0, 16.0]
    unit = np.array([12.0, 16.0]) if format.endswith("n") else 1.0
    given_ = points / unit
    if "v" in format:
        v = rng.integers(0, 3, (len(plan), 2, 3, 1))
        given_ = np.concatenate([given_ * (v > 0), v], -1)
    mixed = Keypoints(format)(given_, plan)
    assert mixed.shape == (len(plan), 2 * (len(plan.layers) + 1), *given_.shape[2:])
    for row in range(len(plan)):
        maps = weights(plan, row)
        if not any(one.any() for one in maps[1:]):
            np.testing.assert_array_equal(mixed[row, :2], given_[row])
            continue
        for k, weight in enumerate(maps):
            layer = plan.layers[k - 1] if k else None
            whose = layer.partner[row] if k else row
            for n, m in np.ndindex(2, 3):
                got, one = mixed[row, 2 * k + n, m], given_[whose, n, m]
                at = points[whose, n, m]
                at = np.array(moved(at, layer, row) if k else at)
                seen = (at >= 0).all() and at[0] <= 12 and at[1] <= 16
                seen = seen and weight[min(int(at[1]), 15), min(int(at[0]), 11)] > 0
                if "v" in format:
                    seen = seen and one[2] > 0
                    want = [*(at / unit), one[2]] if seen else [0] * 3
                else:
                    want = at / unit if seen else [-1, -1]
                np.testing.assert_allclose(got, want, atol=1e-9)
