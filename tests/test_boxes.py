"""Boxes go where their pixels went: an oracle paints them, mixes the pictures, and looks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import BoundingBoxes, Image
from batchmix.policies import CutMix, FMix, Layers, MixUp, Mosaic
from checks import plans

SIZE = (5, 6)  # H, W


def around(cells):
    """Left, top, right, bottom of the cells that are set; None of none."""
    rows, columns = np.nonzero(cells)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def painted(box):
    """The cells of a box."""
    cells = np.zeros(SIZE, bool)
    left, top, right, bottom = box
    cells[top:bottom, left:right] = True
    return cells


@st.composite
def boxes(draw, rows):
    """[rows, 2, 5]: two boxes a row, of any size, and a number that tells them apart."""
    made = np.zeros((rows, 2, 5), int)
    for i in range(rows):
        for k in range(2):
            ends = [sorted(draw(st.integers(0, n)) for _ in range(2)) for n in (SIZE[1], SIZE[0])]
            (left, right), (top, bottom) = ends
            made[i, k] = left, top, right, bottom, 10 * i + k
    return made


def mix_bounding_boxes(x, plan, format="xyxy"):
    """All of them, however little is seen of one."""
    return BoundingBoxes(format, min_visible=0, min_size=0)(x, plan)


@given(st.data())
def test_boxes_are_around_the_pixels_that_show(data):
    plan = data.draw(plans(size=SIZE).filter(lambda p: p.mask is None and p.source is None))
    plan = bm.Plan(plan.partner, plan.box, plan.opacity, "HW", SIZE)
    x = data.draw(boxes(len(plan)))
    mixed = mix_bounding_boxes(x, plan)
    assert mixed.shape == (len(plan), 4, 5)
    assert mixed.dtype == x.dtype
    for i, j in enumerate(plan.partner):
        (top, bottom), (left, right) = plan.box[i]
        region = painted((left, top, right, bottom))
        covers = region if plan.opacity[i] == 1 else np.zeros(SIZE, bool)
        shown = region if plan.opacity[i] > 0 else np.zeros(SIZE, bool)
        for k in range(2):
            expected = around(painted(x[i, k, :4]) & ~covers)
            assert mixed[i, k].tolist() == ([*expected, x[i, k, 4]] if expected else [-1] * 5)
            expected = around(painted(x[j, k, :4]) & shown)
            assert mixed[i, 2 + k].tolist() == ([*expected, x[j, k, 4]] if expected else [-1] * 5)


CORNERS = np.array([[[1.0, 2.0, 5.0, 4.0]], [[0.0, 1.0, 3.0, 5.0]]])
FORMATS = {
    "xyxy": CORNERS,
    "yxyx": CORNERS[..., [1, 0, 3, 2]],
    "xywh": np.array([[[1.0, 2, 4, 2]], [[0, 1, 3, 4]]]),
    "cxcywh": np.array([[[3.0, 3, 4, 2]], [[1.5, 3, 3, 4]]]),
}
PLAN = bm.Plan([1, 0], [[[0, 5], [0, 2]], [[2, 5], [0, 6]]], [1, 0.5], "HW", SIZE)


@pytest.mark.parametrize("format", FORMATS)
def test_formats_say_the_same(format, xp):
    got = xp.numpy(BoundingBoxes(format, min_size=0)(xp.array(FORMATS[format], "float32"), PLAN))
    corners = mix_bounding_boxes(CORNERS, PLAN)
    there = (corners != -1).all(-1)
    left, top, right, bottom = np.moveaxis(corners, -1, 0)
    expected = {
        "xyxy": [left, top, right, bottom],
        "yxyx": [top, left, bottom, right],
        "xywh": [left, top, right - left, bottom - top],
        "cxcywh": [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top],
    }[format]
    np.testing.assert_array_equal(got[there], np.stack(expected, -1)[there])
    np.testing.assert_array_equal(got[~there], -1)


def test_a_stretched_region_moves_the_boxes_in_it():
    source = [[[0, 5], [0, 6]]] * 2  # the whole partner, squeezed into 1 x 3 cells
    plan = bm.Plan([1, 0], [[[2, 3], [3, 6]]] * 2, [1, 1], "HW", SIZE, source=source)
    got = mix_bounding_boxes(np.array([[[0.0, 0, 2, 5]], [[2, 0, 4, 5]]]), plan)
    assert got[0].tolist() == [[0, 0, 2, 5], [4, 2, 5, 3]]


def test_through_a_mask_own_boxes_stay_where_something_is_left_of_them():
    for opacity, gone in ((1, True), (0.5, False)):
        plan = bm.Plan(
            [1, 0], [[[0, 5], [0, 6]]] * 2, [opacity] * 2, "HW", SIZE, mask=np.ones((2, *SIZE))
        )
        want = np.full_like(CORNERS[:, 0], -1) if gone else CORNERS[:, 0]
        assert mix_bounding_boxes(CORNERS, plan)[:, 0].tolist() == want.tolist()


def test_in_a_mixer_and_with_other_rows():
    images = np.zeros((2, 1, *SIZE), np.float32)
    mixer = bm.Mixer(bm.policies.MixUp(1.0), {0: Image("NCHW"), 1: BoundingBoxes()})
    _, mixed = mixer((images, CORNERS), other=(images, CORNERS[::-1] * 0 + [1, 1, 2, 2]))
    assert mixed[:, 0].tolist() == CORNERS[:, 0].tolist()
    assert mixed[:, 1].tolist() == [[1, 1, 2, 2]] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BoundingBoxes("xyxyr"), "'xyxyr'.*xyxy, yxyx, xywh, cxcywh, in cells.*cxcywhn"),
        (lambda: mix_bounding_boxes(CORNERS, PLAN, "xx"), "format='xx'"),
        (lambda: mix_bounding_boxes(CORNERS[..., :3], PLAN), r"\(2, 1, 3\).*\[B, N, 4 \+ K\]"),
        (lambda: mix_bounding_boxes(CORNERS[:1], PLAN), "drawn for 2 rows"),
        (lambda: mix_bounding_boxes(CORNERS, bm.Plan.identity(2)), "axes ''.*H and W"),
        (lambda: mix_bounding_boxes(CORNERS.astype(np.uint8), PLAN), "uint8.*signed.*-1"),
        (lambda: mix_bounding_boxes(CORNERS > 1, PLAN), "bool.*signed"),
    ],
)
def test_errors(call, message):
    with pytest.raises(bm.MixError, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize(
    "policy",
    [
        FMix(cells=None), FMix(), Mosaic("crop"), Layers([CutMix(), CutMix()]),
        Layers([FMix(), CutMix()]), Layers([CutMix(), MixUp(1.0)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [{"H": 12, "W": 10}, {"W": 10, "H": 12}])
def test_boxes_are_as_small_as_what_is_seen(policy, size):
    """Counted by painting each box alone."""
    rng = np.random.default_rng(0)
    plan = bm.draw(policy, bm.Key(3), 5, size)
    low = rng.integers(0, 7, (5, 3, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 6, (5, 3, 2)).clip(max=[3, 5])], 2)
    mixed = mix_bounding_boxes(boxes, plan)
    for row in range(5):
        for k, rows in enumerate([np.arange(5), *(layer.partner for layer in plan.layers)]):
            for n in range(3):
                left, top, right, bottom = boxes[rows[row], n]
                painted = np.zeros((5, 12, 10))
                painted[rows[row], top:bottom, left:right] = 1
                image = painted if k == 0 else np.zeros((5, 12, 10))
                for m, layer in enumerate(plan.layers, 1):
                    one = dataclasses.replace(layer, source=None) if k != m else layer
                    image = oracle.mix(image, one, "NHW", other=painted * (k == m))
                across, down = (np.flatnonzero((image[row] > 0).any(axis)) for axis in (0, 1))
                want = [-1] * 4
                if len(across):
                    want = [across[0], down[0], across[-1] + 1, down[-1] + 1]
                assert mixed[row, 3 * k + n].tolist() == want
