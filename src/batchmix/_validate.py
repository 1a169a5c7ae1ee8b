"""What the arrays of a plan must satisfy, and what follows from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error

if TYPE_CHECKING:
    from batchmix._plan import Plan


def refused(got: str, rule: str, fix: str) -> MixError:
    """A MixError about the arguments of Plan."""
    return mix_error("Plan", got, rule, fix)


def owned(name: str, value: Any, dtype: type) -> NDArray[Any]:
    """`value` as an array of `dtype`; a float is never rounded to an index in silence."""
    array = np.asarray(value)
    if array.dtype == dtype:  # a mask is large and only its values are used, so it is not copied
        return np.ascontiguousarray(array) if name == "mask" else array.copy()
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise refused(
            f"`{name}` has dtype {array.dtype}.",
            f"It is kept as {np.dtype(dtype).name}.",
            "Convert it yourself, so that no value is rounded by surprise.",
        )
    if np.issubdtype(dtype, np.integer) and array.size:
        info = np.iinfo(dtype)
        if array.min() < info.min or array.max() > info.max:
            raise refused(
                f"`{name}` holds values up to {array.max()}, down to {array.min()}.",
                f"It is kept as {np.dtype(dtype).name}.",
                "Check where these numbers come from.",
            )
    return array.astype(dtype, order="C")  # the kernel reads them as they lie


def check(plan: Plan) -> None:
    """Shapes, then ranges: what passes here can be indexed with, without looking again."""
    rows, axes = len(plan.partner), len(plan.size)
    regions, one_each = (rows, axes, 2), (rows,)
    shapes = {
        "partner": one_each, "box": regions, "opacity": one_each, "kind": one_each,
        "mask": (rows, *plan.size), "source": regions, "label_lam": one_each,
    }  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(plan, name)
        if value is not None and value.shape != shape:
            raise refused(
                f"`{name}` has shape {value.shape}.",
                f"For {rows} rows and size {plan.size} it is {shape}.",
                f"Give one `{name}` per row of `partner`.",
            )
    if any(n < 1 for n in plan.size):
        raise refused(f"got size={plan.size}.", "Sizes count cells, from 1.", "Check the images.")
    _check_range("partner", plan.partner, 0, rows - 1, "It names a row of the batch.")
    _check_range("opacity", plan.opacity, 0, 1, "It is a share.")
    if plan.mask is not None:
        _check_range("mask", plan.mask, 0, 1, "It is a share.")
    if plan.label_lam is not None:
        given = plan.label_lam[~np.isnan(plan.label_lam)]
        _check_range("label_lam", given, 0, 1, "It is a share.")
    for name in ("box", "source"):
        region = getattr(plan, name)
        if region is not None and region.size:
            _check_region(plan, name, region)


def _check_region(plan: Plan, name: str, region: NDArray[np.int32]) -> None:
    """Half-open ranges within the grid; what is stretched over a box is not empty."""
    lo, hi = region[..., 0], region[..., 1]
    bad = (lo < 0) | (hi < lo) | (hi > np.array(plan.size, np.int32))
    if name == "source":
        bad |= (hi == lo) & (plan.box[..., 1] > plan.box[..., 0])
    if bad.any():
        row, axis = (int(k[0]) for k in np.nonzero(bad))
        raise refused(
            f"`{name}` of row {row} is {region[row].tolist()}.",
            f"On axis {plan.axes[axis]!r} it is a half-open range within 0..{plan.size[axis]}.",
            "Clip it to the grid.",
        )


def _check_range(name: str, value: NDArray[Any], low: int, high: int, rule: str) -> None:
    """Every value in low..high; NaN is not."""
    if value.size and not (value.min() >= low and value.max() <= high):
        row = int(np.argwhere(~((value >= low) & (value <= high)))[0][0])
        raise refused(
            f"`{name}` of row {row} is {np.ravel(value[row])[:4].tolist()}.",
            f"{rule} It lies in {low}..{high}.",
            "Check how it was made.",
        )


def derived(plan: Plan) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """([B], [B]): opacity, 0 where there is nothing to paste; and what is left of each row."""
    share = np.full(len(plan), 1 / math.prod(plan.size))
    for axis in range(len(plan.size)):
        share *= plan.box[:, axis, 1] - plan.box[:, axis, 0]
    nothing = (share == 0) | (plan.partner == np.arange(len(plan), dtype=np.int32))
    blend = np.where(nothing, np.float32(0), plan.opacity)
    if plan.mask is not None:
        share = _masked_share(plan, plan.mask)
    return blend, (1 - blend * share).astype(np.float32)


def _masked_share(plan: Plan, mask: NDArray[np.float32]) -> NDArray[np.float64]:
    """[B]: mean of the mask inside the box, over all cells of the grid."""
    inside = np.ones((len(plan), *plan.size), bool)
    for axis, n in enumerate(plan.size):
        at = np.arange(n)
        on = (at >= plan.box[:, axis, :1]) & (at < plan.box[:, axis, 1:])  # [B, n]
        shape = [len(plan), *[1] * len(plan.size)]
        shape[axis + 1] = n
        inside &= on.reshape(shape)
    cells = math.prod(plan.size)
    pasted = np.where(inside, mask, np.float32(0)).reshape(len(plan), cells)
    mean: NDArray[np.float64] = pasted.sum(1, dtype=np.float64) / cells
    return mean
