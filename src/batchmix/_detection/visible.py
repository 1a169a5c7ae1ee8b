"""What is seen of boxes, masks and points after a plan, by the painter's rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._detection.formats import Corners, area
from batchmix._plan import Plan
from batchmix._weights import Layer, painted

_NOTHING = 1e-9  # of an area: what is left where sums are rounded
_GIVEN = 2e-4  # of a cell: as much as float32 is wrong by on sides of a thousand
COUNTED = 1e-10  # as much as float64 is


class Shown(NamedTuple):
    """Boxes [B, N] of a row's own, or of one layer, as they are seen."""

    corners: Corners  # the smallest boxes around what is seen
    share: NDArray[np.float64]  # seen area, of the area
    weight: NDArray[np.float64]  # the mean of the opacity at which the cells are seen
    left: NDArray[np.float64]  # seen area, of the area before it was stretched
    as_was: NDArray[np.bool_]  # all of it is seen, where and as large as it was


class Picture(NamedTuple):
    """Some rows of a mixed batch: how strongly a row's own content shows, and each layer's."""

    rows: slice
    y: NDArray[np.int64]  # [b, h + 1]: cells at which the stretches start, and the end
    x: NDArray[np.int64]
    maps: list[NDArray[np.float64]]  # K + 1 of [b, h, w]


def pictures(plan: Plan) -> Iterator[Picture]:
    """The weights of a plan, cell by cell, where stretches of cells have one alike."""
    layers = [Layer(one.box, one.opacity, one.mask) for one in (plan, *plan.above)]
    for rows, edges, maps in painted(layers, plan.size):
        if plan.axes == "WH":
            edges, maps = edges[::-1], [np.swapaxes(one, 1, 2) for one in maps]
        yield Picture(rows, edges[0], edges[1], maps)


def boxes_seen(own: Corners, others: Corners, plan: Plan) -> tuple[list[Shown], NDArray[np.bool_]]:
    """What is seen of boxes [B, N, 4], then of those of the partners; which rows are mixed."""
    placed: list[tuple[Corners, ...]] = [(whole_cells(own), whole_cells(own), own)]
    scales: list[Any] = [1.0]
    for layer in (plan, *plan.above):
        theirs = others[np.asarray(layer.partner)]
        at, scale = moved(whole_cells(theirs), layer)
        placed.append((whole_cells(theirs), whole_cells(at, COUNTED), moved(theirs, layer)[0]))
        scales.append(scale)
    found: list[list[Any]] = [[] for _ in placed]
    mixed = [np.zeros(0, bool)]
    for picture in pictures(plan):
        mixed.append(np.any([one.any((1, 2)) for one in picture.maps[1:]], 0))
        for k, (boxes, scale) in enumerate(zip(placed, scales)):
            some = scale if np.ndim(scale) == 0 else scale[picture.rows]
            was, at, given = (one[picture.rows] for one in boxes)
            found[k].append(_seen(was, at, given, some, picture, k))
    shown = [
        Shown(*map(np.concatenate, zip(*parts))) if parts else nothing_seen(boxes[0].shape[:2])
        for parts, boxes in zip(found, placed)
    ]
    return shown, np.concatenate(mixed)


def moved(x: Corners, layer: Plan) -> tuple[Corners, Any]:
    """Where [B, N, 4], or points [B, N, 2], of the partner lie once `source` was stretched."""
    if layer.source is None:
        return x, 1.0
    axes = [layer.axes.index("W"), layer.axes.index("H")]
    source, box = np.asarray(layer.source)[:, axes], np.asarray(layer.box)[:, axes]
    ratio = (box[..., 1] - box[..., 0]) / np.maximum(source[..., 1] - source[..., 0], 1)
    pair = [0, 1] * (x.shape[-1] // 2)
    start, at = source[:, None, pair, 0], box[:, None, pair, 0]
    found = at + (x - start) * ratio[:, None, pair]
    return found, ratio.prod(-1)[:, None]


def whole_cells(x: NDArray[np.float64], near: float = _GIVEN) -> NDArray[np.float64]:
    """Numbers that were whole until they were rounded: else boxes touch a cell more."""
    whole = np.rint(x)
    found: NDArray[np.float64] = np.where(np.abs(x - whole) < near, whole, x)
    return found


def nothing_seen(shape: tuple[int, ...]) -> Shown:
    """Of [B, N] boxes none."""
    nothing = np.zeros(shape)
    return Shown(np.zeros((*shape, 4)), nothing, nothing, nothing, nothing.astype(bool))


def _seen(was: Corners, at: Corners, given: Corners, scale: Any, picture: Picture, k: int) -> Shown:
    """Boxes of one layer that are `was` in their own image and `at` in the mixed one.

    `given` is `at` before numbers were made whole: what is not cut keeps its coordinates.
    """
    weights, seen = picture.maps[k], (picture.maps[k] > 0).astype(np.float64)
    down, along = _overlap(at[..., [1, 3]], picture.y), _overlap(at[..., [0, 2]], picture.x)
    columns = down @ seen  # [b, N, w]: how much of each column is seen of each box
    whole = _area_in_image(was, picture) * scale
    there = whole > 0
    counted = np.where(there, whole, 1)
    share = np.where(there, (columns * along).sum(-1) / counted, 0)
    share[np.abs(share - 1) < _NOTHING] = 1
    share[share < _NOTHING] = 0
    weight = np.where(there, ((down @ weights) * along).sum(-1) / counted, 0)
    as_was = there & (share == 1) & (at == was).all(-1)
    left, right = _ends((columns > 0) & (along > 0), picture.x)
    rows = along @ np.swapaxes(seen, 1, 2)
    top, bottom = _ends((rows > 0) & (down > 0), picture.y)
    low = np.maximum(given[..., :2], np.stack([left, top], -1))
    high = np.minimum(given[..., 2:], np.stack([right, bottom], -1))
    around = np.where(as_was[..., None], given, np.concatenate([low, high], -1))
    around[share == 0] = 0
    return Shown(around, np.minimum(share, 1), np.minimum(weight, 1), share * scale, as_was)


def _overlap(ends: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """[b, N, n]: how long each stretch of an axis is inside of each box."""
    low = np.maximum(ends[..., :1], edges[:, None, :-1])
    high = np.minimum(ends[..., 1:], edges[:, None, 1:])
    found: NDArray[np.float64] = np.maximum(high - low, 0)
    return found


def _ends(touched: NDArray[np.bool_], edges: NDArray[np.int64]) -> tuple[Any, Any]:
    """[b, N]: where the first of the stretches starts, and the last ends."""
    row = np.arange(len(edges))[:, None]
    last = touched.shape[-1] - touched[..., ::-1].argmax(-1)
    return edges[row, touched.argmax(-1)], edges[row, last]


def _area_in_image(x: Corners, picture: Picture) -> NDArray[np.float64]:
    """Areas of boxes, without what lies outside of their image."""
    most = np.stack([picture.x[:, -1], picture.y[:, -1]], -1)[:, None].astype(float)
    return area(np.clip(x, 0, np.concatenate([most, most], -1)))
