"""The formula, once, for arrays of any framework: a fixed number of whole-batch operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from batchmix._columns import nearest
from batchmix._plan import Plan
from batchmix.backends._contract import Arrays, Backend

FIT = 1 << 31  # products from here on do not fit in the int32 that frameworks count in


def paste(b: Arrays, x: Any, other: Any, plan: Plan, layout: str, compute: str | None) -> Any:
    """`plan` executed on `x`, in the dtype `compute`; without one, cells are only chosen."""
    partner = b.take(other, b.array(plan.partner, x))
    if plan.source is not None:
        linear = compute if plan.resample == "bilinear" else None
        stretched = partner if linear is None else b.cast(partner, linear)
        partner = _stretched(b, stretched, x, plan, layout, linear)
        partner = partner if linear is None else b.rounded(partner, x)
    opacity = opacity_of(b, x, plan, layout)
    inside = inside_of(b, x, plan, layout, opacity > 0)
    if compute is None:
        return b.where(inside, partner, x)
    opacity = b.cast(opacity, compute)
    mixed = _blend(b, b.cast(x, compute), b.cast(partner, compute), opacity, inside)
    return b.rounded(mixed, x)


def paste_flat(b: Arrays, x: Any, other: Any, plan: Plan, layout: str, compute: str | None) -> Any:
    """`paste`; axes after the box, such as C of NHWC, are counted as cells of its last axis."""
    # a compiler's innermost loop then runs over a row of an image, and not over three channels
    last = max((layout.index(axis) for axis in plan.axes), default=len(layout) - 1)
    after = x.shape[last + 1 :]
    by_cell = plan.mask is not None or plan.source is not None
    known = all(x.shape[1:])  # not 0, nor None, as a graph may have it
    if by_cell or not after or not known or math.prod(x.shape[last:]) > 2**31 - 1:
        return paste(b, x, other, plan, layout, compute)
    times = [math.prod(after) if layout[last] == axis else 1 for axis in plan.axes]
    columns: dict[str, Any] = {
        "axes": plan.axes, "size": tuple(n * count for n, count in zip(plan.size, times)),
        "box": plan.box * np.array(times, np.int32)[:, None],
        "partner": plan.partner, "opacity": plan.opacity,
    }  # fmt: skip
    shape = (-1, *x.shape[1:last], math.prod(x.shape[last:]))
    x_flat, other_flat = b.reshape(x, shape), b.reshape(other, shape)
    flat = Plan.unchecked(**columns)
    mixed = paste(b, x_flat, other_flat, flat, layout[: last + 1], compute)
    return b.reshape(mixed, (-1, *x.shape[1:]))


def blend(b: Arrays, x: Any, partner: Any, opacity: Any) -> Any:
    """``(1 - a) x + a partner``; copies at 0 and 1, so that NaN and inf stay where they are."""
    return _blend(b, x, partner, opacity, opacity > 0)


def mix_stack(b: Backend, rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """Stacked, then pasted."""
    x = b.stack(rows)
    return b.paste(x, x, plan, layout, out)


def mix_normalize(b: Backend, rows: Any, plan: Plan, mean: Any, std: Any, dtype: str) -> Any:
    """What the native kernel does in one pass, on the whole batch."""
    x = b.cast(b.stack(rows), "float32")
    x = (b.paste(x, x, plan, "NHWC", None) - b.array(mean, x)) / b.array(std, x)
    return b.cast(b.transpose(x, (0, 3, 1, 2)), dtype)


def _blend(b: Arrays, x: Any, partner: Any, opacity: Any, inside: Any) -> Any:
    # testing `inside` per cell and `opacity == 1` per row lets a compiler hoist the second out of
    # its innermost loop
    mixed = b.where(opacity == 1, partner, x * (1 - opacity) + partner * opacity)
    return b.where(inside, mixed, x)


def opacity_of(b: Arrays, x: Any, plan: Plan, layout: str) -> Any:
    """Opacity of the partner inside the box: of each row or, with a mask, of each cell."""
    opacity = _column(b.array(plan.opacity, x), layout)
    if plan.mask is None:
        return opacity
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    mask = b.array(plan.mask, x)
    if order != sorted(order):
        mask = b.transpose(mask, [0, *(k + 1 for k in order)])
    mask = _spread(mask, "N" + plan.axes, layout)
    for letter, n in zip(plan.axes, plan.size):
        axis = layout.index(letter)
        if mask.shape[axis] not in (n, None):  # what a graph does not know is the whole grid
            cell = b.array(nearest(mask.shape[axis], n).astype(np.int32), x)
            # of each row, though all are alike: TensorFlow has no other way
            every = 0 * _column(b.array(plan.partner, x), layout)
            mask = b.take_along(mask, _spread(cell, letter, layout) + every, axis)
    return opacity * (b.cast(mask, "float32") / 255 if b.is_integer(mask) else mask)


def inside_of(b: Arrays, x: Any, plan: Plan, layout: str, inside: Any) -> Any:
    """The cells of `inside` that lie in the box too, broadcastable to `x`."""
    for axis, (letter, n) in enumerate(zip(plan.axes, plan.size)):
        lo, hi = _ends(b, plan.box, axis, x, layout)
        at = _spread(b.arange(n, x), letter, layout)
        inside = inside & (at >= lo) & (at < hi)
    return inside


def _stretched(
    b: Arrays, partner: Any, x: Any, plan: Plan, layout: str, compute: str | None
) -> Any:
    """Each row with its source region stretched over its box, axis by axis.

    Blended in the dtype `compute`; without one by the nearest cell.
    """
    for axis, letter in enumerate(plan.axes):
        cell, after, weight = taps(b, x, plan, layout, axis, compute)
        along = layout.index(letter)
        own = b.take_along(partner, cell, along)
        partner = (
            own if after is None else blend(b, own, b.take_along(partner, after, along), weight)
        )
    return partner


def taps(b: Arrays, x: Any, plan: Plan, layout: str, axis: int, compute: str | None) -> Any:
    """Of each cell of an axis that of the source that it shows, the one after it, and its weight.

    Without a dtype `compute` for weights the nearest cell, None and None.
    """
    letter, n, parts = plan.axes[axis], plan.size[axis], parts_of(len(plan.axes))
    lo, hi = _ends(b, plan.box, axis, x, layout)
    start, stop = _ends(b, plan.source, axis, x, layout)
    at = _spread(b.arange(n, x), letter, layout)
    inside = (at >= lo) & (at < hi)
    width = b.where(hi > lo, hi - lo, 1 + 0 * hi)
    middle = 2 * b.where(inside, at - lo, 0 * (at - lo)) + 1
    cell, rest = _divided(middle, stop - start, 2 * width, n, n)
    if compute is None:
        return b.where(inside, start + cell, 0 * cell), None, None
    early, last = rest < width, stop - start - 1
    cell = b.where(early, cell - 1, cell)
    rest = b.where(early, rest + width, rest - width)
    rest = b.where((cell >= 0) & (cell < last), rest, 0 * rest)
    cell = b.where(cell < 0, 0 * cell, b.where(cell < last, cell, last + 0 * cell))
    share, rest = _divided(rest, parts, 2 * width, n, parts)
    share = b.where(rest < width, share, share + 1)
    cell = b.where(inside, start + cell, 0 * cell)
    after = b.where(inside & (share > 0), cell + 1, cell)
    return cell, after, b.cast(share, compute) / parts


def parts_of(axes: int) -> int:
    """Weights of neighbours are multiples of 1 / this: 8 bits are then exact in float32."""
    return 1 << 16 // max(axes, 1)


def _divided(m: Any, by: Any, over: Any, n: int, most: int) -> tuple[Any, Any]:
    """``divmod(m * by, over)`` for positions of up to `n` cells: m < over <= 2 n, by <= most."""
    if (2 * n - 1) * most < FIT:
        return m * by // over, m * by % over
    # long division, bit by bit of `by`: frameworks count in int32, which the product would not fit
    found = rest = 0 * m
    for bit in reversed(range(most.bit_length())):
        rest = 2 * rest + by // 2**bit % 2 * m
        found = 2 * found + rest // over
        rest = rest % over
    return found, rest


def _ends(b: Arrays, box: Any, axis: int, x: Any, layout: str) -> tuple[Any, Any]:
    """Start and (exclusive) end of each row's box on one axis, broadcastable to `x`."""
    ends = b.array(box[:, axis], x)
    return _column(ends[:, 0], layout), _column(ends[:, 1], layout)


def _column(v: Any, layout: str) -> Any:
    return _spread(v, "N", layout)


def _spread(v: Any, axes: str, layout: str) -> Any:
    """`v`, whose axes come in the order of the layout, with axes of 1 for the rest of it."""
    # by indexing: a reshape would need the number of rows, which a graph may not know
    return v[tuple(slice(None) if a in axes else None for a in layout)]
