"""PyTorch tensors: the native kernel on the host, the formula on devices and where traced."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from batchmix._plan import Plan
from batchmix.backends import _generic, _native, _rows
from batchmix.backends import numpy as host

_THIS = sys.modules[__name__]
# dtype -> the one that it is mixed in; what is not here can be chosen from, but not averaged
_COMPUTE = {
    torch.float64: "float64", torch.float32: "float32", torch.float16: "float32",
    torch.bfloat16: "float32", torch.uint8: "float32", torch.int8: "float32",
    torch.int16: "float32", torch.uint16: "float32",
}  # fmt: skip


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """On the host the native kernel, without it a row loop; else the generic formula."""
    traced = torch.compiler.is_compiling()
    if not traced and not plan.opacity.any():
        return _copied(x, out)
    loop = not traced and _plain(x) and _plain(other)
    if loop and x.dtype in _COMPUTE:
        made = torch.empty_like(x) if out is None else out
        own, result = _memory(x), _memory(made)
        partners = own if other is x else _memory(other)
        name = str(x.dtype).removeprefix("torch.")
        threads = torch.get_num_threads()
        if _native.paste(own, partners, result, name, plan, layout, threads):
            return made
    if not loop or x[:1].numel() < _rows.SMALL:
        mixed = _generic.paste(_THIS, x, other, plan, layout, _COMPUTE.get(x.dtype))
        mixed = _rounded(mixed, x).to(x.dtype)
        if out is not None:
            return out.copy_(mixed)
        # gathering rows loses channels_last
        return mixed if mixed.stride() == x.stride() else torch.empty_like(x).copy_(mixed)
    in_place = out is not None and overlap(out, x) == "same"
    out = _copied(x, out)
    _rows.paste(_THIS, other, plan, layout, out, in_place and other is x)
    return out


def _plain(x: Any) -> bool:
    """Numbers on the host that no gradient, vmap or fake tensor stands before."""
    if x.requires_grad or x.device.type != "cpu" or isinstance(x, FakeTensor):
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)


def _memory(x: Any) -> _native.Memory:
    """Where a tensor lies."""
    item = x.element_size()
    return _native.Memory(x.data_ptr(), tuple(x.shape), tuple(n * item for n in x.stride()))


def _copied(x: Any, out: Any) -> Any:
    """The rows of `x`, in new memory or in `out`."""
    if out is None:
        return x.clone()
    return out if overlap(out, x) == "same" else out.copy_(x)


def mix_rows(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The native kernel reads each row where it is; without it rows are stacked first."""
    first = rows[0]
    made = first.new_empty((len(rows), *first.shape)) if out is None else out
    if first.dtype in _COMPUTE and all(_plain(r) and r.is_contiguous() for r in [*rows, made]):
        name, threads = str(first.dtype).removeprefix("torch."), torch.get_num_threads()
        if _native.mix_stack(_addresses(rows), _memory(made), name, plan, layout, threads):
            return made
    stacked = torch.stack(list(rows))
    return paste(stacked, stacked, plan, layout, made)


