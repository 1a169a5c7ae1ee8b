"""Applying a plan to arrays. No randomness here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
      other: rows to take partners from instead of `x`, same shape and dtype: row `partner[i]` of
        `other`. A row that is its own partner is left alone here too.
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


def _chosen(b: Backend, plan: Plan) -> Any:
    """The same plan with each cell's opacity rounded to 0 or 1: at 0.5 the row keeps its own."""

    def rounded(above: Any) -> Any:
        host = isinstance(above, np.ndarray)
        return above.astype(np.float32) if host else b.cast(above, "float32")

    mask: Any = plan.mask
    if mask is not None:
        mask = rounded(plan.opacity[(slice(None), *[None] * len(plan.size))] * mask > 0.5)
    opacity = rounded(plan.opacity > 0.5)
    return _Chosen(plan.partner, plan.box, opacity, plan.axes, plan.size, mask, plan.source)


def check_batch(b: Backend, where: str, name: str, x: Any, plan: Plan, other: Any) -> None:
    """One row of `x` for each of the plan, and `other` like `x`."""
    if not isinstance(plan, Plan):
        raise mix_error(
            where, f"`plan` is a {type(plan).__name__}.", "It is what bm.draw returns.",
            "Draw one: bm.draw(policy, Key(seed, epoch, step), batch, size).",
        )  # fmt: skip
    # in a graph of TensorFlow sizes may be unknown, here None; its backend asserts those later
    shape, rows = shape_of(x, where), plan.partner.shape[0]
    if not shape or (shape[0] != rows and None not in (shape[0], rows)):
        raise mix_error(
            where, f"`{name}` has shape {shape}; the plan was drawn for {rows} rows.",
            "Each row has one entry in the plan.", "Draw with batch=len(x).",
        )  # fmt: skip
    if type(plan.partner) is not np.ndarray and backend_of(plan.partner, where) is not b:
        raise mix_error(
            where, f"`{name}` is a {type(x).__name__}, the plan one of a traced step.",
            "A plan without values is for arrays of its own framework.",
            f"Convert `{name}` first, for example with jax.numpy.asarray.",
        )  # fmt: skip
    if other is not None and (
        backend_of(other, where) is not b
        or not _fit(shape_of(other, where), shape)
        or other.dtype != x.dtype
    ):
        raise mix_error(
            where, f"`other` is a {type(other).__name__} of shape {tuple(other.shape)} and dtype "
            f"{other.dtype}; `{name}` has shape {shape} and dtype {x.dtype}.",
            "Partners are rows of `other`, so both must be alike.",
            "Cut the longer batch, and convert to one dtype.",
        )  # fmt: skip
    if other is not None and not b.together(x, other):
        raise elsewhere(where, "other", other, name, x)


def shape_of(x: Any, where: str) -> tuple[int | None, ...]:
    """The shape; a size that a graph does not know is None."""
    shape = x.shape
    if getattr(shape, "rank", 0) is None:
        raise mix_error(
            where, "the number of axes of an array is not known in this graph.",
            "A layout has one letter per axis.", "Set it before: tf.ensure_shape(x, [None, ...]).",
        )  # fmt: skip
    return tuple(shape)


def dtype_of(x: Any) -> str:
    """Name of the dtype; NumPy, JAX and TensorFlow say it, of PyTorch's it is the last word."""
    return getattr(x.dtype, "name", str(x.dtype).removeprefix("torch."))


def _fit(one: tuple[int | None, ...], two: tuple[int | None, ...]) -> bool:
    """Whether two shapes are the same, as far as they are known."""
    same = (n == m or n is None or m is None for n, m in zip(one, two))
    return len(one) == len(two) and all(same)


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


def elsewhere(where: str, name: str, y: Any, first: str, x: Any) -> MixError:
    """The error for arrays that no operation can read together."""
    return mix_error(
        where, f"`{name}` is on {y.device}, `{first}` on {x.device}.",
        "All arrays of a call lie on one device.",
        "Move one first, for example with y.to(x.device).",
    )  # fmt: skip


def not_writable(where: str, out: Any, fix: str) -> MixError:
    """The error for an `out` that cannot be."""
    return mix_error(
        where, f"`out` is a {type(out).__name__} that cannot be written to: it is read-only, "
        "repeats memory, or needs gradients.",
        "It is written to. Arrays of JAX and TensorFlow never are.",
        f"{fix} In JAX donate x instead: jax.jit(step, donate_argnums=0).",
    )  # fmt: skip
