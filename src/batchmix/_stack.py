"""For loaders: rows that lie apart become a mixed batch, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_place, dtype_of, elsewhere
from batchmix._errors import mix_error
from batchmix._mix import check_layout, not_writable
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of


def mix_stack(rows: Any, plan: Plan, layout: str = "NHWC", *, out: Any = None) -> Any:
    """Stack rows and execute a plan on them, without making the unmixed batch.

    The same result as ``mix(stack(rows), plan, layout)``. In a collate function it replaces the
    stacking, so that mixing 8-bit images costs next to nothing.

    Args:
      rows: sequence of B arrays of one shape and dtype, such as uint8 [H, W, C], or one array
        [B, ...]. They are not written to.
      plan: as drawn for this B and size.
      layout: of the batch, as for `mix`.
      out: array [B, ...] to write to, apart from all rows.

    Returns:
      The mixed batch [B, ...], or `out`.

    Raises:
      MixError: rows that differ, and all that `mix` refuses.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 1], [0, 2]]] * 2, [1, 1], "HW", (2, 2))
      >>> rows = [np.full((2, 2, 1), 3, np.uint8), np.full((2, 2, 1), 9, np.uint8)]
      >>> mix_stack(rows, plan)[0, :, :, 0].tolist()
      [[9, 9], [3, 3]]

    Differs from: timm's FastCollateMixup does this for uint8 in a Python loop, and in two of its
    modes writes to the arrays of the data set.
    """
    b, rows = _checked("mix_stack()", rows, plan)
    shape = (len(rows), *tuple(rows[0].shape))
    check_layout("mix_stack()", shape, plan, layout)
    if not b.blendable(rows[0]):
        raise mix_error(
            "mix_stack()", f"rows have dtype {rows[0].dtype}.",
            "Floats and integers of 8 or 16 bits can be averaged.",
            "Stack ids, and use fields.Ids(layout)(x, plan).",
        )  # fmt: skip
    _check_out("mix_stack()", b, shape, dtype_of(rows[0]), rows, out)
    return b.mix_stack(rows, plan, layout, out)


def mix_normalize(
    rows: Any,
    plan: Plan,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    out: Any = None,
) -> Any:
    r"""8-bit rows [H, W, C] to a mixed, normalised float batch [B, C, H, W], in one pass.

    .. math:: x'_i = ((1 - a_i) x_i + a_i x_{p(i)} - mean) / std

    Where to call it: ship uint8 rows and the plan out of the loader's workers, and widen here,
    once, in the process that trains; a float batch is four times as much to hand over.

    Args:
      rows: sequence of B uint8 arrays [H, W, C], or one array [B, H, W, C].
      plan: as drawn for size {"H": H, "W": W}.
      mean: C numbers, in units of 0..255.
      std: C numbers > 0, in units of 0..255.
      dtype: of the result; NumPy has bfloat16 where ml_dtypes is imported.
      out: array [B, C, H, W] of that dtype to write to; reuse it, fresh memory is slow.

    Returns:
      The batch, or `out`. Blended values are not rounded to 8 bits in between.

    Raises:
      MixError: rows that are not uint8 of one shape, or numbers that do not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 2], [0, 2]]] * 2, [0.5, 0], "HW", (2, 2))
      >>> rows = [np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 20, np.uint8)]
      >>> mix_normalize(rows, plan, mean=[10] * 3, std=[5] * 3)[:, 0, 0, 0].tolist()
      [1.0, 2.0]
    """
    b, rows = _checked("mix_normalize()", rows, plan)
    first, where = rows[0], "mix_normalize()"
    if len(first.shape) != 3 or dtype_of(first) != "uint8":
        raise mix_error(
            where, f"rows have shape {tuple(first.shape)} and dtype {first.dtype}.",
            "They are uint8 [H, W, C].", "Use mix_stack or mix for other rows.",
        )  # fmt: skip
    check_layout(where, (len(rows), *tuple(first.shape)), plan, "NHWC")
    height, width, channels = first.shape
    means, stds = _numbers(mean), _numbers(std)
    if means.shape != (channels,) or stds.shape != (channels,) or not (stds > 0).all():
        raise mix_error(
            where, f"got mean={mean!r} and std={std!r} for {channels} channels.",
            "Each channel has its own two numbers, std > 0.", "They count in 0..255, not 0..1.",
        )  # fmt: skip
    if plan.axes != "HW" or dtype not in ("float32", "float16", "bfloat16"):
        raise mix_error(
            where, f"the plan has axes {plan.axes!r}, dtype is {dtype!r}.",
            "Boxes lie on H and W; the result is float32, float16 or bfloat16.",
            "Draw with size={'H': ..., 'W': ...}.",
        )  # fmt: skip
    _check_out(where, b, (len(rows), channels, height, width), dtype, rows, out)
    return b.mix_normalize(rows, plan, means, stds, dtype, out)


def _numbers(value: Any) -> NDArray[np.float32]:
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError):
        return np.empty(0, np.float32)


def _checked(where: str, rows: Any, plan: Plan) -> tuple[Backend, Any]:
    """The backend of rows that are all alike, and these: a list, or the array that they are."""
    alike = hasattr(rows, "dtype")
    try:
        if alike:
            backend_of(rows, where)
        rows = rows if alike and len(rows) else list(rows)
    except (TypeError, RuntimeError):
        raise mix_error(
            where, f"`rows` is a {type(rows).__name__}.", "It is a sequence of arrays.",
            "Pass a list of rows, or one array [B, ...].",
        ) from None  # fmt: skip
    if not isinstance(plan, Plan) or len(rows) == 0 or len(rows) != len(plan):
        count = len(plan) if isinstance(plan, Plan) else f"a {type(plan).__name__}, no plan"
        raise mix_error(
            where, f"got {len(rows)} rows; the plan was drawn for {count}.",
            "There is one row at least, and each has one entry in the plan.",
            "Draw with batch=len(rows).",
        )  # fmt: skip
    first = rows[0]
    backend = backend_of(first, where)
    check_place(backend, where, "rows[0]", first, plan)
    for i, row in enumerate([] if alike else rows):
        if (
            backend_of(row, where) is not backend
            or row.shape != first.shape
            or row.dtype != first.dtype
        ):
            raise mix_error(
                where, f"row {i} has shape {tuple(row.shape)} and dtype {row.dtype}, row 0 "
                f"{tuple(first.shape)} and {first.dtype}.",
                "The rows of a batch are alike.", "Resize or convert them before.",
            )  # fmt: skip
        if not backend.together(first, row):
            raise elsewhere(where, f"rows[{i}]", row, "rows[0]", first)
    return backend, rows


def _check_out(
    where: str, b: Backend, shape: tuple[int, ...], dtype: str, rows: Any, out: Any
) -> None:
    """`out` fits, can be written to, and shares nothing with the rows."""
    if out is None:
        return
    # a name does not tell the byte order
    alike = backend_of(out, where) is b and tuple(out.shape) == shape and dtype_of(out) == dtype
    if not alike or not getattr(out.dtype, "isnative", True):
        raise mix_error(
            where, f"`out` is a {type(out).__name__} of shape {tuple(out.shape)} and dtype "
            f"{out.dtype}.",
            f"The result has shape {shape} and dtype {dtype}.", "Leave `out` out, and it fits.",
        )  # fmt: skip
    if not b.together(rows[0], out):
        raise elsewhere(where, "out", out, "rows[0]", rows[0])
    if not b.writable(out):
        raise not_writable(where, out, "Pass memory of its own.")
    if any(b.overlap(out, row) != "none" for row in ([rows] if hasattr(rows, "dtype") else rows)):
        raise mix_error(
            where, "`out` shares memory with a row.",
            "It is written to while rows are read.", "Pass memory of its own.",
        )  # fmt: skip
