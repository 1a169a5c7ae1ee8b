"""TensorFlow tensors: the formula, compiled by XLA into one pass, eager or inside a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from batchmix._plan import Plan
from batchmix.backends import _formula
from batchmix.backends import numpy as host
from batchmix.backends._compiled import columns_read, drawing
from batchmix.backends._compiled import overlap as overlap
from batchmix.backends._compiled import writable as writable
from batchmix.backends._contract import COMPUTE

_THIS: Any = sys.modules[__name__]


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The formula, compiled; what a static shape leaves open is asserted in the graph."""
    layers = [
        {name: array(value, x) for name, value in columns.items()} for columns in columns_read(plan)
    ]
    grids = tuple(tuple(v["mask"].shape[1:]) if "mask" in v else None for v in layers)
    # XLA has no strings
    xla = x.dtype != tf.string
    pasted = _pasted(plan.axes, plan.size, grids, plan.resample, layout, xla)
    if tf.executing_eagerly():  # every size is known, and was checked
        return pasted(x, other, layers)
    with tf.control_dependencies(_shape_assertions(x, other, layers[0]["partner"])):
        return tf.ensure_shape(pasted(x, other, layers), x.shape)


@cache
def _pasted(
    axes: str,
    size: tuple[int, ...],
    grids: tuple[Any, ...],
    resample: Literal["nearest", "bilinear"],
    layout: str,
    xla: bool,
) -> Any:
    """`paste` for one form of plans; XLA compiles it for each shape and dtype that it meets."""

    def pasted(x: Any, other: Any, layers: list[dict[str, Any]]) -> Any:
        for columns, grid in zip(layers, grids):
            if grid:  # tracing for shapes to come would forget how many cells it has
                columns = columns | {"mask": tf.ensure_shape(columns["mask"], [None, *grid])}
            plan = Plan.unchecked(axes=axes, size=size, resample=resample, **columns)
            x = _formula.paste_flat(_THIS, x, other, plan, layout, COMPUTE.get(x.dtype.name))
        return x

    # without XLA each operation of the formula is a pass over the batch, ten times as slow
    return tf.function(pasted, jit_compile=xla, autograph=False, reduce_retracing=True)


def _shape_assertions(x: Any, other: Any, partner: Any) -> list[Any]:
    """Run in the graph where sizes were not known before it; XLA leaves assertions out."""
    found = []
    if None in (x.shape[0], partner.shape[0]):
        rows = tf.shape(x)[0], tf.shape(partner)[0]
        found.append(tf.debugging.assert_equal(*rows, "mix: x has other rows than the plan"))
    if other is not x and None in (*x.shape[1:], *other.shape[1:]):
        shapes = tf.shape(x)[1:], tf.shape(other)[1:]
        found.append(tf.debugging.assert_equal(*shapes, "mix: other is not shaped like x"))
    if other is not x and other.shape[0] is None:
        known = tf.cast(tf.reduce_max(partner, 0), tf.int32) < tf.shape(other)[0]
        found.append(tf.debugging.Assert(known, ["mix: other has too few rows"]))
    return [check for check in found if check is not None]


