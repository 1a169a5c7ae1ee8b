"""Tensors on a GPU: which of them the Triton kernel takes, and what it is told of a plan.

torch.compile and autograd see it as an operator of PyTorch, which `_torch_operator` defines.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from batchmix.backends import _native
from batchmix.backends._contract import COMPUTE
from batchmix.backends._host import WIDTHS
from batchmix.backends._torch_memory import counted, differentiated, named, plain, written

BLENDED = {getattr(torch, name): name for name in COMPUTE}
_OPERATOR = "batchmix.backends._torch_operator"  # imports Triton
_NO_TRITON = (
    "Triton does not work here ({}); PyTorch's tensors on a GPU are mixed by the portable path, in "
    "several passes. It needs a C compiler, the headers of Python and a directory for its cache."
)
_found: list[str] = []


class Form(NamedTuple):
    """What a plan is made of besides numbers, and the axes of what it is executed on."""

    layout: str
    axes: str
    size: tuple[int, ...]
    source: bool
    bilinear: bool


def device() -> str:
    """Type of the device whose tensors the kernel takes, "" where there is none."""
    if not _found:
        there = _native.kernels()["cuda"] != "portable"
        _found.append("" if not there else "cpu" if _native.interpreted() else "cuda")
    return _found[0]


def ready() -> bool:
    """Whether Triton can be imported, which takes a while: asked where a tensor is for it."""
    try:
        importlib.import_module(_OPERATOR)
    except Exception as problem:  # whatever is wrong with the installation
        give_up(problem)
    return _found != [""]


def give_up(problem: Exception) -> None:
    """The portable path, from now on."""
    _found[:] = [""]
    _native.without_triton()
    told = f"{type(problem).__name__}: {problem}".splitlines()[0]
    warnings.warn(_NO_TRITON.format(told), stacklevel=2)


def transformed() -> bool:
    """Whether vmap or another transformation is at work, for which the operator has no rule."""
    return torch._C._functorch.peek_interpreter_stack() is not None


# torch.compile reads this mark: it calls the function while tracing and keeps what it returned
for _constant in (device, ready, transformed):
    vars(_constant)["_dynamo_marked_constant"] = True


def takes(*tensors: Any) -> bool:
    """Whether the kernel is for such tensors, which may be traced."""
    x = tensors[0]
    known = x.dtype in BLENDED or x.element_size() in WIDTHS
    if not known or x.device.type != device():
        return False
    if torch.compiler.is_compiling():
        return not transformed() and ready()
    return plain(x.device.type, tensors) and ready()


def takes_now(*tensors: Any) -> bool:
    """The same where nothing is traced and no gradients are wanted: launched at once."""
    return not torch.compiler.is_compiling() and takes(*tensors) and not differentiated(*tensors)


def takes_rows(rows: Any, out: Any) -> bool:
    """The same of rows, or of the tensor that they are."""
    tensors = [rows] if isinstance(rows, torch.Tensor) else list(rows)
    return takes_now(*tensors, *([] if out is None else [out]))


def paste(x: Any, other: Any, plan: Any, layout: str, out: Any) -> Any:
    """`plan` executed; None where the kernel cannot, and nothing was done."""
    columns, masks, form = told(plan, layout)
    if torch.compiler.is_compiling() or differentiated(x, other, *([] if out is None else [out])):
        theirs = None if other is x else other
        mixed = torch.ops.batchmix.paste(x, theirs, columns, masks, *form)
        return named(mixed, x) if out is None else written(out, mixed)
    from batchmix.backends import _triton

    made = torch.empty_like(x) if out is None else out
    if not _triton.paste(x, other, made, columns, masks, form):
        return None
    return named(made, x) if out is None else counted(out)


def normalize(rows: Any, plan: Any, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """8-bit rows [H, W, C], mixed and normalised, as [B, C, H, W]; None where it cannot."""
    from batchmix.backends import _triton

    height, width, channels = rows[0].shape
    shape, kind = (len(rows), channels, height, width), getattr(torch, dtype)
    made = rows[0].new_empty(shape, dtype=kind) if out is None else out
    if not _triton.normalize(rows, made, *told(plan, "NHWC"), mean, std):
        return None
    return made if out is None else counted(out)


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """Soft labels; NaN for a row with an id that is no class, which the host cannot see.

    None where the kernel cannot.
    """
    from batchmix.backends import _triton

    return _triton.soft(ids, other, partner, lam, classes, off, on)


def as_batch(rows: Any) -> Any:
    """Rows, each without gaps, as one tensor; without a copy where they are one already."""
    first = rows[0]
    if isinstance(rows, torch.Tensor) and first.is_contiguous():
        return rows
    start, held, step = first.data_ptr(), first.untyped_storage().data_ptr(), first.nbytes
    for k, row in enumerate(rows):
        apart = row.data_ptr() != start + k * step or row.untyped_storage().data_ptr() != held
        if apart or not row.is_contiguous():
            return torch.stack(list(rows))
    return first.as_strided((len(rows), *first.shape), (first.numel(), *first.stride()))


def told(plan: Any, layout: str) -> tuple[list[Any], list[Any], Form]:
    """Of each layer partner, opacity, box and, if one has a source, the source; masks; the form."""
    layers = (plan, *plan.above)
    source = any(layer.source is not None for layer in layers)
    columns = []
    for layer in layers:
        columns += [layer.partner, layer.opacity, layer.box]
        if source:  # without one it is what lies under the box
            columns.append(layer.box if layer.source is None else layer.source)
    masks = [] if all(layer.mask is None for layer in layers) else _masks(layers)
    bilinear = source and plan.resample == "bilinear"
    form = Form(layout, plan.axes, plan.size, source, bilinear)
    return [_tensor(column) for column in columns], masks, form


def by_layer(columns: Any, form: Form) -> list[Any]:
    """What `told` has of each layer."""
    count = 3 + form.source
    return [columns[k : k + count] for k in range(0, len(columns), count)]


def joined(columns: list[Any], form: Form) -> Any:
    """int32 [layers, B, ...]: the columns of each layer, opacities by their bits, side by side."""
    made = []
    for partner, opacity, *regions in by_layer(columns, form):
        parts = [partner[:, None], opacity.contiguous().view(torch.int32)[:, None]]
        parts += [region.reshape(len(partner), 2 * len(form.size)) for region in regions]
        made.append(torch.cat(parts, 1))
    return torch.stack(made)


def _masks(layers: Any) -> list[Any]:
    """Of one dtype, that of floats where there are two; without elements for a layer without."""
    masks = [None if one.mask is None else _tensor(one.mask) for one in layers]
    given = [mask for mask in masks if mask is not None]
    if len({mask.dtype for mask in given}) > 1:
        floats = [m if m is None or m.is_floating_point() else m / 255 for m in masks]
        masks, given = floats, [mask for mask in floats if mask is not None]
    return [given[0].new_empty(0) if mask is None else mask for mask in masks]


def _tensor(value: Any) -> Any:
    if torch.compiler.is_compiling() or not isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    return torch.from_numpy(value) if value.flags.writeable else torch.tensor(value)
