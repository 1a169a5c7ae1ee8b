"""What `fit` of Keras needs to train each epoch with its own plans: batches, and who tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

import batchmix as bm
from batchmix.adapters._logged import Logged
from batchmix.extend import Untold, checked_epoch, mix_error, mixer_of

__all__ = ["MixDataset", "TellEpoch"]


class MixDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of a `PyDataset`, mixed by the epoch that is trained and by their index.

    ``model.fit(data, callbacks=[TellEpoch(data)])`` trains epoch e with the plans of
    ``Key(seed, e, index, rank)``, whatever `initial_epoch` and however many workers read. Keras
    reads batches before the first epoch, and its workers carry some over into the next one; so
    what they read is mixed where it leaves Keras' queue. Without `TellEpoch` each pass has mixes of
    its own, and a policy that looks at the epoch is refused.

    Args:
      dataset: whose batches are tuples or lists, such as (images, labels), and whose threads read.
      mix: a `MixLayer`, or a `batchmix.Mixer` with fields.

    Raises:
      MixError: `use_multiprocessing`; at the first batch, one that is no tuple or list, or does not
        fit.

    Example:
      >>> import numpy as np
      >>> from batchmix.adapters.keras import MixLayer
      >>> from batchmix.policies import MixUp
      >>> class Batches(keras.utils.PyDataset):
      ...     def __len__(self):
      ...         return 2
      ...     def __getitem__(self, index):
      ...         return np.zeros((4, 8, 8, 3)), np.arange(4)
      >>> data = MixDataset(Batches(workers=2), MixLayer(MixUp(), classes=4, seed=0))
      >>> x, y = data[1]
      >>> y.shape
      (4, 4)
    """

    def __init__(self, dataset: Any, mix: Callable[..., Any]) -> None:
        if not isinstance(dataset, keras.utils.PyDataset):
            raise mix_error(
                "MixDataset", f"got a {type(dataset).__name__} for the data set.",
                "It mixes the batches of a keras.utils.PyDataset.", "Pass MixDataset(data, mix).",
            )  # fmt: skip
        if dataset.use_multiprocessing:
            raise mix_error(
                "MixDataset", "the data set has use_multiprocessing=True.",
                "Batches are mixed in this process, which knows the epoch.",
                "Leave it out: workers=2 are threads then.",
            )  # fmt: skip
        super().__init__(dataset.workers, False, dataset.max_queue_size)
        if isinstance(mix, bm.Mixer | type) or hasattr(mix, "sample") or not callable(mix):
            mix, _ = mixer_of("MixDataset", mix)
        self.dataset, self.mix = dataset, mix
        self.logged: Logged | None = None  # of each batch, where it is wanted
        self.epoch: int = Untold(0)
        self._is_told = False

    @property
    def num_batches(self) -> int | None:
        """Those of the data set."""
        count: int | None = self.dataset.num_batches
        return count

    def __getitem__(self, index: int) -> list[Any]:
        """The batch at `index`, of the epoch in which it is looked at."""
        batch = self.dataset[index]
        if not isinstance(batch, tuple | list):
            raise mix_error(
                "MixDataset", f"batch {index} is a {type(batch).__name__}.",
                "It mixes tuples and lists of arrays.", "Return (x, y) from `__getitem__`.",
            )  # fmt: skip
        return _Later(lambda: self._mixed(batch, index))

    def _mixed(self, batch: Any, index: int) -> Any:
        mixed = self.mix(batch, step=index, epoch=self.epoch)
        if self.logged is not None:
            mixer: Any = getattr(self.mix, "mixer", self.mix)
            self.logged.add(mixer.summary())
        return mixed

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is, an integer >= 0."""
        self.epoch, self._is_told = checked_epoch(epoch, "MixDataset"), True

    def on_epoch_begin(self) -> None:
        """Begin a pass; Keras calls it, also for the batches that it looks at before."""
        if not self._is_told:
            self.epoch = Untold(self.epoch + 1)
        self._is_told = False
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """End a pass; Keras calls it."""
        self.dataset.on_epoch_end()


class _Later(list[Any]):
    """A batch that is mixed where Keras makes a tuple of it: after its queue, in its order."""

    def __init__(self, mixed: Callable[[], Any]) -> None:
        super().__init__()
        self.mixed = mixed

    def __iter__(self) -> Iterator[Any]:
        return iter(self.mixed())


class TellEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tell which epoch is trained: ``model.fit(data, callbacks=[TellEpoch(data)])``.

    Args:
      told: what has `set_epoch`: `MixDataset`, and `MixBatches` and `MixLoader` of
        `batchmix.adapters`; `MixLayer` and `Mixer` only where nothing reads ahead, as the workers
        of a `PyDataset` do. What Keras reads before the first epoch, to know its form, is of
        epoch 0.
      log: add what was done to the logs of training, for the progress bar, the history, and the
        callbacks that come after this one: the mean of `Mixer.summary` over the batches of the
        epoch so far, of which Keras may have read some ahead. Of one `MixDataset`.

    Raises:
      MixError: nothing to tell, or something without `set_epoch`; with `log`, anything but one
        `MixDataset` of a `MixLayer` or a `Mixer`.

    Example:
      >>> mixer = bm.Mixer(bm.policies.MixUp(), {0: bm.fields.Image("NHWC")})
      >>> TellEpoch(mixer).on_epoch_begin(3)
      >>> mixer.epoch
      3
    """

    async_safe = True  # it reads numbers alone, so Keras need not wait for each batch

    def __init__(self, *told: Any, log: bool = False) -> None:
        super().__init__()
        if not told or any(isinstance(t, type) or not hasattr(t, "set_epoch") for t in told):
            raise mix_error(
                "TellEpoch", f"got {told!r}.", "It tells the epoch to what has `set_epoch`.",
                "Pass the MixDataset, MixBatches or MixLoader that is fitted.",
            )  # fmt: skip
        self.told, self.logged = told, _logged_of(told) if log else Logged()
        self.on_epoch_begin(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for one in self.told:
            one.set_epoch(epoch)
        self.logged.clear()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs is not None:
            logs.update(self.logged.mean())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs.update(self.logged.mean())


def _logged_of(told: tuple[Any, ...]) -> Logged:
    """To which the one MixDataset adds what was done to each batch."""
    data = told[0]
    known = len(told) == 1 and isinstance(data, MixDataset)
    if not known or not hasattr(getattr(data.mix, "mixer", data.mix), "summary"):
        raise mix_error(
            "TellEpoch", f"got log=True and {', '.join(type(one).__name__ for one in told)}.",
            "Workers, graphs and functions of your own do not tell what they did; a MixDataset "
            "of a MixLayer or a Mixer does.", "Pass TellEpoch(MixDataset(data, mix), log=True).",
        )  # fmt: skip
    data.logged = logged = Logged()
    return logged
