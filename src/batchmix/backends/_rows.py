"""The row loop: touches only the boxes, in place on one copy. For arrays that live on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchmix._plan import Plan

SMALL = 4096  # elements per row, below which the loop's own cost exceeds that of whole-batch passes


def paste(b: Any, other: Any, plan: Plan, layout: str, out: Any, in_place: bool) -> None:
    """`plan` executed on `out`, which holds the rows already; `in_place`: `other` is `out`."""
    mixed = plan.opacity.tolist()
    kept: dict[int, Any] = {}
    for row, partner, keep in _visits(plan) if in_place else _plain(plan):
        if keep:
            kept[row] = b.copy(out[row])
        if mixed[row] > 0:
            source = kept.get(partner, other[partner])
            region, part = _regions(b, plan, layout, row)
            theirs = b.pick(source, part) if plan.source is not None else source[region]
            b.blend_into(out[row], region, theirs, _weight(plan, layout, row, mixed[row]))


def _plain(plan: Plan) -> Iterator[tuple[int, int, bool]]:
    """Every row once, in order."""
    for row, partner in enumerate(plan.partner.tolist()):
        yield row, partner, False


def _visits(plan: Plan) -> Iterator[tuple[int, int, bool]]:
    """(row, partner, keep a copy of row) such that no row is read after it was written.

    A row is written once all that read it are: first the chains, from their open ends, then the
    circles, each with a copy of the one row that it starts with.
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


def _regions(b: Any, plan: Plan, layout: str, row: int) -> tuple[tuple[slice, ...], list[Any]]:
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


def _weight(plan: Plan, layout: str, row: int, opacity: float) -> Any:
    """The row's opacity: a number, or with a mask an array that fits the box."""
    if plan.mask is None:
        return opacity
    cut = plan.mask[row][tuple(slice(lo, hi) for lo, hi in plan.box[row].tolist())]
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    shape = iter(cut.transpose(order).shape)
    full = [next(shape) if a in plan.axes else 1 for a in layout[1:]]
    return cut.transpose(order).reshape(full) * plan.opacity[row]
