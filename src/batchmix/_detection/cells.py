"""What is seen of instance masks and of points, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._detection.visible import COUNTED, Shown, moved, pictures, whole_cells
from batchmix._plan import Plan

Rows = Sequence[NDArray[Any]]


def masks_seen(
    shown: Sequence[Shown], own: Rows, others: Rows, plan: Plan
) -> tuple[list[Shown], list[dict[int, NDArray[Any]]]]:
    """Masks [n, H, W] of rows, and of their partners, as they are seen; boxes around what is left.

    What is seen of a box is then what is seen of its mask. Of rows that are mixed.
    """
    found = [Shown._make(column.copy() for column in one) for one in shown]
    made: list[dict[int, NDArray[Any]]] = [{} for _ in shown]
    for row, weights in _mixed_rows(plan):
        for k, (layer, weight) in enumerate(zip((None, plan, *plan.above), weights)):
            masks = own[row] if layer is None else others[int(layer.partner[row])]
            there, scale = masks, 1.0
            if layer is not None and layer.source is not None:
                there, scale = _stretched(masks, layer, row)
            made[k][row] = np.where(weight > 0, there, masks.dtype.type(0))
            _count(found[k], row, masks, there, scale, weight)
    return found, made


def points_seen(
    own: Rows, others: Rows, plan: Plan, unit: NDArray[np.float64] | float
) -> list[dict[int, NDArray[np.float64]]]:
    """Points [n, P, 2 or 3] where they are seen; `unit` cells make 1. Of rows that are mixed."""
    made: list[dict[int, NDArray[np.float64]]] = [{} for _ in range(len(plan.above) + 2)]
    layers = (plan, *plan.above)
    for row, weights in _mixed_rows(plan):
        for k, weight in enumerate(weights):
            layer = layers[k - 1]
            points = (others[int(layer.partner[row])] if k else own[row]).astype(np.float64)
            at = points[..., :2] * unit
            cells = whole_cells(at)
            if k and layer.source is not None:
                at, cells = (_moved_points(one, layer, row) for one in (at, cells))
                points = np.concatenate([at / unit, points[..., 2:]], -1)
            made[k][row] = _seen_points(points, cells, weight)
    return made


def _mixed_rows(plan: Plan) -> Iterator[tuple[int, list[NDArray[np.float64]]]]:
    """Each row of which something is pasted on, and K + 1 weights [H, W]."""
    for picture in pictures(plan):
        for k in range(len(picture.y)):
            if any(one[k].any() for one in picture.maps[1:]):
                high, wide = np.diff(picture.y[k]), np.diff(picture.x[k])
                maps = [one[k].repeat(high, 0).repeat(wide, 1) for one in picture.maps]
                yield picture.rows.start + k, maps


def _stretched(masks: NDArray[Any], layer: Plan, row: int) -> tuple[NDArray[Any], float]:
    """Masks of a partner where the source is stretched over the box, by the nearest cell."""
    scale, places, cells = 1.0, dict[str, Any](), dict[str, Any]()
    for axis, letter in enumerate(layer.axes):
        low, high = (int(end) for end in layer.box[row, axis])
        start, stop = (int(end) for end in np.asarray(layer.source)[row, axis])
        sides, steps = max(high - low, 1), 2 * np.arange(high - low) + 1
        places[letter] = slice(low, high)
        cells[letter] = start + steps * (stop - start) // (2 * sides)
        scale *= (high - low) / max(stop - start, 1)
    made = np.zeros_like(masks)
    made[:, places["H"], places["W"]] = masks[:, cells["H"]][:, :, cells["W"]]
    return made, scale


def _count(
    shown: Shown, row: int, masks: NDArray[Any], there: NDArray[Any], scale: float, weight: Any
) -> None:
    """Write what is seen of masks to the columns of their boxes."""
    for k, mask in enumerate(there):
        down, across = _span(mask)
        part, worth = mask[down, across] != 0, weight[down, across]  # a small part of the grid
        before = int(np.count_nonzero(part if there is masks else masks[k]))
        seen = part & (worth > 0)
        left, whole = np.count_nonzero(seen), max(before * scale, 1e-9)
        as_was = before > 0 and left == before and there is masks
        shown.share[row, k] = min(left / whole, 1)
        shown.weight[row, k] = min(worth[part].sum() / whole, 1)
        shown.left[row, k] = left / max(before, 1)
        shown.as_was[row, k] = as_was
        if not as_was:
            (y, x), (top, first) = _span(seen), (down.start, across.start)
            ends = x.start + first, y.start + top, x.stop + first, y.stop + top
            shown.corners[row, k] = ends if left else 0


def _span(mask: NDArray[Any]) -> tuple[slice, slice]:
    """The rows and columns that a mask reaches over; none of one that is empty."""
    found = (np.flatnonzero((mask != 0).any(axis)) for axis in (1, 0))
    y, x = (slice(int(n[0]), int(n[-1]) + 1) if len(n) else slice(0, 0) for n in found)
    return y, x


def _moved_points(at: NDArray[np.float64], layer: Plan, row: int) -> NDArray[np.float64]:
    """Points [n, P, 2] of the partner of a row, where the source was stretched."""
    one = np.zeros((len(layer.partner), at[..., 0].size, 2))
    one[row] = at.reshape(-1, 2)
    found: NDArray[np.float64] = moved(one, layer)[0][row].reshape(at.shape)
    return found


def _seen_points(points: Any, at: Any, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in cells that show them; of the others there is none, 0 or, without `v`, -1."""
    size = np.array(weight.shape[::-1])
    at = whole_cells(at, COUNTED)
    inside = ((at >= 0) & (at <= size)).all(-1)
    cell = np.clip(np.floor(at), 0, size - 1).astype(int)
    there = inside & (weight[cell[..., 1], cell[..., 0]] > 0)
    if points.shape[-1] == 3:
        return np.where((there & (points[..., 2] > 0))[..., None], points, 0.0)
    return np.where(there[..., None], points, -1.0)
