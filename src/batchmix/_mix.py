"""Applying a plan to arrays. No randomness here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchmix._batch import check_batch, elsewhere
from batchmix._errors import MixError, mix_error
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of, called_as_is


@called_as_is
def mix(x: Any, plan: Plan, layout: str, *, other: Any = None, out: Any = None) -> Any:
    r"""Execute a plan on a batch of images, waveforms, videos or table rows.

    .. math:: x'_i = (1 - a_i) x_i + a_i x_{p(i)}

    with :math:`a` the plan's opacity inside the box and 0 outside. Where a is 0 or 1 cells are
    copied, so that NaN and inf of one row reach another only where both are really blended.

    Args:
      x: array [B, ...] of NumPy, PyTorch, JAX or TensorFlow, any memory layout. Floats are kept in
        their dtype (float16 and bfloat16 are blended in float32 and rounded once); 8- and 16-bit
        integers are blended in float32 and rounded half to even. Wider integers are ids: see
        `fields.Ids`.
      plan: as drawn for this B and size.
      layout: one letter per axis of `x`, batch first, such as "NCHW", "NHWC", "NCTHW", "NCT", "NC".
        Letters that the plan has too must agree in size; over the others a box extends in full.
      other: rows to take partners from instead of `x`, of the same form and dtype, any number of
        them: row `partner[i]` of `other`. A row that is its own partner is left alone here too,
        unless the plan was drawn for another batch (`others`).
      out: array to write to, same shape and dtype; `out=x` works in place, for any pairing, with
        the same result. JAX and TensorFlow have no arrays that could be written to.

    Returns:
      A new array like `x` (shape, dtype, device, memory format), or `out`.

    Raises:
      MixError: sizes, layout, dtype or memory that do not fit, before anything is written.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[[[0, 2]], [[0, 0]]], opacity=[0.5, 1], axes="T", size=(4,))
      >>> bm.mix(np.float32([[0, 0, 0, 0], [8, 8, 8, 8]]), plan, "NT")
      array([[4., 4., 0., 0.],
             [8., 8., 8., 8.]], dtype=float32)

    Differs from: timm mixes in place and hands the whole label to the partner for integer images;
    timm and Composer cut a video along time instead of space; torchvision and kornia refuse 8-bit
    MixUp.
    """
    b = checked("mix()", x, plan, layout, other, out)
    return b.paste(x, x if other is None else other, plan, layout, out)


@called_as_is
def mix_ids(x: Any, plan: Plan, layout: str, *, other: Any = None, out: Any = None) -> Any:
    """The verb of `fields.Ids`, where it is described; arguments as for `mix`."""
    b = checked("Ids()", x, plan, layout, other, out)
    return b.paste(x, x if other is None else other, _chosen(b, plan), layout, out)


@called_as_is
def mix_padding(x: Any, plan: Plan, layout: str, rule: str, *, other: Any = None) -> Any:
    """The verb of `fields.PaddingMask`, where it is described."""
    where = "PaddingMask()"
    b = checked(where, x, plan, layout, other, None)
    others = x if other is None else other
    content = _content(b, where, x)
    theirs = content if others is x else _content(b, where, others)
    if rule == "own":
        return x
    if rule == "heavier":
        return b.paste(x, others, _chosen(b, plan), layout, None)
    # a blend is above 0 where any row that is seen there has content
    seen = b.paste(content, theirs, plan, layout, None) > 0
    return b.rounded(b.cast(seen, "float32"), x)


def _content(b: Backend, where: str, mask: Any) -> Any:
    """float32, of zeros and ones; they are looked at where that costs nothing."""
    number = b.is_integer(mask) or b.blendable(mask)
    content = b.cast(mask, "float32") if number else mask
    values = b.on_host(content) if number else None
    if not number or (values is not None and not ((values == 0) | (values == 1)).all()):
        raise mix_error(
            where, f"the mask has dtype {mask.dtype}, or values that are not 0 or 1.",
            "It is 1 (True) where a row has content, and 0 (False) where it is padded.",
            "Pass the tokenizer's attention_mask; of an additive mask (mask == 0).",
        )  # fmt: skip
    return content


@dataclass(eq=False)
class _Chosen:
    """What a backend reads of a plan. Not a `Plan`: older torch.compile cannot make one."""

    partner: Any
    box: Any
    opacity: Any
    axes: str
    size: tuple[int, ...]
    mask: Any
    source: Any
    resample: str
    above: tuple[Any, ...]


def _chosen(b: Backend, plan: Plan) -> Any:
    """The same plan with each cell's opacity rounded to 0 or 1: at 0.5 the row keeps its own."""

    def rounded(above: Any) -> Any:
        host = isinstance(above, np.ndarray)
        return above.astype(np.float32) if host else b.cast(above, "float32")

    mask: Any = plan.mask
    if mask is not None:
        # of a NumPy array torch.compile tells how many bytes its elements have, and not their dtype
        bits = mask.itemsize == 1 if isinstance(mask, np.ndarray) else b.is_integer(mask)
        share = rounded(mask) / 255 if bits else mask
        mask = rounded(plan.opacity[(slice(None), *[None] * len(plan.size))] * share > 0.5)
    opacity = rounded(plan.opacity > 0.5)
    above = tuple(_chosen(b, layer) for layer in plan.above)
    grid = plan.axes, plan.size
    return _Chosen(plan.partner, plan.box, opacity, *grid, mask, plan.source, "nearest", above)


