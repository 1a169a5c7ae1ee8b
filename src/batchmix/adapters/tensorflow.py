"""TensorFlow: plans as arguments of `tf.function`, and mixing inside a `tf.data` pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import batchmix as bm
from batchmix.adapters._epochs import checked_length
from batchmix.extend import Untold, checked_epoch, mix_error, mixer_of

__all__ = ["MixBatches"]


class MixBatches:
    """Mix the batches of a `tf.data.Dataset`, each by its number, with ``dataset.apply``.

    The plan of a batch depends on (seed, epoch, index of the batch, rank) alone, so the result is
    the same for any number of parallel calls, and a run replays. Each new pass over the data is the
    next epoch; it begins when its first batch is asked for, so a look at one batch is a pass too.
    `set_epoch` tells which epoch the next pass is; in Keras' `fit` a `TellEpoch` of
    `batchmix.adapters.keras` does.

    A data set that was repeated before is one long pass, whose epochs nobody knows without
    `steps_per_epoch`.

    Args:
      mixer: a `batchmix.Mixer`, or another callable that takes a batch of tensors, and numbers or
        tensors as `step` and `epoch`, such as a `MixLayer`.
      two_streams: elements are pairs (batch, other) of a zipped data set; `other` gives the
        partners.
      num_parallel_calls: how many batches are mixed at the same time; they stay in order.
      steps_per_epoch: batches per epoch, where the data set was repeated before.

    Raises:
      MixError: `steps_per_epoch` is not an integer >= 1. When it is applied: a field that is
        missing or does not fit; a policy that looks at the epoch of a data set that was repeated.

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
        mixer: Callable[..., Any],
        *,
        two_streams: bool = False,
        num_parallel_calls: int = tf.data.AUTOTUNE,
        steps_per_epoch: int | None = None,
    ) -> None:
        if isinstance(mixer, bm.Mixer | type) or hasattr(mixer, "sample") or not callable(mixer):
            mixer, _ = mixer_of("MixBatches", mixer)
        self.mixer, self.two_streams = mixer, two_streams
        self.num_parallel_calls = num_parallel_calls
        self.steps_per_epoch = checked_length("MixBatches", steps_per_epoch)
        self._next, self._is_told, self._has_begun = 0, False, False
        self._lock = threading.Lock()

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """`dataset` with mixed batches; its element_spec is known before it runs."""
        length = np.int64(self.steps_per_epoch or np.iinfo(np.int64).max)
        endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
        several_epochs = self.steps_per_epoch is None and (endless or _is_repeated(dataset))

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def numbered(epoch: Any, element: Any) -> tuple[Any, Any]:
            index, batch = element
            epoch = tf.cond(index % length == 0, lambda: self._after(epoch), lambda: epoch)
            return epoch, (epoch, index % length, batch)

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def mixed(epoch: Any, step: Any, batch: Any) -> Any:
            if several_epochs:  # then this is the number of a pass, and steps tell passes apart
                epoch, step = Untold(0), epoch * 2**32 + step
            if self.two_streams:
                return self.mixer(batch[0], step=step, epoch=epoch, other=batch[1])
            return self.mixer(batch, step=step, epoch=epoch)

        counted = dataset.enumerate().scan(np.int64(-1), numbered)
        return counted.map(mixed, num_parallel_calls=self.num_parallel_calls, deterministic=True)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, from 0: to resume, or to repeat an epoch.

        Raises:
          MixError: no integer >= 0; the next epoch, where no pass began in the one before it.
        """
        epoch = checked_epoch(epoch, "MixBatches")
        with self._lock:
            waiting = self._is_told and self._has_begun and self.steps_per_epoch is None
            if waiting and epoch == self._next + 1 > 1:  # 0 may be told before any pass
                raise mix_error(
                    "MixBatches", f"is told epoch {epoch}; no pass began in epoch {self._next}.",
                    "A pass over the data that goes on for several epochs has one number.",
                    "Pass steps_per_epoch=, or let each epoch be one pass over the data.",
                )  # fmt: skip
            self._next, self._is_told = epoch, True

    def _after(self, epoch: Any) -> Any:
        """The epoch after this one, or after those of other passes where -1 begins a pass."""

        def count(epoch: Any) -> np.int64:
            with self._lock:
                begins, self._has_begun = epoch < 0, True
                number = self._next if begins else int(epoch) + 1
                if begins or not self._is_told:  # an old pass that reads ahead tells nobody else
                    self._next, self._is_told = number + 1, False
                return np.int64(number)

        following = tf.numpy_function(count, [epoch], tf.int64)  # when the graph runs
        following.set_shape([])
        return following


def _is_repeated(dataset: tf.data.Dataset) -> bool:
    """Whether a pass over it may be several over the data; a zip ends with the shortest part."""
    name, parts = type(dataset).__name__, map(_is_repeated, dataset._inputs())
    return "Repeat" in name or (all(parts) if "Zip" in name else any(parts))


def _flatten(plan: bm.Plan) -> tuple[Any, tuple[Any, ...]]:
    """(What a trace is made for, what may differ from call to call.)"""
    columns = plan.columns()
    return (tuple(plan.form.items()), tuple(columns)), tuple(columns.values())


def _unflatten(kind: Any, columns: tuple[Any, ...]) -> bm.Plan:
    """A plan of arrays or tensors; they were checked when the plan was first made."""
    form, names = kind
    return bm.Plan.unchecked(**dict(form), **dict(zip(names, columns)))


# these names tell tf.nest, and so tf.function, that a plan is a structure of tensors; they are set
# here and not in Plan, which knows no framework
bm.Plan.__tf_flatten__ = _flatten  # type: ignore[attr-defined]
bm.Plan.__tf_unflatten__ = staticmethod(_unflatten)  # type: ignore[attr-defined]
