"""The row loop: touches only the boxes, in place on one copy. For arrays that live on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import nearest
from batchmix._plan import Plan
from batchmix.backends import _formula
from batchmix.backends._contract import COMPUTE, Arrays
from batchmix.backends._visits import in_order, visits

SMALL = 4096  # rows of fewer elements go through the formula: the Python loop would cost more


def paste(b: Arrays, other: Any, plan: Plan, layout: str, out: Any, in_place: bool) -> None:
    """`plan` executed on `out`, which holds the rows already; `in_place`: `other` is `out`."""
    opacities, partners = plan.opacity.tolist(), plan.partner.tolist()
    kept: dict[int, Any] = {}
    order = visits(plan.partner, plan.opacity > 0) if in_place else in_order(len(partners))
    for row, keep in zip(order.rows, order.kept):
        partner = partners[row]
        if keep:
            kept[row] = out[row].copy()
        if opacities[row] > 0:
            source = kept.get(partner, other[partner])
            region, cells = _regions(plan, layout, row)
            theirs = source[region] if plan.source is None else _picked(b, source, cells)
            mask = plan.mask
            opacity = opacities[row] if mask is None else _masked(plan, mask, layout, row)
            _blend(b, out[row][region], theirs, opacity)


def _blend(b: Arrays, own: Any, theirs: Any, opacity: Any) -> None:
    """Into the memory of `own`; an opacity that is a number is that of all cells, and 1 copies."""
    compute = COMPUTE.get(own.dtype.name)
    if isinstance(opacity, float) and (compute is None or opacity == 1):
        own[...] = theirs
    elif compute is None:
        own[...] = np.where(opacity > 0, theirs, own)
    else:
        mine, theirs = b.cast(own, compute), b.cast(theirs, compute)
        if isinstance(opacity, float):
            mixed = mine * mine.dtype.type(1 - opacity)
            mixed += theirs * mine.dtype.type(opacity)
        else:
            mixed = _formula.blend(b, mine, theirs, b.cast(opacity, compute))
        own[...] = b.rounded(mixed, own)


def _regions(plan: Plan, layout: str, row: int) -> tuple[tuple[slice, ...], list[Any]]:
    """Slices of the box in one row; if the partner is stretched, its cells for each axis and the
    weight of the one after each.
    """
    region = [slice(None)] * (len(layout) - 1)
    part: list[Any] = [None] * (len(layout) - 1)
    for axis, letter in enumerate(plan.axes):
        at = layout.index(letter) - 1
        lo, hi = plan.box[row, axis].tolist()
        region[at] = slice(lo, hi)
        if plan.source is not None:
            start, stop = plan.source[row, axis].tolist()
            parts = _formula.parts_of(len(plan.axes)) if plan.resample == "bilinear" else 0
            cell, weight = _taps(stop - start, hi - lo, parts)
            part[at] = start + cell, weight
    return tuple(region), part


def _taps(s: int, n: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """For n cells over which s are stretched: which, and the weight of the one after it."""
    middle = (2 * np.arange(n, dtype=np.int64) + 1) * s
    if not parts:
        return middle // max(2 * n, 1), None
    cell, rest = np.divmod(np.clip(middle - n, 0, (s - 1) * 2 * n), max(2 * n, 1))
    return cell, (rest * parts + n) // max(2 * n, 1) / parts


def _picked(b: Arrays, row: Any, cells: list[Any]) -> Any:
    """The given cells of a row on each axis that has some, blended with those after them."""
    compute = COMPUTE.get(row.dtype.name)
    made = row
    for axis, (cell, weight) in enumerate(part or (None, None) for part in cells):
        if cell is None:
            continue
        if weight is None or compute is None:
            made = np.take(made, cell, axis)
            continue
        shape = [-1 if k == axis else 1 for k in range(made.ndim)]
        made = b.cast(made, compute)
        after = np.take(made, cell + (weight > 0), axis)
        weights = b.cast(weight.reshape(shape), compute)
        made = _formula.blend(b, np.take(made, cell, axis), after, weights)
    return made if made.dtype == row.dtype else b.rounded(made, row)


def _masked(plan: Plan, mask: NDArray[Any], layout: str, row: int) -> Any:
    """The row's opacity through the mask, as an array that fits the box."""
    cells = [nearest(g, n) for g, n in zip(mask.shape[1:], plan.size)]
    within = [cell[lo:hi] for cell, (lo, hi) in zip(cells, plan.box[row].tolist())]
    cut = mask[row][np.ix_(*within)]
    cut = cut.astype(np.float32) / np.float32(255) if cut.dtype == np.uint8 else cut
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    shape = iter(cut.transpose(order).shape)
    full = [next(shape) if a in plan.axes else 1 for a in layout[1:]]
    return cut.transpose(order).reshape(full) * plan.opacity[row]
