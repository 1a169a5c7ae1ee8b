"""JAX arrays: the formula, compiled into one pass, on values and inside any transformation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, reshard

from batchmix._plan import Plan
from batchmix.backends import _formula
from batchmix.backends import numpy as host
from batchmix.backends._compiled import columns_read, drawing
from batchmix.backends._compiled import overlap as overlap
from batchmix.backends._compiled import writable as writable
from batchmix.backends._contract import COMPUTE
from batchmix.backends.numpy import blendable as blendable
from batchmix.backends.numpy import is_integer as is_integer

_THIS: Any = sys.modules[__name__]


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The formula, compiled: one gather, blend and choice, without an array in between."""
    return _pasted(x, other, columns_read(plan), plan.axes, plan.size, plan.resample, layout)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _pasted(
    x: Any,
    other: Any,
    layers: list[dict[str, Any]],
    axes: str,
    size: tuple[int, ...],
    resample: Literal["nearest", "bilinear"],
    layout: str,
) -> Any:
    # where shardings are part of the type, axes that are split are not to be joined
    paste = _formula.paste if any(jax.typeof(x).sharding.spec) else _formula.paste_flat
    for columns in layers:
        plan = Plan.unchecked(axes=axes, size=size, resample=resample, **columns)
        x = paste(_THIS, x, other, plan, layout, COMPUTE.get(x.dtype.name))
    return x


def mix_stack(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    return _formula.mix_stack(_THIS, rows, plan, layout, out)


def mix_normalize(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    return _formula.mix_normalize(_THIS, rows, plan, mean, std, dtype)


def dense(x: Any) -> bool:
    """Always: sparse arrays are of other classes."""
    return True


def allocated(x: Any) -> bool:
    """Not where it was deleted, or donated to a step."""
    return traced(x) or not x.is_deleted()


def together(x: Any, y: Any) -> bool:
    """As JAX has it: an array that was put nowhere goes where the other one is."""
    if traced(x) or traced(y) or not (x.committed and y.committed):
        return True
    return bool(x.devices() == y.devices())


def on_host(x: Any) -> Any:
    """Values that lie on this process's CPU; None while tracing, and on devices."""
    if traced(x) or not x.is_fully_addressable:
        return None
    return np.asarray(x) if all(d.platform == "cpu" for d in x.devices()) else None


def traced(x: Any) -> bool:
    """Whether x stands for values that are known later."""
    return isinstance(x, jax.core.Tracer)


def drawn(make: Callable[..., Plan], numbers: Sequence[Any], rows: int | None, x: Any) -> Plan:
    """By a callback to the host each time the program runs."""
    later = [n for n in numbers if isinstance(n, jax.Array)]
    if not later:
        return make(*numbers, rows)
    first, draw = drawing(make, [*numbers, rows], lambda n: isinstance(n, jax.Array))
    columns = first.columns()
    shapes = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in columns.items()}
    found = jax.pure_callback(draw, shapes, *later, vmap_method="sequential")
    return Plan.unchecked(**first.form, **found)


def to_numpy(x: Any) -> Any:
    """Integers as they are."""
    return None if traced(x) else host.to_numpy(np.asarray(x))


def array(value: Any, like: Any) -> Any:
    """Wherever JAX wants to have it: it follows `like` in the first operation with it."""
    return jnp.asarray(value)


def arange(n: int, like: Any) -> Any:
    return jnp.arange(n)


def cast(x: Any, dtype: str) -> Any:
    """To float64 only where JAX has it (jax_enable_x64), else to float32."""
    return x.astype(jax.dtypes.canonicalize_dtype(dtype))


def rounded(x: Any, like: Any) -> Any:
    """A blend of two values cannot leave their range."""
    return (jnp.round(x) if is_integer(like) else x).astype(like.dtype)


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
    shape = [n if k == axis else m for k, (m, n) in enumerate(zip(x.shape, index.shape))]
    return jnp.take_along_axis(x, jnp.broadcast_to(index, shape), axis)


def where(condition: Any, x: Any, y: Any) -> Any:
    # where shardings are part of the type, a condition of full shape is to have that of its cases
    for case in map(jax.typeof, (x, y)):
        if case.shape == condition.shape and any(case.sharding.spec):
            condition = reshard(condition, case.sharding)
    return jnp.where(condition, x, y)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return jnp.reshape(x, shape)


def transpose(x: Any, axes: Sequence[int]) -> Any:
    return jnp.transpose(x, axes)


def stack(rows: Any) -> Any:
    return jnp.stack(list(rows))


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    for seen in map(on_host, (ids,) if other is ids else (ids, other)):
        if seen is not None and not host.known(seen, classes):
            return None
    return _soft(ids, take(other, array(partner, ids)), array(lam, ids), classes, off, on)


@partial(jax.jit, static_argnums=(3,))
def _soft(ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
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
    return jax.nn.log_softmax(promoted(logits, logits)[0])


def log_sigmoid(logits: Any) -> Any:
    return jax.nn.log_sigmoid(promoted(logits, logits)[0])


def sum(x: Any) -> Any:
    return jnp.sum(x, -1)


def mean(x: Any) -> Any:
    return jnp.mean(x)


def promoted(x: Any, y: Any) -> tuple[Any, Any]:
    """By JAX's own rule; integers become float32."""
    wide = jnp.promote_types(x.dtype, y.dtype)
    wide = wide if jnp.issubdtype(wide, jnp.floating) else jnp.float32
    return x.astype(wide), y.astype(wide)
