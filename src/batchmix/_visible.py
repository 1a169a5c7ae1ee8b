"""Which cells of a row show what, and the bounding boxes around what is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._plan import Plan
from batchmix._weights import mask_at

Corners = NDArray[np.float64]


def visible(shown: list[Corners], plan: Plan) -> list[Corners]:
    """Boxes [B, N, 4] of a row's own and of each layer, as small as what is seen of each.

    Of a plan with masks or layers: what a mask or several pastes leave of a box is no box again.
    """
    found = [corners.copy() for corners in shown]
    for row in range(len(plan)):
        for corners, cells in zip(found, _cells(plan, row)):
            for box in corners[row]:
                if box[0] < box[2] and box[1] < box[3]:
                    box[:] = _around(box, cells)
    return found


def _cells(plan: Plan, row: int) -> list[NDArray[np.bool_]]:
    """[H, W] for the row's own content, then for each layer: where it is seen."""
    layers, found = (plan, *plan.above), []
    left = np.ones(plan.size, bool)  # to be seen below what lies above
    for layer in reversed(layers):
        opacity = np.full(plan.size, float(layer.opacity[row]))
        if layer.mask is not None:
            places = [np.arange(n)[None] for n in plan.size]
            opacity = opacity * mask_at(layer.mask[row : row + 1], places, plan.size)[0]
        inside = np.zeros(plan.size, bool)
        inside[tuple(slice(low, high) for low, high in layer.box[row].tolist())] = True
        found.append(left & inside & (opacity > 0))
        left = left & ~(inside & (opacity >= 1))
    maps = [left, *reversed(found)]
    return maps if plan.axes == "HW" else [cells.T for cells in maps]


def _around(box: Corners, cells: NDArray[np.bool_]) -> Any:
    """The smallest box around the cells that are seen of one; no area where none is."""
    height, width = cells.shape
    left, top = (max(int(np.floor(v)), 0) for v in box[:2])
    right, bottom = (min(int(np.ceil(v)), n) for v, n in zip(box[2:], (width, height)))
    part = cells[top:bottom, left:right]
    across, down = np.flatnonzero(part.any(0)), np.flatnonzero(part.any(1))
    if not len(across):
        return 0.0
    low = np.maximum(box[:2], [left + across[0], top + down[0]])
    high = np.minimum(box[2:], [left + across[-1] + 1, top + down[-1] + 1])
    return np.concatenate([low, high])