def widen(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The native kernel in one pass; elsewhere the same formula on the whole batch."""
    height, width, channels = rows[0].shape
    shape, kind = (len(rows), channels, height, width), getattr(torch, dtype)
    made = rows[0].new_empty(shape, dtype=kind) if out is None else out
    if all(_plain(r) and r.is_contiguous() for r in [*rows, made]):
        scale, bias = (1 / std).astype(np.float32), (-mean / std).astype(np.float32)
        threads = torch.get_num_threads()
        addresses, memory = _addresses(rows), _memory(made)
        if _native.mix_normalize(addresses, memory, dtype, plan, scale, bias, threads):
            return made
    x = torch.stack(list(rows)).float()
    x = paste(x, x, plan, "NHWC", x)
    return made.copy_(((x - array(mean, x)) / array(std, x)).permute(0, 3, 1, 2))


def _addresses(rows: Any) -> Any:
    """Where each row lies."""
    return np.array([row.data_ptr() for row in rows], np.int64)


def blend_into(row: Any, region: tuple[slice, ...], partner: Any, weight: Any) -> None:
    """Blend `partner` into a region of `row`; a plain weight of 1 copies."""
    own = row[region]
    compute = _COMPUTE.get(row.dtype)
    if isinstance(weight, float):
        if weight == 1 or compute is None:
            own.copy_(partner)
        else:
            mine, theirs = cast(own, compute), cast(partner, compute)
            own.copy_(_rounded((mine * (1 - weight)).add_(theirs * weight), row))
        return
    weight = torch.from_numpy(weight)
    if compute is None:
        own.copy_(torch.where(weight > 0, partner, own))
    else:
        mine, theirs = cast(own, compute), cast(partner, compute)
        own.copy_(_rounded(_generic.blend(_THIS, mine, theirs, cast(weight, compute)), row))


def _rounded(mixed: Any, like: Any) -> Any:
    """Integers are rounded half to even; a blend of two values cannot leave their range."""
    return mixed.round() if is_integer(like) and mixed.is_floating_point() else mixed


def overlap(out: Any, x: Any) -> str:
    """How the memory of `out` meets that of `x`, by the bounds of both."""
    if torch.compiler.is_compiling():  # memory has no address yet
        return "same" if out is x else "none"
    if (out.data_ptr(), out.stride(), out.shape) == (x.data_ptr(), x.stride(), x.shape):
        return "same"
    (low, high), (start, stop) = _bounds(out), _bounds(x)
    return "partial" if out.device == x.device and low < stop and start < high else "none"


def _bounds(x: Any) -> tuple[int, int]:
    """Address of the first byte, and of the one after the last."""
    last = sum((n - 1) * s for n, s in zip(x.shape, x.stride()))
    return x.data_ptr(), x.data_ptr() + (last + 1) * x.element_size() * (x.numel() > 0)


def writable(out: Any) -> bool:
    """Not leaves that gradients are collected in, nor where elements share memory."""
    repeats = out.numel() and any(n > 1 and step == 0 for n, step in zip(out.shape, out.stride()))
    return not (out.requires_grad and out.is_leaf) and not repeats


def blendable(x: Any) -> bool:
    """Whether the dtype can be averaged."""
    return x.dtype in _COMPUTE


def is_integer(y: Any) -> bool:
    """Integers and booleans."""
    return not (y.is_floating_point() or y.is_complex())


def on_host(y: Any) -> Any:
    """A view, unless the tensor is on a device or traced: reading it would wait for the device."""
    if y.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    return y.detach().numpy()


def to_numpy(x: Any) -> Any:
    """float64, or integers as they are."""
    x = x.detach().cpu()
    return (x if is_integer(x) else x.double()).numpy()


def array(value: Any, like: Any) -> Any:
    """A copy on the device of `like`, queued there without waiting for it."""
    if torch.compiler.is_compiling():
        return torch.as_tensor(value).to(like.device, non_blocking=True)
    return torch.tensor(value).to(like.device, non_blocking=True)


def arange(n: int, like: Any) -> Any:
    """0 .. n-1."""
    return torch.arange(n, device=like.device)


def cast(x: Any, dtype: str) -> Any:
    """Without a copy where the dtype is right already."""
    return x.to(getattr(torch, dtype))


def copy(x: Any) -> Any:
    """New memory."""
    return x.clone()


def take(x: Any, index: Any) -> Any:
    """Rows of x."""
    return x.index_select(0, index)


def take_along(x: Any, index: Any, axis: int) -> Any:
    """x at index[row, ..., cell, ...] on one axis; `index` broadcasts over the others."""
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return x.gather(axis, index.long().expand(shape))


def pick(row: Any, cells: list[Any]) -> Any:
    """The given cells of a row on each axis that has some."""
    for axis, index in enumerate(cells):
        row = (
            row if index is None else row.index_select(axis, torch.tensor(index, dtype=torch.long))
        )
    return row


where = torch.where


def soft(ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """Three passes over B x C: fill, add own, add partner."""
    if not torch.compiler.is_compiling() and _plain(ids) and _plain(lam):
        # one thread is enough, and torch's would go on spinning where the kernel's are to run
        y, other, own = ids.numpy(), partners.numpy(), lam.numpy()
        return torch.from_numpy(host.soft(y, other, own, classes, off, on))
    target = torch.full((len(ids), classes), off, dtype=torch.float32, device=ids.device)
    lam = lam[:, None]
    target.scatter_add_(1, ids.long()[:, None], lam * on)
    return target.scatter_add_(1, partners.long()[:, None], (1 - lam) * on)


def log_softmax(logits: Any) -> Any:
    """Over the last axis."""
    return torch.log_softmax(logits, -1)


def log_sigmoid(logits: Any) -> Any:
    """Elementwise."""
    return torch.nn.functional.logsigmoid(logits)


def calibration_error(probabilities: Any, y: Any, bins: int) -> float:
    """torchmetrics' value."""
    try:
        from torchmetrics.functional.classification import multiclass_calibration_error
    except (ImportError, RuntimeError) as problem:  # a broken torchvision is a RuntimeError in it
        raise ImportError(
            "metrics.ece() of torch tensors uses torchmetrics, which cannot be imported "
            f"({problem}). Install it with: pip install 'batchmix[cli]'"
        ) from problem
    classes = probabilities.shape[1]
    return float(multiclass_calibration_error(probabilities, y, classes, n_bins=bins))
