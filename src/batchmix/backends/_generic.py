"""The formula, once, for arrays of any framework: a fixed number of whole-batch operations."""

from __future__ import annotations

from typing import Any

from batchmix._plan import Plan


def paste(b: Any, x: Any, other: Any, plan: Plan, layout: str, compute: str | None) -> Any:
    """`plan` executed on `x`, in the dtype `compute`; without one, cells are only chosen."""
    partner = b.take(other, b.array(plan.partner, x))
    if plan.source is not None:
        partner = _stretched(b, partner, x, plan, layout)
    weight = _weight(b, x, plan, layout)
    if compute is None:
        return b.where(weight > 0, partner, x)
    weight = b.cast(weight, compute)
    return blend(b, b.cast(x, compute), b.cast(partner, compute), weight)


def blend(b: Any, x: Any, partner: Any, weight: Any) -> Any:
    """``(1 - w) x + w partner``; copies at 0 and 1, so that NaN and inf stay where they are."""
    mixed = x * (1 - weight) + partner * weight
    return b.where(weight == 0, x, b.where(weight == 1, partner, mixed))


def _weight(b: Any, x: Any, plan: Plan, layout: str) -> Any:
    """Opacity of the partner at every cell, broadcastable to `x`."""
    weight = _column(b.array(plan.blend, x), layout)
    if plan.mask is not None:
        order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
        mask = plan.mask
        if order != sorted(order):
            mask = mask.transpose([0, *(k + 1 for k in order)])
        weight = weight * _spread(b.array(mask, x), "N" + plan.axes, layout)
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        at = _spread(b.arange(n, x), letter, layout)
        weight = b.where((at >= lo) & (at < hi), weight, 0 * weight)
    return weight


def _stretched(b: Any, partner: Any, x: Any, plan: Plan, layout: str) -> Any:
    """Each row with its source region stretched over its box, axis by axis, nearest cell."""
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        start, stop = _ends(b, plan.source, axis, x, layout)
        at = _spread(b.arange(n, x), letter, layout)
        width = b.where(hi > lo, hi - lo, 1 + 0 * hi)
        cell = start + ((2 * (at - lo) + 1) * (stop - start)) // (2 * width)
        cell = b.where((at >= lo) & (at < hi), cell, 0 * cell)
        partner = b.take_along(partner, cell, layout.index(letter))
    return partner


def _ends(b: Any, box: Any, axis: int, x: Any, layout: str) -> tuple[Any, Any]:
    """First and last-but-one cell of each row on one axis, broadcastable to `x`."""
    ends = b.array(box[:, axis], x)
    return _column(ends[:, 0], layout), _column(ends[:, 1], layout)


def _column(v: Any, layout: str) -> Any:
    """[B] as [B, 1, ..., 1]."""
    return _spread(v, "N", layout)


def _spread(v: Any, axes: str, layout: str) -> Any:
    """`v`, whose axes come in the order of the layout, with axes of 1 for the rest of it."""
    # by indexing: a reshape would need the number of rows, which a graph may not know
    return v[tuple(slice(None) if a in axes else None for a in layout)]
