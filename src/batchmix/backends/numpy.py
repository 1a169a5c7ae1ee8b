"""NumPy arrays, bfloat16 of ml_dtypes included."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import _formula, _loop, _native
from batchmix.backends._contract import COMPUTE
from batchmix.backends._host import allocated as allocated
from batchmix.backends._host import dense as dense
from batchmix.backends._host import together as together
from batchmix.backends._host import traced as traced
from batchmix.backends._numpy_memory import (
    addressable,
    addresses,
    kernel_type,
    lie_dense,
    memory,
)  # fmt: skip
from batchmix.backends._numpy_memory import overlap as overlap
from batchmix.backends._numpy_memory import writable as writable

_THIS: Any = sys.modules[__name__]


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """Layer by layer into one array; only the first is a pass over all of it."""
    if plan.above and out is not None and other is x:  # rows are pasted as they were given
        other = x.copy()
    made = _paste(x, other, plan, layout, out)
    for layer in plan.above:
        _paste(made, other, layer, layout, made)
    return made


def _paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel; without it a row loop, or the formula where rows are small."""
    made = np.empty_like(x) if out is None else out
    name = kernel_type(x.dtype)
    if x.size and name and addressable(x) and addressable(other):
        own = memory(x)
        result = own if out is x else memory(made)
        partners = own if other is x else memory(other)
        if _native.paste(own, partners, result, name, plan, layout, None):
            return made
    paste_portably(x, other, plan, layout, made)
    return made


def paste_portably(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> None:
    """`paste` into `out` without the native kernel."""
    in_place = overlap(out, x) == "same"
    with np.errstate(all="ignore"):  # NaN and inf in an image are the caller's, and may be blended
        if not plan.opacity.any():
            out[...] = x
        elif x[:1].size < _loop.SMALL:
            out[...] = _formula.paste(_THIS, x, other, plan, layout, COMPUTE.get(x.dtype.name))
        else:
            if not in_place:
                out[...] = x
            _loop.paste(_THIS, other, plan, layout, out, in_place and other is x)


def mix_stack(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel reads each row where it is; without it rows are stacked first."""
    first = rows[0]
    made = np.empty((len(rows), *first.shape), first.dtype) if out is None else out
    name = kernel_type(first.dtype)
    if name and lie_dense([*rows, made]):
        at, to = addresses(rows), memory(made)
        if _native.paste(at, at, to, name, plan, layout, None):
            for layer in plan.above:
                _native.paste(to, at, to, name, layer, layout, None)
            return made
    return _formula.mix_stack(_THIS, rows, plan, layout, made)


def mix_normalize(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The native kernel in one pass; without it the same formula on the whole batch."""
    height, width, channels = rows[0].shape
    made = np.empty((len(rows), channels, height, width), _dtype(dtype)) if out is None else out
    if made.size and made.dtype.isnative and lie_dense([*rows, made]):
        scale, bias = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
        to = memory(made)
        if _native.mix_normalize(addresses(rows), to, dtype, plan, scale, bias, None):
            return made
    made[...] = _formula.mix_normalize(_THIS, rows, plan, mean, std, dtype)
    return made


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:
        raise mix_error(
            "numpy", f"it knows no dtype {name!r}.", "bfloat16 comes with ml_dtypes.",
            "Run `import ml_dtypes` first, or take float16.",
        ) from None  # fmt: skip


def blendable(x: Any) -> bool:
    """By the name of the dtype, which is slow to ask for."""
    return _blendable(x.dtype)


@cache
def _blendable(dtype: Any) -> bool:
    return dtype.name in COMPUTE


def array(value: Any, like: Any) -> Any:
    return value


def cast(x: Any, dtype: str) -> Any:
    return x.astype(dtype, copy=False)


def rounded(x: Any, like: Any) -> Any:
    """A blend of two values cannot leave their range."""
    return (np.rint(x) if is_integer(like) else x).astype(like.dtype, copy=False)


def take(x: Any, index: Any) -> Any:
    return np.take(x, index, axis=0)


def take_along(x: Any, index: Any, axis: int) -> Any:
    """`index` is broadcast over the other axes, without a copy."""
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return np.take_along_axis(x, np.broadcast_to(index, shape), axis)


def where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


def arange(n: int, like: Any) -> Any:
    return np.arange(n)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return x.reshape(shape)


def transpose(x: Any, axes: Sequence[int]) -> Any:
    return x.transpose(axes)


def stack(rows: Any) -> Any:
    return np.stack(rows)


def is_integer(x: Any) -> bool:
    return x.dtype.kind in "iub"


def on_host(x: Any) -> Any:
    return x


def to_numpy(x: Any) -> Any:
    return x if is_integer(x) else x.astype(np.float64)


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """The native kernel; without it three passes over B x C: fill, add own, add partner."""
    if addressable(ids) and addressable(other):
        target = _native.mix_labels(ids, other, partner, lam, classes, off, on)
        if target is not None:
            return target
    if not known(ids, classes) or not known(other, classes):
        return None
    target = np.full((len(ids), classes), off, np.float32)
    rows = np.arange(len(ids))
    # as indices: booleans would be taken for a mask
    target[rows, ids.astype(np.intp, copy=False)] += lam * np.float32(on)
    target[rows, other[partner].astype(np.intp, copy=False)] += (1 - lam) * np.float32(on)
    return target


def known(ids: Any, classes: int) -> bool:
    """Whether all ids are classes."""
    return not ids.size or bool(ids.min() >= 0 and ids.max() < classes)


def drawn(make: Callable[..., Plan], numbers: Sequence[Any], rows: int | None, x: Any) -> Plan:
    return make(*numbers, rows)


def log_softmax(logits: Any) -> Any:
    """Shifted by the maximum so that nothing overflows."""
    logits, _ = promoted(logits, logits)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_sigmoid(logits: Any) -> Any:
    """``-log(1 + exp(-z))`` without overflow."""
    logits, _ = promoted(logits, logits)
    return -np.logaddexp(np.zeros((), logits.dtype), -logits)


def sum(x: Any) -> Any:
    return x.sum(-1)


def mean(x: Any) -> Any:
    return x.mean()


def promoted(x: Any, y: Any) -> tuple[Any, Any]:
    """By NumPy's own rule; integers become float64."""
    wide = np.result_type(x.dtype, y.dtype)
    wide = np.dtype(np.float64) if wide.kind in "iub" else wide
    return x.astype(wide, copy=False), y.astype(wide, copy=False)
