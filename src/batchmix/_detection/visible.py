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
    placed: list[tuple[Corners, Corners, Any]] = [(own, own, 1.0)]
    for layer in (plan, *plan.above):
        theirs = others[np.asarray(layer.partner)]
        placed.append((theirs, *moved(theirs, layer)))
    found: list[list[Any]] = [[] for _ in placed]
    mixed = [np.zeros(0, bool)]
    for picture in pictures(plan):
        mixed.append(np.any([one.any((1, 2)) for one in picture.maps[1:]], 0))
        for k, (was, at, scale) in enumerate(placed):
            some = scale if np.ndim(scale) == 0 else scale[picture.rows]
            found[k].append(_seen(was[picture.rows], at[picture.rows], some, picture, k))
    shown = [
        Shown(*map(np.concatenate, zip(*parts))) if parts else _none(at)
        for parts, (_, at, _) in zip(found, placed)
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


def _none(x: Corners) -> Shown:
    """Of no rows."""
    nothing = np.zeros(x.shape[:2])
    return Shown(x, nothing, nothing, nothing, nothing.astype(bool))


def _seen(was: Corners, at: Corners, scale: Any, picture: Picture, k: int) -> Shown:
    weights, seen = picture.maps[k], picture.maps[k] > 0
    end_y, end_x = picture.y[:, None, -1], picture.x[:, None, -1]
    whole = _areas_in_image(was, end_y, end_x) * scale
    there = whole > 0
    counted = np.where(there, whole, 1)
    visible = _integral(seen.astype(float), at, picture)
    share = np.where(there, np.clip(visible / counted, 0, 1), 0)
    share[np.abs(share - 1) < _NOTHING] = 1
    share[share < _NOTHING] = 0
    weight = np.where(there, np.clip(_integral(weights, at, picture) / counted, 0, 1), 0)
    as_was = there & (share == 1) & (at == was).all(-1)
    around = _around(at, seen, picture)
    around = np.where(as_was[..., None], at, around)
    around[share == 0] = 0
    return Shown(around, share, weight, share * scale, as_was)


def _areas_in_image(x: Corners, height: Any, width: Any) -> NDArray[np.float64]:
    """Areas of boxes, without what lies outside of their image."""
    ends = np.stack(np.broadcast_arrays(width, height), -1).astype(float)
    return area(np.concatenate([np.clip(x[..., :2], 0, ends), np.clip(x[..., 2:], 0, ends)], -1))


def _integral(values: NDArray[np.float64], x: Corners, picture: Picture) -> NDArray[np.float64]:
    """[b, N]: sums over cells, and parts of cells, of boxes."""
    cells = np.diff(picture.y)[:, :, None] * np.diff(picture.x)[:, None]
    sums = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
    sums[:, 1:, 1:] = (values * cells).cumsum(1).cumsum(2)
    row = np.arange(len(values))[:, None]
    ends = (
        [_place(picture.y, x[..., k]) for k in (1, 3)],
        [_place(picture.x, x[..., k]) for k in (0, 2)],
    )
    found = np.zeros(x.shape[:2])
    for sign_y, (i, down) in zip((-1, 1), ends[0]):
        for sign_x, (j, along) in zip((-1, 1), ends[1]):
            upper = sums[row, i, j] * (1 - along) + sums[row, i, j + 1] * along
            lower = sums[row, i + 1, j] * (1 - along) + sums[row, i + 1, j + 1] * along
            found += sign_y * sign_x * (upper * (1 - down) + lower * down)
    return np.where(area(x) > 0, found, 0)


def _place(edges: NDArray[np.int64], at: NDArray[np.float64]) -> tuple[Any, Any]:
    """The stretch [b, N] in which each coordinate lies, and how far along it."""
    at = np.clip(at, edges[:, :1], edges[:, -1:])
    index = (edges[:, None] <= at[..., None]).sum(-1) - 1
    index = np.clip(index, 0, edges.shape[1] - 2)
    row = np.arange(len(edges))[:, None]
    low, high = edges[row, index], edges[row, index + 1]
    return index, (at - low) / np.maximum(high - low, 1)


def _around(x: Corners, seen: NDArray[np.bool_], picture: Picture) -> Corners:
    """The smallest boxes around what is seen of boxes; no area where that is nothing."""
    low_x, high_x = _ends(x[..., [1, 3]], x[..., [0, 2]], seen, picture.y, picture.x)
    flipped = np.swapaxes(seen, 1, 2)
    low_y, high_y = _ends(x[..., [0, 2]], x[..., [1, 3]], flipped, picture.x, picture.y)
    return np.stack([low_x, low_y, high_x, high_y], -1)


def _ends(across: Any, along: Any, seen: NDArray[np.bool_], lines: Any, edges: Any) -> Any:
    """On one axis: the first and the last place where something is seen of each box."""
    there = seen & (np.diff(lines) > 0)[:, :, None] & (np.diff(edges) > 0)[:, None]
    sums = np.zeros((len(seen), seen.shape[1] + 1, seen.shape[2]), np.int32)
    sums[:, 1:] = there.cumsum(1)
    row = np.arange(len(seen))[:, None]
    (top, bottom), (left, right) = _touched(lines, across), _touched(edges, along)
    place = np.arange(seen.shape[2])
    found = sums[row, bottom] > sums[row, top]
    found &= (place >= left[..., None]) & (place < right[..., None])
    first, last = found.argmax(-1), seen.shape[2] - found[..., ::-1].argmax(-1)
    low = np.maximum(along[..., 0], edges[row, first])
    high = np.minimum(along[..., 1], edges[row, last])
    return low, np.where(found.any(-1), high, low)


def _touched(edges: Any, ends: Any) -> tuple[Any, Any]:
    """[b, N]: the first stretch that a box touches, and the one after the last."""
    cells = edges.shape[1] - 1
    first = np.clip((edges[:, None] <= ends[..., :1]).sum(-1) - 1, 0, cells)
    return first, np.clip((edges[:, None] < ends[..., 1:]).sum(-1), first, cells)
