"""Lightning: mixing as a callback of the Trainer. With Fabric, `batchmix.Mixer` is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

import batchmix as bm
from batchmix.extend import get_at, mix_error, mixer_of, path_of

__all__ = ["MixCallback"]


class MixCallback(Callback):  # type: ignore[misc]
    """Mix each training batch on its device, before any `on_train_batch_start`.

    The plan is that of ``Key(seed, trainer.current_epoch, batch_idx, trainer.global_rank)``:
    processes draw different mixes, a run replays, and one that is resumed in the middle of an epoch
    goes on where it was. Batches of validation, sanity check, test and prediction are not touched.
    Mixing comes after all transfer hooks of the module and the data module.

    Args:
      mixer: a `batchmix.Mixer`, which says what is mixed and how. With several loaders ("a", 0) is
        the first part of the batch of loader "a". A rank that was given is kept.
      log: call the module's `log` with what was done to each batch, `Mixer.summary`; the progress
        bar has "mix/lam" of it. Of several of these callbacks let one log: the names are the same.

    Raises:
      MixError: no mixer; a training loader that mixes the same fields itself; at the first batch,
        a field that is missing or does not fit; a `training_step` that takes the iterator of the
        loader, so that batches cannot be mixed.

    Example:
      >>> from batchmix.fields import Image, Labels
      >>> from batchmix.policies import CutMix
      >>> mixer = bm.Mixer(CutMix(1.0), {0: Image("NCHW"), 1: Labels(10)}, seed=0)
      >>> mix = MixCallback(mixer)
      >>> mix.state_dict()
      {'seed': 0}

    Differs from: assigning to `batch` in `on_train_batch_start` is without effect in Lightning, and
    `on_after_batch_transfer` is no hook of callbacks and runs in validation too.
    """

    def __init__(self, mixer: bm.Mixer, *, log: bool = False) -> None:
        self.mixer = mixer_of("MixCallback", mixer)[0].but()
        self._logs = log  # Lightning gives each callback the module's `log` as an attribute
        self._summary: dict[str, float] = {}
        self._transfer: _Transfer | None = None
        self._mixed_last: tuple[int, int] | None = None

    @property
    def state_key(self) -> str:
        """One key per set of fields, so that a trainer may have several of these callbacks."""
        return str(self._generate_state_key(fields=list(self.mixer.fields)))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wrap strategy.batch_to_device so that batches are mixed after it, while fitting only."""
        if stage != "fit":
            return
        rank = trainer.global_rank if self.mixer.rank is None else self.mixer.rank

        def mixed(batch: Any) -> Any:
            if not trainer.training or batch is None:  # None: Lightning's sign for a skipped batch
                return batch
            fields = {at: f for at, f in self.mixer.fields.items() if _is_there(batch, path_of(at))}
            epoch = trainer.current_epoch
            step = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self._mixed_last = epoch, step
            mixer = self.mixer.but(fields=fields, rank=rank)
            batch = mixer(batch, step=step, epoch=epoch) if fields else batch
            self._summary = mixer.summary() if self._logs and fields else {}
            return batch

        self._transfer = _Transfer(trainer.strategy, mixed)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what a loader has mixed: labels of a second mix would not match."""
        twice = {path_of(at) for at in self.mixer.fields} & set(_mixed(trainer.train_dataloader))
        if twice:
            raise mix_error(
                "MixCallback", f"the training loader mixes {sorted(twice, key=str)} already.",
                "A batch is mixed once: a second mix cannot know what the first one covered.",
                "Take this callback out, or pass a plain DataLoader.",
            )  # fmt: skip

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log what was done; an error where Lightning did not transfer this batch itself."""
        if self._mixed_last != (trainer.current_epoch, batch_idx):
            raise mix_error(
                "MixCallback", f"batch {batch_idx} of epoch {trainer.current_epoch} was not mixed.",
                "Batches are mixed when Lightning moves them to the device, which it does not do "
                "for a training_step(self, dataloader_iter).",
                "Take (self, batch, batch_idx), or call a batchmix.Mixer in training_step.",
            )  # fmt: skip
        for name, value in self._summary.items():
            pl_module.log(name, value, prog_bar=name == "mix/lam")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Undo `setup`."""
        if self._transfer is not None:
            self._transfer.end()
        self._transfer = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Undo `setup`, as Lightning does not call `teardown` after an exception."""
        self.teardown(trainer, pl_module, "fit")

    def state_dict(self) -> dict[str, Any]:
        """The seed; Lightning's checkpoint has epoch and batch already."""
        return {"seed": int(self.mixer.seed)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the seed of the run that is resumed, where none was given.

        Raises:
          MixError: a state of another seed.
        """
        place = {"epoch": 0, "step": 0} | state_dict
        self.mixer.load_state_dict(place)


def _is_there(batch: Any, path: tuple[Any, ...]) -> bool:
    """Whether none of the parts that a field is in is None, as a loader is that has ended."""
    return all(get_at(batch, path[:depth]) is not None for depth in range(len(path)))


def _mixed(loaders: Any) -> Iterator[tuple[Any, ...]]:
    """The paths of what is mixed before it gets here, by a loader or its collate function."""
    named: Any = [((), loaders)]
    if isinstance(loaders, Mapping):
        named = [((name,), loader) for name, loader in loaders.items()]
    elif isinstance(loaders, list | tuple):
        named = [((k,), loader) for k, loader in enumerate(loaders)]
    for prefix, loader in named:
        collate = getattr(loader, "collate_fn", None)
        for mixes in (loader, collate, getattr(collate, "mixed", None)):
            mixer = getattr(mixes, "mixer", None)
            if isinstance(mixer, bm.Mixer):
                yield from (prefix + path_of(at) for at in mixer.fields)


class _Transfer:
    """A strategy's `batch_to_device`, followed by `then(batch)`."""

    def __init__(self, strategy: Any, then: Callable[[Any], Any]) -> None:
        self.strategy, self.wrapped = strategy, strategy.batch_to_device
        self.then: Callable[[Any], Any] | None = then
        strategy.batch_to_device = self

    def __call__(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        batch = self.wrapped(batch, *args, **kwargs)
        return batch if self.then is None else self.then(batch)

    def end(self) -> None:
        """Stop calling `then`, also where another callback has wrapped this one in turn."""
        self.then = None
        if self.strategy.batch_to_device is self:
            self.strategy.batch_to_device = self.wrapped
