"""The formula, once, for arrays of any framework: a fixed number of whole-batch operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from batchmix._plan import Plan


def paste(b: Any, x: Any, other: Any, plan: Plan, layout: str, compute: str | None) -> Any:
    """`plan` executed on `x`, in the dtype `compute`; without one, cells are only chosen."""
    partner = b.take(other, b.array(plan.partner, x))
    if plan.source is not None:
        partner = _stretched(b, partner, x, plan, layout)
    weight = _weight(b, x, plan, layout)
    inside = _inside(b, x, plan, layout, weight > 0)
    if compute is None:
        return b.where(inside, partner, x)
    weight = b.cast(weight, compute)
    return _blend(b, b.cast(x, compute), b.cast(partner, compute), weight, inside)


def paste_flat(b: Any, x: Any, other: Any, plan: Plan, layout: str, compute: str | None) -> Any:
    """`paste`; axes behind the box, such as C of NHWC, are counted as cells of its last axis."""
    # a compiler's innermost loop then runs over a row of an image, and not over three channels
    last = max((layout.index(axis) for axis in plan.axes), default=len(layout) - 1)
    behind = x.shape[last + 1 :]
    by_cell = plan.mask is not None or plan.source is not None
    if by_cell or not behind or not all(x.shape[1:]):  # 0, or None where a graph does not know it
        return paste(b, x, other, plan, layout, compute)
    times = [math.prod(behind) if layout[last] == axis else 1 for axis in plan.axes]
    columns = dict(vars(plan)) | {
        "size": tuple(n * count for n, count in zip(plan.size, times)),
        "box": plan.box * np.array(times, np.int32)[:, None],
    }
    shape = (-1, *x.shape[1:last], math.prod(x.shape[last:]))
    x_flat, other_flat = b.reshape(x, shape), b.reshape(other, shape)
    flat = Plan.unchecked(**columns)
    mixed = paste(b, x_flat, other_flat, flat, layout[: last + 1], compute)
    return b.reshape(mixed, (-1, *x.shape[1:]))


def blend(b: Any, x: Any, partner: Any, weight: Any) -> Any:
    """``(1 - w) x + w partner``; copies at 0 and 1, so that NaN and inf stay where they are."""
    return _blend(b, x, partner, weight, weight > 0)


def _blend(b: Any, x: Any, partner: Any, weight: Any, inside: Any) -> Any:
    """`blend` where `inside` holds, `x` elsewhere."""
    # one choice per cell and one per row: a weight that is 0 outside of the box would have both
    # tests at every cell, which a compiler cannot move out of its innermost loop
    mixed = b.where(weight == 1, partner, x * (1 - weight) + partner * weight)
    return b.where(inside, mixed, x)


def _weight(b: Any, x: Any, plan: Plan, layout: str) -> Any:
    """Opacity of the partner inside the box: of each row or, with a mask, of each cell."""
    weight = _column(b.array(plan.opacity, x), layout)
    if plan.mask is None:
        return weight
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    mask = plan.mask
    if order != sorted(order):
        mask = mask.transpose([0, *(k + 1 for k in order)])
    return weight * _spread(b.array(mask, x), "N" + plan.axes, layout)


def _inside(b: Any, x: Any, plan: Plan, layout: str, inside: Any) -> Any:
    """The cells of `inside` that lie in the box too, broadcastable to `x`."""
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        at = _spread(b.arange(n, x), letter, layout)
        inside = inside & (at >= lo) & (at < hi)
    return inside


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