def mix_stack(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    return _formula.mix_stack(_THIS, rows, plan, layout, out)


def mix_normalize(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    return _formula.mix_normalize(_THIS, rows, plan, mean, std, dtype)


def drawn(make: Callable[..., Plan], numbers: Sequence[Any], rows: int | None, x: Any) -> Plan:
    """By a call of Python each time the graph runs."""
    if rows is not None and not any(map(traced, numbers)):
        return make(*numbers, rows)
    inputs = [*numbers, tf.shape(x)[0] if rows is None else rows]
    first, draw = drawing(make, inputs, traced)
    columns = first.columns()
    dtypes = [column.dtype for column in columns.values()]
    # not stateful: it depends on its inputs alone
    arrays = tf.numpy_function(
        lambda *later: list(draw(*later).values()), [n for n in inputs if traced(n)], dtypes,
        stateful=False,
    )  # fmt: skip
    for column, array in zip(columns.values(), arrays):
        array.set_shape([rows, *column.shape[1:]])
    return Plan.unchecked(**first.form, **dict(zip(columns, arrays)))


def traced(x: Any) -> bool:
    """Whether the tensor stands for values that the graph will have."""
    return bool(tf.is_symbolic_tensor(x))


def blendable(x: Any) -> bool:
    return x.dtype.name in COMPUTE


def dense(x: Any) -> bool:
    """Always: sparse and ragged tensors are of other classes."""
    return True


def allocated(x: Any) -> bool:
    return True


def together(x: Any, y: Any) -> bool:
    """Always: TensorFlow copies between devices by itself."""
    return True


def is_integer(x: Any) -> bool:
    return bool(x.dtype.is_integer or x.dtype.is_bool)


def on_host(x: Any) -> Any:
    """The values of an eager tensor on the host."""
    return None if traced(x) or "CPU" not in x.device else x.numpy()


def to_numpy(x: Any) -> Any:
    """Integers as they are."""
    return None if traced(x) else (x if is_integer(x) else tf.cast(x, tf.float64)).numpy()


def array(value: Any, like: Any) -> Any:
    """A tensor; it goes to the device of the operation that reads it."""
    # tf.constant is the quicker one, and takes no tensors in a graph
    return tf.constant(value) if isinstance(value, np.ndarray) else tf.convert_to_tensor(value)


def arange(n: int, like: Any) -> Any:
    return tf.range(n)


def cast(x: Any, dtype: str) -> Any:
    return tf.cast(x, dtype)


def rounded(x: Any, like: Any) -> Any:
    """A blend of two values cannot leave their range."""
    return tf.cast(tf.round(x) if is_integer(like) else x, like.dtype)


def take(x: Any, index: Any) -> Any:
    return tf.gather(x, index)


def take_along(x: Any, index: Any, axis: int) -> Any:
    cells = tf.reshape(index, [tf.shape(index)[0], index.shape[axis]])
    return tf.gather(x, cells, axis=axis, batch_dims=1)


def where(condition: Any, x: Any, y: Any) -> Any:
    return tf.where(condition, x, y)


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return tf.reshape(x, shape)


def transpose(x: Any, axes: Sequence[int]) -> Any:
    return tf.transpose(x, axes)


def stack(rows: Any) -> Any:
    return tf.stack(list(rows))


def soft(ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """Two one-hot rows by their weights; the graph checks what the host could not see."""
    for seen in map(on_host, (ids,) if other is ids else (ids, other)):
        if seen is not None and not host.known(seen, classes):
            return None
    partners = tf.cast(take(other, array(partner, ids)), tf.int64)
    ids, lam = tf.cast(ids, tf.int64), array(lam, ids)
    checks = []
    if traced(ids):
        known = (ids >= 0) & (ids < classes) & (partners >= 0) & (partners < classes)
        message = f"mix_labels: ids are 0..{classes - 1}"
        checks = [tf.debugging.Assert(tf.reduce_all(known), [message, ids])]
        # XLA leaves assertions out: there a loss of NaN is the one way to tell
        lam = tf.where(known, lam, np.float32(np.nan))
    with tf.control_dependencies(checks):
        return _soft(classes, off, on)(ids, partners, lam)


@cache
def _soft(classes: int, off: float, on: float) -> Any:
    """`soft` for one number of classes and one smoothing, in one pass."""

    def soft(ids: Any, partners: Any, lam: Any) -> Any:
        own, others = (tf.one_hot(y, classes, dtype=tf.float32) for y in (ids, partners))
        return own * (lam[:, None] * on) + others * ((1 - lam[:, None]) * on) + off

    return tf.function(soft, jit_compile=True, autograph=False, reduce_retracing=True)


def log_softmax(logits: Any) -> Any:
    return tf.nn.log_softmax(promoted(logits, logits)[0])


def log_sigmoid(logits: Any) -> Any:
    return tf.math.log_sigmoid(promoted(logits, logits)[0])


def sum(x: Any) -> Any:
    return tf.reduce_sum(x, -1)


def mean(x: Any) -> Any:
    return tf.reduce_mean(x)


def promoted(x: Any, y: Any) -> tuple[Any, Any]:
    """The wider, at least float32: TensorFlow itself never converts."""
    wide = tf.float64 if tf.float64 in (x.dtype, y.dtype) else tf.float32
    return tf.cast(x, wide), tf.cast(y, wide)
