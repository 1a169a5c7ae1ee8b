"""Operations on tensors of PyTorch, by the names that all frameworks have for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from batchmix.backends._torch_memory import (
    BITS,
    addressable,
    is_dense,
    no_mode,
    not_indexed,
    uploaded,
)  # fmt: skip


def array(value: Any, like: Any) -> Any:
    """Queued to the device of `like` without waiting for it."""
    if isinstance(value, torch.Tensor):  # of a plan that lies on a device
        return value.to(like.device)
    if torch.compiler.is_compiling():
        return torch.as_tensor(value).to(like.device, non_blocking=True)
    if like.device.type == "cuda" and no_mode():
        return uploaded(value, like)
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
        raise not_indexed(x, problem) from problem


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
    return rows if isinstance(rows, torch.Tensor) else torch.stack(list(rows))


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
