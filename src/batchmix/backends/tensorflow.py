"""TensorFlow tensors: the formula, compiled by XLA into one pass, eager or inside a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import _generic
from batchmix.backends import numpy as host

_THIS = sys.modules[__name__]
_READ = ("partner", "opacity", "box", "mask", "source")  # the columns that pixels depend on


def paste(x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
    """The formula, compiled; what a static shape leaves open is asserted in the graph."""
    plan = _in_order(plan, layout)
    columns = {name: getattr(plan, name) for name in _READ}
    columns = {name: array(value, x) for name, value in columns.items() if value is not None}
    # XLA has no strings
    pasted = _pasted(plan.axes, plan.size, layout, x.dtype != tf.string)
    if tf.executing_eagerly():  # every size is known, and was checked
        return pasted(x, other, columns)
    with tf.control_dependencies(_shape_assertions(x, other, columns["partner"])):
        return tf.ensure_shape(pasted(x, other, columns), x.shape)


@cache
def _pasted(axes: str, size: tuple[int, ...], layout: str, xla: bool) -> Any:
    """`paste` for one form of plans; XLA compiles it for each shape and dtype that it meets."""

    def pasted(x: Any, other: Any, columns: dict[str, Any]) -> Any:
        plan = Plan.unchecked(axes=axes, size=size, **columns)
        compute = host._COMPUTE.get(x.dtype.name)
        mixed = _generic.paste_flat(_THIS, x, other, plan, layout, compute)
        # half to even; a blend of two values cannot leave their range
        mixed = tf.round(mixed) if is_integer(x) and mixed.dtype.is_floating else mixed
        return tf.cast(mixed, x.dtype)

    # without XLA each operation of the formula is a pass over the batch, ten times as slow
    return tf.function(pasted, jit_compile=xla, autograph=False, reduce_retracing=True)


def _in_order(plan: Plan, layout: str) -> Plan:
    """The same plan with the axes of its mask in the order of the layout."""
    order = sorted(range(len(plan.axes)), key=lambda k: layout.index(plan.axes[k]))
    if plan.mask is None or order == list(range(len(order))):
        return plan
    columns = dict(vars(plan)) | {
        "mask": tf.transpose(plan.mask, [0, *(k + 1 for k in order)]),
        "box": tf.gather(plan.box, order, axis=1),
        "axes": "".join(plan.axes[k] for k in order),
        "size": tuple(plan.size[k] for k in order),
    }
    if plan.source is not None:
        columns["source"] = tf.gather(plan.source, order, axis=1)
    return Plan.unchecked(**columns)


def _shape_assertions(x: Any, other: Any, partner: Any) -> list[Any]:
    """Run in the graph where sizes were not known before it; XLA leaves assertions out."""
    found = []
    if None in (x.shape[0], partner.shape[0]):
        rows = tf.shape(x)[0], tf.shape(partner)[0]
        found.append(tf.debugging.assert_equal(*rows, "mix: x has other rows than the plan"))
    if other is not x and None in (*x.shape, *other.shape):
        shapes = tf.shape(x), tf.shape(other)
        found.append(tf.debugging.assert_equal(*shapes, "mix: other is not shaped like x"))
    return [check for check in found if check is not None]


def mix_rows(rows: Any, plan: Plan, layout: str, out: Any) -> Any:
    """Stacked first."""
    stacked = tf.stack(list(rows))
    return paste(stacked, stacked, plan, layout, None)


def widen(rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any) -> Any:
    """The formula on the whole batch."""
    x = tf.cast(tf.stack(list(rows)), tf.float32)
    x = (paste(x, x, plan, "NHWC", None) - mean) / std
    return tf.cast(tf.transpose(x, [0, 3, 1, 2]), dtype)


def drawn(make: Callable[..., Plan], numbers: list[Any], rows: int | None, x: Any) -> Plan:
    """The plan that ``make(*numbers, rows)`` draws on the host each time the graph runs."""
    # which columns a policy fills does not depend on the key: learnt once, while tracing
    first = make(*(0 if traced(n) else n for n in numbers), rows or 0)
    columns = first.columns()

    def on_host(*numbers: Any) -> list[Any]:
        found = make(*map(int, numbers)).columns()
        if found.keys() != columns.keys():
            raise mix_error(
                "Mixer", f"a plan has {list(found)}; the one drawn while tracing {list(columns)}.",
                "In a graph all plans of a policy have the same arrays.",
                "Draw outside and pass the plan: mixer.apply(batch, plan).",
            )  # fmt: skip
        return list(found.values())

    inputs = [*numbers, tf.shape(x)[0] if rows is None else rows]
    dtypes = [column.dtype for column in columns.values()]
    # not stateful: it depends on its inputs alone
    arrays = tf.numpy_function(on_host, inputs, dtypes, stateful=False)
    for column, array in zip(columns.values(), arrays):
        array.set_shape([rows, *column.shape[1:]])
    return Plan.unchecked(axes=first.axes, size=first.size, **dict(zip(columns, arrays)))


def traced(x: Any) -> bool:
    """Whether the tensor stands for values that the graph will have."""
    return bool(tf.is_symbolic_tensor(x))


def writable(out: Any) -> bool:
    """No tensor is, and the way to save memory is another one."""
    raise mix_error(
        "mix", "`out` is a TensorFlow tensor.", "Tensors cannot be written to.",
        "Leave `out` out; inside tf.function TensorFlow reuses the memory of x where it can.",
    )  # fmt: skip


def blendable(x: Any) -> bool:
    """Whether the dtype can be averaged."""
    return host.blendable(x)


def is_integer(y: Any) -> bool:
    """Integers and booleans."""
    return bool(y.dtype.is_integer or y.dtype.is_bool)


def on_host(y: Any) -> Any:
    """The values of an eager tensor on the host."""
    return None if traced(y) or "CPU" not in y.device else y.numpy()


def to_numpy(x: Any) -> Any:
    """float64, or integers as they are."""
    return (x if is_integer(x) else tf.cast(x, tf.float64)).numpy()


def array(value: Any, like: Any) -> Any:
    """A tensor; it goes to the device of the operation that reads it."""
    # tf.constant is the quicker one, and takes no tensors in a graph
    return tf.constant(value) if isinstance(value, np.ndarray) else tf.convert_to_tensor(value)


def arange(n: int, like: Any) -> Any:
    """0 .. n-1."""
    return tf.range(n)


def cast(x: Any, dtype: str) -> Any:
    """As it is where the dtype is right already."""
    return tf.cast(x, dtype)


def take(x: Any, index: Any) -> Any:
    """Rows of x."""
    return tf.gather(x, index)


def take_along(x: Any, index: Any, axis: int) -> Any:
    """x at index[row, ..., cell, ...] on one axis; `index` broadcasts over the others."""
    cells = tf.reshape(index, [tf.shape(index)[0], index.shape[axis]])
    return tf.gather(x, cells, axis=axis, batch_dims=1)


where, reshape = tf.where, tf.reshape


def soft(ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
    """Two one-hot rows by their weights; the graph checks what the host could not see."""
    ids, partners = tf.cast(ids, tf.int64), tf.cast(partners, tf.int64)
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


def promoted(x: Any, y: Any) -> tuple[Any, Any]:
    """Both in the wider of the two dtypes, at least float32: TensorFlow itself never converts."""
    wide = tf.float64 if tf.float64 in (x.dtype, y.dtype) else tf.float32
    return tf.cast(x, wide), tf.cast(y, wide)


def log_softmax(logits: Any) -> Any:
    """Over the last axis, in float32 at least."""
    return tf.nn.log_softmax(promoted(logits, logits)[0])


def log_sigmoid(logits: Any) -> Any:
    """Elementwise, in float32 at least."""
    return tf.math.log_sigmoid(promoted(logits, logits)[0])


def total(x: Any) -> Any:
    """Sum over the last axis."""
    return tf.reduce_sum(x, -1)


def mean(x: Any) -> Any:
    """Over everything."""
    return tf.reduce_mean(x)
