"""The Triton kernel as an operator of PyTorch, `batchmix::paste`: one node, with gradients."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from batchmix.backends import _formula, _triton
from batchmix.backends import torch as backend
from batchmix.backends._contract import COMPUTE
from batchmix.backends._torch_gpu import BLENDED, Form, by_layer

_SCHEMA = (
    "(Tensor x, Tensor? other, Tensor[] columns, Tensor[] masks, str layout, str axes, int[] size, "
    "bool source, bool bilinear) -> Tensor"
)


def _paste(x: Any, other: Any, columns: Any, masks: Any, *told: Any) -> Any:
    """A plan executed on `x`, with partners out of `other`, or out of `x` itself."""
    layout, axes, size, source, bilinear = told
    form = Form(layout, axes, tuple(size), source, bilinear)
    theirs, out = x if other is None else other, torch.empty_like(x)
    if not _triton.paste(x, theirs, out, columns, masks, form):
        compute = COMPUTE[BLENDED[x.dtype]] if x.dtype in BLENDED else None
        mixed = x
        for layer in _layers(columns, masks, form, x.device):
            mixed = _formula.paste(backend, mixed, theirs, layer, layout, compute)
        out.copy_(mixed)
    return out


def _fake(x: Any, *_: Any) -> Any:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    x, other, columns, masks, *form = inputs
    ctx.save_for_backward(*columns, *masks)
    ctx.count, ctx.form, ctx.dtype = len(columns), Form(*form), x.dtype
    ctx.others = None if other is None else len(other)


def _back(ctx: Any, gradient: Any) -> Any:
    columns, masks = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
    own, theirs = _transposed(gradient, columns, masks, ctx.form, ctx.others or len(gradient))
    if ctx.others is None:
        own, theirs = own + theirs, None
    kept = [None if one is None else one.to(ctx.dtype) for one in (own, theirs)]
    return *kept, [None] * len(columns), [None] * len(masks), *[None] * len(ctx.form)


def _layers(columns: Any, masks: Any, form: Form, device: Any) -> Any:
    """The pastes, with columns that are tensors on the device."""
    columns = [column.to(device, non_blocking=True) for column in columns]
    for k, (partner, opacity, box, *source) in enumerate(by_layer(columns, form)):
        mask = masks[k].to(device, non_blocking=True) if masks and masks[k].numel() else None
        yield SimpleNamespace(
            partner=partner, opacity=opacity, box=box, source=source[0] if source else None,
            mask=mask, resample="bilinear" if form.bilinear else "nearest", axes=form.axes,
            size=form.size,
        )  # fmt: skip


def _transposed(gradient: Any, columns: Any, masks: Any, form: Form, others: int) -> Any:
    """What each row, and each row of the batch of partners, has added to what came out."""
    own = gradient.to(getattr(torch, COMPUTE[BLENDED[gradient.dtype]]))
    theirs = own.new_zeros((others, *own.shape[1:]))
    for layer in reversed(list(_layers(columns, masks, form, gradient.device))):
        opacity = _formula.opacity_of(backend, own, layer, form.layout).to(own.dtype)
        inside = _formula.inside_of(backend, own, layer, form.layout, opacity > 0)
        part = torch.where(inside, own * opacity, 0)
        own = torch.where(inside, own * (1 - opacity), own)
        if layer.source is not None:
            part = _back_to_source(part, layer, form)
        theirs = theirs.index_add(0, layer.partner.long(), part)
    return own, theirs


def _back_to_source(part: Any, layer: Any, form: Form) -> Any:
    """From where it was shown to where it came from, the last axis first."""
    compute = BLENDED[part.dtype] if form.bilinear else None
    for axis in reversed(range(len(form.size))):
        along = form.layout.index(form.axes[axis])
        cell, after, weight = _formula.taps(backend, part, layer, form.layout, axis, compute)
        added, cell = torch.zeros_like(part), cell.long().expand(part.shape)
        if after is None:
            part = added.scatter_add(along, cell, part)
            continue
        added = added.scatter_add(along, cell, part * (1 - weight))
        part = added.scatter_add(along, after.long().expand(part.shape), part * weight)
    return part


_operator = torch.library.custom_op("batchmix::paste", _paste, mutates_args=(), schema=_SCHEMA)
_operator.register_fake(_fake)
_operator.register_autograd(_back, setup_context=_keep)
