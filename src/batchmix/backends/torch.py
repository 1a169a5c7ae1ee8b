"""PyTorch tensors: the native kernel on the host, the formula on devices and where traced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import _formula, _native
from batchmix.backends import numpy as host
from batchmix.backends._contract import COMPUTE
from batchmix.backends._host import WIDTHS
from batchmix.backends._torch_memory import (
    BITS,
    addressable,
    counted,
    is_dense,
    laid_out,
    memory,
    named,
    no_mode,
    view,
    written,
)  # fmt: skip
from batchmix.backends._torch_memory import allocated as allocated
from batchmix.backends._torch_memory import overlap as overlap
from batchmix.backends._torch_memory import together as together
from batchmix.backends._torch_memory import traced as traced
from batchmix.backends._torch_memory import writable as writable

_THIS: Any = sys.modules[__name__]
_NAME = {getattr(torch, name): name for name in COMPUTE}


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """On the host the native kernel, without it a row loop; else the formula."""
    others = [v for v in (other, out) if v is not x and v is not None]
    if addressable(x, *others):
        made = torch.empty_like(x) if out is None else out
        _paste_on_host(x, other, plan, layout, made)
        return named(made, x) if out is None else counted(out)
    if not torch.compiler.is_compiling() and not plan.opacity.any():
        mixed = x
    else:
        mixed = _by_formula(x, other, plan, layout)
    if out is None:
        return named(mixed.clone() if mixed is x else laid_out(mixed, x), x)
    return out if overlap(out, mixed) == "same" else written(out, mixed)


def _paste_on_host(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> None:
    name = _NAME.get(x.dtype) or WIDTHS.get(x.element_size())
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
    compute = COMPUTE.get(_NAME.get(x.dtype, ""))
    return _formula.paste(_THIS, x, other, plan, layout, compute)


def mix_stack(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel reads each row where it is; without it rows are stacked first."""
    first = rows[0]
    made = first.new_empty((len(rows), *first.shape)) if out is None else out
    if made.numel() and _lie_dense([*rows, made]):
        name = _NAME[first.dtype]
        if _native.mix_stack(
            _addresses(rows), memory(made), name, plan, layout, torch.get_num_threads()
        ):
            return made if out is None else counted(out)
    return _formula.mix_stack(_THIS, rows, plan, layout, out)


def mix_normalize(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The native kernel in one pass; elsewhere the same formula on the whole batch."""
    height, width, channels = rows[0].shape
    shape, kind = (len(rows), channels, height, width), getattr(torch, dtype)
    made = rows[0].new_empty(shape, dtype=kind) if out is None else out
    if made.numel() and _lie_dense([*rows, made]):
        scale, bias = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
        if _native.mix_normalize(
            _addresses(rows), memory(made), dtype, plan, scale, bias, torch.get_num_threads()
        ):
            return made if out is None else counted(out)
    mixed = _formula.mix_normalize(_THIS, rows, plan, mean, std, dtype)
    return mixed.contiguous() if out is None else written(out, mixed)


def _lie_dense(tensors: list[Any]) -> bool:
    return addressable(*tensors) and all(x.is_contiguous() for x in tensors)


def _addresses(rows: Any) -> Any:
    return np.array([row.data_ptr() for row in rows], np.int64)


def blendable(x: Any) -> bool:
    return x.dtype in _NAME


def dense(x: Any) -> bool:
    return x.layout is torch.strided and not x.is_quantized and not x.is_nested


def array(value: Any, like: Any) -> Any:
    """Queued to the device of `like` without waiting for it."""
    if torch.compiler.is_compiling():
        return torch.as_tensor(value).to(like.device, non_blocking=True)
    shared = no_mode() and value.flags.writeable  # a mode is to see how it is made
    made = torch.from_numpy(value) if shared else torch.tensor(value, device="cpu")
    return made.to(like.device, non_blocking=True)


def cast(x: Any, dtype: str) -> Any:
    return x.to(getattr(torch, dtype))


def rounded(x: Any, like: Any) -> Any:
    """A blend of two values cannot leave their range."""
    return (x.round() if is_integer(like) else x).to(like.dtype)


def take(x: Any, index: Any) -> Any:
    """What every verb does first with a plan; tensors that answer for themselves may refuse it."""
    if x.dtype in BITS:
        return take(x.view(BITS[x.dtype]), index).view(x.dtype)
    if not torch.compiler.is_compiling() and not no_mode():
        index = index.long()  # vmap of PyTorch 2.4 to 2.6 gathers by no other type
    try:
        return x.index_select(0, index)
    except (RuntimeError, AssertionError) as problem:
        if type(x) is torch.Tensor or type(x).__torch_dispatch__ is torch.Tensor.__torch_dispatch__:
            raise
        raise mix_error(
            "mix", f"PyTorch cannot index a {type(x).__name__} ({str(problem).splitlines()[0]}).",
            "Rows are gathered by the partners of the plan, a plain tensor.",
            "Of a DTensor mix the local part; use a FakeTensor inside of its mode.",
        ) from problem  # fmt: skip


def take_along(x: Any, index: Any, axis: int) -> Any:
    if x.dtype in BITS:
        return take_along(x.view(BITS[x.dtype]), index, axis).view(x.dtype)
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return x.gather(axis, index.long().expand(shape))


def where(condition: Any, x: Any, y: Any) -> Any:
    return torch.where(condition, x, y)


def arange(n: int, like: Any) -> Any:
    return torch.arange(n, device=like.device)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return x.reshape(shape)


def transpose(x: Any, axes: Sequence[int]) -> Any:
    return x.permute(axes)


def stack(rows: Any) -> Any:
    return torch.stack(list(rows))


def is_integer(x: Any) -> bool:
    return not (x.is_floating_point() or x.is_complex())


def on_host(x: Any) -> Any:
    """A view, unless the tensor is on a device or traced: reading it would wait for the device."""
    if torch.compiler.is_compiling():
        return None
    x = x.detach()
    return x.numpy() if addressable(x) else None


def to_numpy(x: Any) -> Any:
    """Integers as they are; None, too, where a mode may be tracing what is done."""
    x = x.detach()
    if x.is_meta or not no_mode():
        return None
    x = (x if is_integer(x) else x.double()).cpu().resolve_conj().resolve_neg()
    return x.numpy() if is_dense(x) else None


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    if addressable(*((ids,) if other is ids else (ids, other))):
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


def log_softmax(logits: Any) -> Any:
    return torch.log_softmax(promoted(logits, logits)[0], -1)


def log_sigmoid(logits: Any) -> Any:
    return torch.nn.functional.logsigmoid(promoted(logits, logits)[0])


def sum(x: Any) -> Any:
    return x.sum(-1)


def mean(x: Any) -> Any:
    return x.mean()


def promoted(x: Any, y: Any) -> tuple[Any, Any]:
    """By torch's own rule; integers become float32."""
    wide = torch.promote_types(x.dtype, y.dtype)
    wide = wide if wide.is_floating_point else torch.float32
    return x.to(wide), y.to(wide)
