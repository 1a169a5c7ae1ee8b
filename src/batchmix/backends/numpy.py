"""NumPy arrays, bfloat16 of ml_dtypes included."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from batchmix._plan import Plan
from batchmix.backends import _generic, _native, _rows

_THIS = sys.modules[__name__]
# dtype -> the one that it is mixed in; what is not here can be chosen from, but not averaged
_COMPUTE = {
    "float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32",
    "uint8": "float32", "int8": "float32", "int16": "float32", "uint16": "float32",
}  # fmt: skip


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel; without it a row loop, or the generic formula where rows are small."""
    if not plan.opacity.any():
        return _copied(x, out)
    made = np.empty_like(x) if out is None else out
    if x.dtype.name in _COMPUTE and x.dtype.isnative:
        own, result = _memory(x), _memory(made)
        partners = own if other is x else _memory(other)
        if _native.paste(own, partners, result, x.dtype.name, plan, layout, None):
            return made
    with np.errstate(all="ignore"):  # NaN and inf in an image are the caller's, and may be blended
        if x[:1].size < _rows.SMALL:
            mixed = _generic.paste(_THIS, x, other, plan, layout, _COMPUTE.get(x.dtype.name))
            out = np.empty_like(x) if out is None else out
            out[...] = _rounded(mixed, x)
            return out
        in_place = out is not None and overlap(out, x) == "same"
        out = _copied(x, out)
        _rows.paste(_THIS, other, plan, layout, out, in_place and other is x)
    return out


def _memory(x: Any) -> _native.Memory:
    """Where an array lies."""
    return _native.Memory(x.__array_interface__["data"][0], x.shape, x.strides)


def _copied(x: Any, out: Any) -> Any:
    """The rows of `x`, in new memory or in `out`."""
    if out is None:
        return x.copy(order="K")
    if overlap(out, x) != "same":
        out[...] = x
    return out


def mix_rows(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel reads each row where it is; without it rows are stacked first."""
    first = rows[0]
    made = np.empty((len(rows), *first.shape), first.dtype) if out is None else out
    name = first.dtype.name
    dense = all(r.flags.c_contiguous for r in rows)
    if dense and first.dtype.isnative:
        addresses, memory = _addresses(rows), _memory(made)
        if _native.mix_stack(addresses, memory, name, plan, layout, None):
            return made
    stacked = np.stack(rows)
    return paste(stacked, stacked, plan, layout, made)


def widen(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The native kernel in one pass; without it the same formula on the whole batch."""
    height, width, channels = rows[0].shape
    made = np.empty((len(rows), channels, height, width), dtype) if out is None else out
    if made.flags.c_contiguous and all(r.flags.c_contiguous for r in rows):
        scale, bias = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
        memory, name = _memory(made), made.dtype.name
        if _native.mix_normalize(_addresses(rows), memory, name, plan, scale, bias, None):
            return made
    x = np.stack(rows).astype(np.float32)
    made[...] = ((paste(x, x, plan, "NHWC", x) - mean) / std).transpose(0, 3, 1, 2)
    return made


def _addresses(rows: Any) -> Any:
    """Where each row lies."""
    return np.array([row.__array_interface__["data"][0] for row in rows], np.int64)


def blend_into(row: Any, region: tuple[slice, ...], partner: Any, weight: Any) -> None:
    """Blend `partner` into a region of `row`; a plain weight of 1 copies."""
    own = row[region]
    compute = _COMPUTE.get(row.dtype.name)
    if compute is None or (isinstance(weight, float) and weight == 1):
        own[...] = partner if isinstance(weight, float) else np.where(weight > 0, partner, own)
        return
    dtype = np.dtype(compute)
    mine, theirs = own.astype(dtype, copy=False), partner.astype(dtype, copy=False)
    if isinstance(weight, float):
        mixed = mine * dtype.type(1 - weight)
        mixed += theirs * dtype.type(weight)
    else:
        mixed = _generic.blend(_THIS, mine, theirs, weight.astype(dtype))
    own[...] = _rounded(mixed, row)


def _rounded(mixed: Any, like: Any) -> Any:
    """Integers are rounded half to even; a blend of two values cannot leave their range."""
    return np.rint(mixed) if is_integer(like) and mixed.dtype.kind == "f" else mixed


def overlap(out: Any, x: Any) -> str:
    """How the memory of `out` meets that of `x`, by the bounds of both."""
    if out.__array_interface__ == x.__array_interface__:
        return "same"
    return "partial" if np.may_share_memory(out, x) else "none"


def writable(out: Any) -> bool:
    """Whether `out` may be written to, and each element has memory of its own."""
    repeats = out.size and any(n > 1 and step == 0 for n, step in zip(out.shape, out.strides))
    return bool(out.flags.writeable) and not repeats


def blendable(x: Any) -> bool:
    """Whether the dtype can be averaged."""
    return x.dtype.name in _COMPUTE


def is_integer(y: Any) -> bool:
    """Integers and booleans."""
    return y.dtype.kind in "iub"


def on_host(y: Any) -> Any:
    """NumPy arrays are."""
    return y


def to_numpy(x: Any) -> Any:
    """float64, or integers as they are."""
    return x if is_integer(x) else x.astype(np.float64)


def array(value: Any, like: Any) -> Any:
    """As it is."""
    return value


def arange(n: int, like: Any) -> Any:
    """0 .. n-1."""
    return np.arange(n)


def cast(x: Any, dtype: str) -> Any:
    """Without a copy where the dtype is right already."""
    return x.astype(dtype, copy=False)


def copy(x: Any) -> Any:
    """New memory."""
    return x.copy()


def take(x: Any, index: Any) -> Any:
    """Rows of x."""
    return np.take(x, index, axis=0)


def take_along(x: Any, index: Any, axis: int) -> Any:
    """x at index[row, ..., cell, ...] on one axis; `index` broadcasts over the others."""
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return np.take_along_axis(x, np.broadcast_to(index, shape), axis)


def pick(row: Any, cells: list[Any]) -> Any:
    """The given cells of a row on each axis that has some."""
    for axis, index in enumerate(cells):
        row = row if index is None else np.take(row, np.asarray(index, np.intp), axis)
    return row


where = np.where


def soft(ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """Three passes over B x C: fill, add own, add partner."""
    target = np.full((len(ids), classes), off, np.float32)
    rows = np.arange(len(ids))
    # as indices: booleans would be taken for a mask
    target[rows, ids.astype(np.intp, copy=False)] += lam * np.float32(on)
    target[rows, partners.astype(np.intp, copy=False)] += (1 - lam) * np.float32(on)
    return target


def log_softmax(logits: Any) -> Any:
    """Over the last axis, shifted by the maximum so that nothing overflows."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_sigmoid(logits: Any) -> Any:
    """``-log(1 + exp(-z))`` without overflow."""
    return -np.logaddexp(np.zeros((), logits.dtype), -logits)


def calibration_error(probabilities: Any, y: Any, bins: int) -> float:
    """As torchmetrics: bins [k / n, (k + 1) / n), edges in float32, 1.0 in one of its own."""
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == y
    at = np.searchsorted(edges, confidence, side="right") - 1
    gaps = np.bincount(at, confidence, bins + 1) - np.bincount(at, hit, bins + 1)
    return float(np.abs(gaps).sum() / len(y))
