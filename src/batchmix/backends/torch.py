"""PyTorch tensors: the native kernel on the host, the formula on devices and where traced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from batchmix._plan import Plan
from batchmix.backends import _formula, _native
from batchmix.backends import _torch_gpu as _gpu
from batchmix.backends import numpy as host
from batchmix.backends._contract import COMPUTE
from batchmix.backends._host import WIDTHS
from batchmix.backends._torch_arrays import arange as arange
from batchmix.backends._torch_arrays import array as array
from batchmix.backends._torch_arrays import cast as cast
from batchmix.backends._torch_arrays import is_integer as is_integer
from batchmix.backends._torch_arrays import on_host as on_host
from batchmix.backends._torch_arrays import reshape as reshape
from batchmix.backends._torch_arrays import rounded as rounded
from batchmix.backends._torch_arrays import stack as stack
from batchmix.backends._torch_arrays import take as take
from batchmix.backends._torch_arrays import take_along as take_along
from batchmix.backends._torch_arrays import to_numpy as to_numpy
from batchmix.backends._torch_arrays import transpose as transpose
from batchmix.backends._torch_arrays import where as where
from batchmix.backends._torch_gpu import BLENDED
from batchmix.backends._torch_memory import (
    addressable,
    addresses,
    counted,
    laid_out,
    lie_dense,
    memory,
    named,
    view,
    written,
)  # fmt: skip
from batchmix.backends._torch_memory import allocated as allocated
from batchmix.backends._torch_memory import overlap as overlap
from batchmix.backends._torch_memory import together as together
from batchmix.backends._torch_memory import traced as traced
from batchmix.backends._torch_memory import writable as writable
from batchmix.backends._torch_targets import log_sigmoid as log_sigmoid
from batchmix.backends._torch_targets import log_softmax as log_softmax
from batchmix.backends._torch_targets import mean as mean
from batchmix.backends._torch_targets import promoted as promoted
from batchmix.backends._torch_targets import sum as sum

_THIS: Any = sys.modules[__name__]


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """On a GPU by its kernel, all layers at once.

    Else layer by layer; on the host into one array, of which only the first passes over all.
    """
    if _gpu.takes(*_all(x, other, out)):
        made = _gpu.paste(x, other, plan, layout, out)
        if made is not None:
            return made
    if not plan.above:
        return _paste(x, other, plan, layout, out)
    if out is not None and other is x:  # rows are pasted as they were given
        other = x.clone()
    made = _paste(x, other, plan, layout, out)
    for layer in plan.above:
        made = _paste(made, other, layer, layout, made if addressable(made) else out)
    return made


def _paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """On the host the native kernel, without it a row loop; else the formula."""
    if addressable(*_all(x, other, out)):
        made = torch.empty_like(x) if out is None else out
        _paste_on_host(x, other, plan, layout, made)
        return named(made, x) if out is None else counted(out)
    known = isinstance(plan.opacity, np.ndarray) and not torch.compiler.is_compiling()
    mixed = x if known and not plan.opacity.any() else _by_formula(x, other, plan, layout)
    if out is None:
        return named(mixed.clone() if mixed is x else laid_out(mixed, x), x)
    return out if overlap(out, mixed) == "same" else written(out, mixed)


def _all(x: Any, other: Any, out: Any) -> list[Any]:
    """Each tensor of a call once."""
    return [x, *(v for v in (other, out) if v is not x and v is not None)]


def _paste_on_host(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> None:
    name = BLENDED.get(x.dtype) or WIDTHS.get(x.element_size())
    if not x.numel():
        return
    if name:
        own = memory(x)
        result = own if out is x else memory(out)
        partners = own if other is x else memory(other)
        if _native.paste(own, partners, result, name, plan, layout, torch.get_num_threads()):
            return
    if x.dtype is torch.bfloat16:  # NumPy has none
        out.copy_(_by_formula(x, other, plan, layout))
    else:
        mine, theirs, made = map(view, (x, other, out))
        host.paste_portably(mine, mine if other is x else theirs, plan, layout, made)


def _by_formula(x: Any, other: Any, plan: Plan, layout: str) -> Any:
    compute = COMPUTE.get(BLENDED.get(x.dtype, ""))
    return _formula.paste(_THIS, x, other, plan, layout, compute)


def mix_stack(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel reads each row where it is; without it rows are stacked first."""
    first = rows[0]
    if _gpu.takes_rows(rows, out):
        x = _gpu.as_batch(rows)
        return paste(x, x, plan, layout, out)
    made = first.new_empty((len(rows), *first.shape)) if out is None else out
    if made.numel() and lie_dense(rows, made):
        at, name, to = addresses(rows), BLENDED[first.dtype], memory(made)
        if _native.paste(at, at, to, name, plan, layout, torch.get_num_threads()):
            for layer in plan.above:
                _native.paste(to, at, to, name, layer, layout, torch.get_num_threads())
            return made if out is None else counted(out)
    return _formula.mix_stack(_THIS, rows, plan, layout, out)


def mix_normalize(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The native kernel in one pass; elsewhere the same formula on the whole batch."""
    height, width, channels = rows[0].shape
    shape, kind = (len(rows), channels, height, width), getattr(torch, dtype)
    if _gpu.takes_rows(rows, out):
        fused = _gpu.normalize(rows, plan, mean, std, dtype, out)
        if fused is not None:
            return fused
    made = rows[0].new_empty(shape, dtype=kind) if out is None else out
    if made.numel() and lie_dense(rows, made):
        scale, bias = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
        if _native.mix_normalize(
            addresses(rows), memory(made), dtype, plan, scale, bias, torch.get_num_threads()
        ):
            return made if out is None else counted(out)
    mixed = _formula.mix_normalize(_THIS, rows, plan, mean, std, dtype)
    return mixed.contiguous() if out is None else written(out, mixed)


def blendable(x: Any) -> bool:
    return x.dtype in BLENDED


def dense(x: Any) -> bool:
    return x.layout is torch.strided and not x.is_quantized and not x.is_nested


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    if _gpu.takes_now(*_all(ids, other, None)):
        made = _gpu.soft(ids, other, partner, lam, classes, off, on)
        if made is not None:
            return made
    if addressable(*_all(ids, other, None)):
        # one thread is enough, and torch's would go on spinning where the kernel's are to run
        y = ids.numpy()
        theirs = y if other is ids else other.numpy()
        made = host.soft(y, theirs, partner, lam, classes, off, on)
        return None if made is None else torch.from_numpy(made)
    lam = array(lam, ids)[:, None]
    partners = take(other, array(partner, ids))
    # not in place: under vmap the ids may have an axis more than the array that they are added to
    target = torch.full((len(ids), classes), off, dtype=torch.float32, device=ids.device)
    target = target.scatter_add(1, ids.long()[:, None], lam * on)
    return target.scatter_add(1, partners.long()[:, None], (1 - lam) * on)


def drawn(make: Callable[..., Plan], numbers: Sequence[Any], rows: int | None, x: Any) -> Plan:
    """Now: torch.compile, too, runs it in Python, outside of its graph."""
    if torch.compiler.is_compiling():
        make = torch.compiler.disable(make)
    return make(*numbers, rows)