def checked(where: str, x: Any, plan: Plan, layout: str, other: Any, out: Any) -> Backend:
    """The backend, once layout, batch, sizes, memory and, for "mix()", the dtype are right."""
    b = backend_of(x, where)
    check_batch(b, where, "x", x, plan, other)
    check_layout(where, x.shape, plan, layout)
    if out is not None:
        _check_out(b, where, x, other, out)
    if where == "mix()" and not b.blendable(x):
        raise mix_error(
            where, f"`x` has dtype {x.dtype}.",
            "Floats and integers of 8 or 16 bits can be averaged, ids and complex numbers cannot.",
            "Use fields.Ids(layout)(x, plan) for ids, or convert to float first.",
        )  # fmt: skip
    return b


def check_layout(where: str, shape: Any, plan: Plan, layout: str) -> None:
    """One letter for each axis of `x`, and the sizes that the plan was drawn for."""
    known = isinstance(layout, str) and layout[:1] == "N" and len(set(layout)) == len(layout)
    if not known or len(layout) != len(shape):
        raise mix_error(
            where, f"`x` has shape {tuple(shape)} and layout {layout!r}.",
            "A layout has one letter per axis, no letter twice, and starts with N, the batch.",
            "Pass for example 'NCHW', 'NHWC', 'NCTHW', 'NCT' or 'NC'.",
        )  # fmt: skip
    for axis, n in zip(plan.axes, plan.size):
        if axis not in layout or shape[layout.index(axis)] != n:
            raise _size_differs(where, dict(zip(layout, shape)), plan, layout)


def _size_differs(where: str, sizes: dict[str, Any], plan: Plan, layout: str) -> MixError:
    drawn = dict(zip(plan.axes, plan.size))
    return mix_error(
        where, f"`x` has layout {layout!r} and shape {tuple(sizes.values())}; the plan was drawn "
        f"for size {drawn}.",
        "Boxes are counted in cells, so axes and sizes must match.",
        f"Draw with size={ {axis: sizes.get(axis, '?') for axis in drawn} }.",
    )  # fmt: skip


def _check_out(b: Backend, where: str, x: Any, other: Any, out: Any) -> None:
    """`out` is like `x`, and either `x` itself or memory apart from all that is read."""
    fix = "Pass out=x to work in place, or a separate array such as numpy.empty_like(x)."
    alike = backend_of(out, where) is b and tuple(out.shape) == tuple(x.shape)
    if not alike or out.dtype != x.dtype:
        raise mix_error(
            where, f"`out` is a {type(out).__name__} of shape {tuple(out.shape)} and dtype "
            f"{out.dtype}; `x` has shape {tuple(x.shape)} and dtype {x.dtype}.",
            "The result has the shape and dtype of `x`.", fix,
        )  # fmt: skip
    if not b.together(x, out):
        raise elsewhere(where, "out", out, "x", x)
    if not b.writable(out):
        raise not_writable(where, out, fix)
    apart = other is None or other is x or b.overlap(out, other) == "none"
    if b.overlap(out, x) == "partial" or not apart:
        raise mix_error(
            where, "`out` shares memory with what is read.",
            "It is `x` itself, or memory of its own; `other` is never written to.", fix,
        )  # fmt: skip


def not_writable(where: str, out: Any, fix: str) -> MixError:
    """The error for an `out` that cannot be."""
    return mix_error(
        where, f"`out` is a {type(out).__name__} that cannot be written to: it is read-only, "
        "repeats memory, or needs gradients.",
        "It is written to. Arrays of JAX and TensorFlow never are.",
        f"{fix} In JAX donate x instead: jax.jit(step, donate_argnums=0).",
    )  # fmt: skip
