"""JAX arrays: the formula, compiled into one pass, on values and inside any transformation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import _generic
from batchmix.backends import numpy as host

_THIS = sys.modules[__name__]
_READ = ("partner", "opacity", "box", "mask", "source")  # the columns that pixels depend on


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The formula, compiled: one gather, blend and choice, without an array in between."""
    # columns and not the plan itself: outside of a user's transformation it need not be a pytree
    columns = {name: getattr(plan, name) for name in _READ}
    return _pasted(x, other, columns, plan.axes, plan.size, layout)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _pasted(
    x: Any, other: Any, columns: dict[str, Any], axes: str, size: tuple[int, ...], layout: str
) -> Any:
    """`paste`, of the parts of a plan."""
    plan = Plan.unchecked(axes=axes, size=size, **columns)
    # where shardings are part of the type, axes that are split are not to be joined
    paste = _generic.paste if any(jax.typeof(x).sharding.spec) else _generic.paste_flat
    mixed = paste(_THIS, x, other, plan, layout, host._COMPUTE.get(x.dtype.name))
    # integers are rounded half to even; a blend of two values cannot leave their range
    rounded = is_integer(x) and not is_integer(mixed)
    return (jnp.round(mixed) if rounded else mixed).astype(x.dtype)


def mix_rows(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """Stacked, then pasted."""
    x = jnp.stack(list(rows))
    return paste(x, x, plan, layout, out)


def widen(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The formula of the kernel, on the whole batch."""
    x = jnp.stack(list(rows)).astype(jnp.float32)
    x = (paste(x, x, plan, "NHWC", out) - mean) / std
    return x.transpose(0, 3, 1, 2).astype(dtype)


def overlap(out: Any, x: Any) -> str:
    """Never reached: `writable` refuses every `out`."""
    return "none"


def writable(out: Any) -> bool:
    """No JAX array is, and the way to save memory is another one."""
    raise mix_error(
        "mix", "`out` is a JAX array.", "JAX arrays cannot be written to.",
        "Leave `out` out; to reuse the memory of x, donate it: jax.jit(step, donate_argnums=0).",
    )  # fmt: skip


def blendable(x: Any) -> bool:
    """Whether the dtype can be averaged."""
    return host.blendable(x)


def is_integer(y: Any) -> bool:
    """Integers and booleans."""
    return host.is_integer(y)


def on_host(y: Any) -> Any:
    """Values that lie on this process's CPU; None while tracing, and on devices."""
    if traced(y) or not y.is_fully_addressable:
        return None
    return np.asarray(y) if all(d.platform == "cpu" for d in y.devices()) else None


def traced(x: Any) -> bool:
    """Whether x stands for values that are known later."""
    return isinstance(x, jax.core.Tracer)


def drawn(make: Callable[..., Plan], numbers: Sequence[Any], rows: int, x: Any) -> Plan:
    """The plan that ``make(*numbers, rows)`` draws on the host each time the program runs."""
    known = [0 if isinstance(n, jax.Array) else n for n in numbers]
    first = make(*known, rows)  # tells which columns there are: a program has room for these only
    columns = first.columns()

    def on_host(*later: Any) -> dict[str, Any]:
        """Columns, now that the numbers have values."""
        values = iter(later)
        now = [int(next(values)) if isinstance(n, jax.Array) else n for n in numbers]
        found = make(*now, rows).columns()
        if found.keys() != columns.keys():
            raise mix_error(
                "draw() in a compiled step",
                f"the plan at {now} has {', '.join(found)}; that at {known} {', '.join(columns)}.",
                "A compiled program has room for one kind of plan.",
                "Draw with batchmix.draw outside of it, and pass the plan to the step.",
            )
        return found

    shapes = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in columns.items()}
    later = [n for n in numbers if isinstance(n, jax.Array)]
    found = jax.pure_callback(on_host, shapes, *later, vmap_method="sequential")
    return Plan.unchecked(axes=first.axes, size=first.size, **found)


def to_numpy(x: Any) -> Any:
    """float64, or integers as they are."""
    return host.to_numpy(np.asarray(x))


def array(value: Any, like: Any) -> Any:
    """Wherever JAX wants to have it: it follows `like` in the first operation with it."""
    return jnp.asarray(value)


def arange(n: int, like: Any) -> Any:
    """0 .. n-1."""
    return jnp.arange(n)


def cast(x: Any, dtype: str) -> Any:
    """To float64 only where JAX has it (jax_enable_x64), else to float32."""
    return x.astype(jax.dtypes.canonicalize_dtype(dtype))


@partial(jax.jit, inline=True)
def take(x: Any, index: Any) -> Any:
    """Rows of x, sharded as x is; NaN (the least integer) at an index that is not in it."""
    # an index that was drawn is in range; of one from a plan that was made while tracing nobody
    # knows, and a row of another place in the batch would be worse than one that shows
    sharding = jax.typeof(x).sharding
    # where shardings are part of the type, a gather along a split axis must be told its own
    split = AxisType.Explicit in sharding.mesh.axis_types and sharding.spec[0] is not None
    rows = x.at[index]
    return rows.get(
        mode="fill", wrap_negative_indices=False, out_sharding=sharding if split else None
    )


def take_along(x: Any, index: Any, axis: int) -> Any:
    """x at index[row, ..., cell, ...] on one axis; `index` broadcasts over the others."""
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return jnp.take_along_axis(x, jnp.broadcast_to(index, shape), axis)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Elementwise choice."""
    # where shardings are part of the type, a condition of full shape is to have that of its cases
    for case in map(jax.typeof, (x, y)):
        if case.shape == condition.shape and any(case.sharding.spec):
            condition = jax.reshard(condition, case.sharding)
    return jnp.where(condition, x, y)


reshape = jnp.reshape


@partial(jax.jit, static_argnums=(3,))
def soft(ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """A choice for each class, in one pass; NaN in rows with an id that is no class."""
    # ids are checked on the host; in a traced step a loss of NaN is the one way to tell
    own, theirs = (y[:, None] == jnp.arange(classes) for y in (ids, partners))
    # as int32: beside a plain integer, ids of 8 bits would have to hold 1000 in 8 bits
    first, end = jnp.int32(0), jnp.int32(classes)
    known = (ids >= first) & (ids < end) & (partners >= first) & (partners < end)
    target = (
        off + jnp.where(own, lam[:, None] * on, 0) + jnp.where(theirs, (1 - lam[:, None]) * on, 0)
    )
    return jnp.where(known[:, None], target, jnp.nan).astype(jnp.float32)


def log_softmax(logits: Any) -> Any:
    """Over the last axis."""
    return jax.nn.log_softmax(logits)


def log_sigmoid(logits: Any) -> Any:
    """Elementwise."""
    return jax.nn.log_sigmoid(logits)


def calibration_error(probabilities: Any, y: Any, bins: int) -> float:
    """On the host, where its bins are counted."""
    return host.calibration_error(np.asarray(probabilities), np.asarray(y), bins)
