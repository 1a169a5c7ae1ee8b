"""The row loop: touches only the boxes, in place on one copy. For arrays that live on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._plan import Plan
from batchmix.backends import _formula
from batchmix.backends._contract import COMPUTE, Arrays

SMALL = 4096  # rows of fewer elements go through the formula: the Python loop would cost more


def paste(b: Arrays, other: Any, plan: Plan, layout: str, out: Any, in_place: bool) -> None:
    """`plan` executed on `out`, which holds the rows already; `in_place`: `other` is `out`."""
    opacities = plan.opacity.tolist()
    kept: dict[int, Any] = {}
    for row, partner, keep in _visits(plan) if in_place else _in_order(plan):
        if keep:
            kept[row] = out[row].copy()
        if opacities[row] > 0:
            source = kept.get(partner, other[partner])
            region, cells = _regions(plan, layout, row)
            theirs = source[region] if plan.source is None else _picked(source, cells)
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


def _in_order(plan: Plan) -> Iterator[tuple[int, int, bool]]:
    for row, partner in enumerate(plan.partner.tolist()):
        yield row, partner, False


def _visits(plan: Plan) -> Iterator[tuple[int, int, bool]]:
    """(row, partner, keep a copy of row) such that no row is read after it was written.

    A row is written once all that read it are: first the chains, from their open ends, then the
    cycles, each with a copy of the one row that it starts with.
    """
    partner = plan.partner.tolist()
    readers = [0] * len(partner)
    for j in partner:
        readers[j] += 1
    done = [False] * len(partner)
    for end in [i for i, n in enumerate(readers) if not n]:
        row = end
        while readers[row] == 0:
            yield row, partner[row], False
            done[row] = True
            row = partner[row]
            readers[row] -= 1
    for start in range(len(partner)):
        row, keep = start, True
        while not done[row]:
            yield row, partner[row], keep
            done[row], keep = True, False
            row = partner[row]


def _regions(plan: Plan, layout: str, row: int) -> tuple[tuple[slice, ...], list[Any]]:
    """Slices of the box in one row, and the partner's cells for each axis, if it is stretched."""
    region = [slice(None)] * (len(layout) - 1)
    part: list[Any] = [None] * (len(layout) - 1)
    for axis, letter in enumerate(plan.axes):
        at = layout.index(letter) - 1
        lo, hi = plan.box[row, axis].tolist()
        region[at] = slice(lo, hi)
        if plan.source is not None:
            start, stop = plan.source[row, axis].tolist()
            width = 2 * max(hi - lo, 1)
            part[at] = [start + (2 * k + 1) * (stop - start) // width for k in range(hi - lo)]
    return tuple(region), part


def _picked(row: Any, cells: list[Any]) -> Any:
    """The given cells of a row on each axis that has some."""
    for axis, index in enumerate(cells):
        row = row if index is None else np.take(row, np.asarray(index, np.intp), axis)
    return row


def _masked(plan: Plan, mask: NDArray[Any], layout: str, row: int) -> Any:
    """The row's opacity through the mask, as an array that fits the box."""
    cut = mask[row][tuple(slice(lo, hi) for lo, hi in plan.box[row].tolist())]
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    shape = iter(cut.transpose(order).shape)
    full = [next(shape) if a in plan.axes else 1 for a in layout[1:]]
    return cut.transpose(order).reshape(full) * plan.opacity[row]
