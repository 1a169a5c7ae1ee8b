"""What has to be true of arrays that a plan is executed on, whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._errors import MixError, mix_error
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of


def check_batch(b: Backend, where: str, name: str, x: Any, plan: Plan, other: Any) -> None:
    """One row of `x` for each of the plan, and `other` like `x`."""
    check_kind(where, plan)
    # in a graph of TensorFlow sizes may be unknown, here None; its backend asserts those later
    shape, rows = shape_of(x, where), plan.partner.shape[0]
    if not shape or (shape[0] != rows and None not in (shape[0], rows)):
        raise mix_error(
            where, f"`{name}` has shape {shape}; the plan was drawn for {rows} rows.",
            "Each row has one entry in the plan.", "Draw with batch=len(x).",
        )  # fmt: skip
    check_place(b, where, name, x, plan)
    if other is not None and (
        backend_of(other, where) is not b
        or not _fit(shape_of(other, where)[1:], shape[1:])
        or other.dtype != x.dtype
    ):
        raise mix_error(
            where, f"`other` is a {type(other).__name__} of shape {tuple(other.shape)} and dtype "
            f"{other.dtype}; `{name}` has shape {shape} and dtype {x.dtype}.",
            "Partners are rows of `other`, so the rows of both must be alike.",
            "Resize and convert them to one form.",
        )  # fmt: skip
    check_pool(where, plan, shape[0] if other is None else other.shape[0], other is None)
    if other is not None and not b.together(x, other):
        raise elsewhere(where, "other", other, name, x)


def check_kind(where: str, plan: Any) -> None:
    """A plan, and nothing else."""
    if not isinstance(plan, Plan):
        raise mix_error(
            where, f"`plan` is a {type(plan).__name__}.", "It is what bm.draw returns.",
            "Draw one: bm.draw(policy, Key(seed, epoch, step), batch, size).",
        )  # fmt: skip


def check_place(b: Backend, where: str, name: str, x: Any, plan: Plan) -> None:
    """A plan of the host is for any array; one of a device, or of a trace, for those beside it."""
    if type(plan.partner) is np.ndarray:
        return
    if backend_of(plan.partner, where) is not b:
        raise mix_error(
            where, f"`{name}` is a {type(x).__name__}, the plan one of a traced step.",
            "A plan without values is for arrays of its own framework.",
            f"Convert `{name}` first, for example with jax.numpy.asarray.",
        )  # fmt: skip
    if not b.together(plan.partner, x):
        raise elsewhere(where, "plan.partner", plan.partner, name, x)


def check_pool(where: str, plan: Plan, rows: int | None, own: bool) -> None:
    """Partners are rows of the batch that they are taken from."""
    told = plan.others
    if told is not None and (own or rows not in (told, None)):
        got = "there is no `other`" if own else f"`other` has {rows} rows"
        raise mix_error(
            where, f"{got}; the plan takes partners from another batch, of {told} rows.",
            "Each partner is a row of that batch.", "Pass it as `other`.",
        )  # fmt: skip
    if told is not None or own or rows in (plan.partner.shape[0], None):
        return
    host = [one.partner for one in (plan, *plan.above) if isinstance(one.partner, np.ndarray)]
    if not host or max(partner.max(initial=-1) for partner in host) >= (rows or 0):
        raise mix_error(
            where, f"`other` has {rows} rows, and the plan was drawn for {plan.partner.shape[0]}.",
            "Each partner is a row of `other`.", "Draw with other=len(other), as a Mixer does.",
        )  # fmt: skip


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


def elsewhere(where: str, name: str, y: Any, first: str, x: Any) -> MixError:
    """The error for arrays that no operation can read together."""
    return mix_error(
        where, f"`{name}` is on {y.device}, `{first}` on {x.device}.",
        "All arrays of a call lie on one device.",
        "Move one first, for example with y.to(x.device).",
    )  # fmt: skip
