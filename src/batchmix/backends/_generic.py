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
        mask = b.array(plan.mask.transpose([0, *(k + 1 for k in order)]), x)
        letters = {"N": len(plan), **dict(zip(plan.axes, plan.size))}
        weight = weight * mask.reshape([letters.get(a, 1) for a in layout])
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        at = b.arange(n, x).reshape([n if a == letter else 1 for a in layout])
        weight = b.where((at >= lo) & (at < hi), weight, 0 * weight)
    return weight


def _stretched(b: Any, partner: Any, x: Any, plan: Plan, layout: str) -> Any:
    """Each row with its source region stretched over its box, axis by axis, nearest cell."""
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        start, stop = _ends(b, plan.source, axis, x, layout)
        at = b.arange(n, x).reshape([n if a == letter else 1 for a in layout])
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
    return v.reshape([-1 if a == "N" else 1 for a in layout])
