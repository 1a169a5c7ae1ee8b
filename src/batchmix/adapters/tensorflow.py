"""TensorFlow: plans as arguments of `tf.function`, and mixing inside a `tf.data` pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import batchmix as bm

__all__ = ["MixBatches"]


class MixBatches:
    """Mix the batches of a `tf.data.Dataset`, each by its number, with ``dataset.apply``.

    The plan of a batch depends on (seed, epoch, index of the batch, rank) alone, so the result is
    the same for any number of parallel calls, and a run replays. Each new pass over the data is the
    next epoch, as in ``model.fit(data, epochs=3)``; it begins when its first batch is asked for. A
    data set that was repeated before is one long pass.

    Args:
      mix: a `batchmix.Mixer`, or another callable that takes a batch of tensors, and tensors as
        `step` and `epoch`.
      two_streams: elements are pairs (batch, other) of a zipped data set; `other` gives the
        partners.
      num_parallel_calls: how many batches are mixed at the same time; they stay in order.

    Example:
      >>> import numpy as np, tensorflow as tf, batchmix as bm
      >>> from batchmix.fields import Image, Labels
      >>> mixer = bm.Mixer(bm.policies.MixUp(), {0: Image("NHWC"), 1: Labels(10)}, seed=0)
      >>> data = tf.data.Dataset.from_tensor_slices((np.zeros((8, 4, 4, 3)), np.arange(8)))
      >>> data.batch(4).apply(MixBatches(mixer)).element_spec[1].shape.as_list()
      [None, 10]

    Differs from: with parallel calls, `map` with Keras' MixUp or CutMix gives other mixes in each
    run, also with a seed.
    """

    def __init__(
        self,
        mix: Callable[..., Any],
        *,
        two_streams: bool = False,
        num_parallel_calls: int = tf.data.AUTOTUNE,
    ) -> None:
        self.mix, self.two_streams = mix, two_streams
        self.num_parallel_calls = num_parallel_calls
        self._next = 0
        self._lock = threading.Lock()

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """`dataset` with mixed batches; its element_spec is known before it runs."""

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def numbered(epoch: Any, numbered: Any) -> tuple[Any, Any]:
            # each pass begins with epoch -1: the host is asked once, at its first batch
            epoch = tf.cond(epoch < 0, self._begin, lambda: epoch)
            return epoch, (epoch, *numbered)

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def mixed(epoch: Any, step: Any, batch: Any) -> Any:
            if self.two_streams:
                return self.mix(batch[0], step=step, epoch=epoch, other=batch[1])
            return self.mix(batch, step=step, epoch=epoch)

        counted = dataset.enumerate().scan(np.int64(-1), numbered)
        return counted.map(mixed, num_parallel_calls=self.num_parallel_calls, deterministic=True)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, from 0: to resume, or to repeat an epoch."""
        with self._lock:
            self._next = int(epoch)

    def _begin(self) -> Any:
        """The number of a pass that begins now: the graph asks the host when it runs."""

        def count() -> np.int64:
            with self._lock:
                self._next += 1
                return np.int64(self._next - 1)

        epoch = tf.numpy_function(count, [], tf.int64)
        epoch.set_shape([])
        return epoch


def _flatten(plan: bm.Plan) -> tuple[Any, tuple[Any, ...]]:
    """(What a trace is made for, what may differ from call to call.)"""
    columns = plan.columns()
    return (plan.axes, plan.size, tuple(columns)), tuple(columns.values())


def _unflatten(kind: Any, columns: tuple[Any, ...]) -> bm.Plan:
    """A plan of arrays or tensors; they were checked when the plan was first made."""
    axes, size, names = kind
    return bm.Plan.unchecked(axes=axes, size=size, **dict(zip(names, columns)))


# these names tell tf.nest, and so tf.function, that a plan is a structure of tensors; they are set
# here and not in Plan, which knows no framework
bm.Plan.__tf_flatten__ = _flatten  # type: ignore[attr-defined]
bm.Plan.__tf_unflatten__ = staticmethod(_unflatten)  # type: ignore[attr-defined]
