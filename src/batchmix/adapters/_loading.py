"""What the loaders of PyTorch share: numbered batches, and a collate function that mixes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, default_collate

import batchmix as bm
from batchmix.extend import Untold, checked_epoch, get_at, mix_error, path_of, replaced_at
from batchmix.fields import Grid


class Numbered:
    """The batches of a loader, each a list of (key, index), one for each row.

    Every index has the key beside it, so that hosts may cut batches and join them.
    The number of a pass is told by `set_epoch`, of this object or of a sampler, or follows a pass
    that ran to its end; after one that did not it is `Untold`.

    Args:
      batches: a batch sampler; with `batch_size` a sampler, as hosts make it anew with their own.
      seed: of the run, for the keys and the order.
      shuffled: the sampler's order is to follow from seed and epoch; it is that of every rank.
    """

    def __init__(
        self,
        batches: Any,
        batch_size: int | None = None,
        drop_last: bool = False,
        *,
        seed: int = 0,
        shuffled: bool = False,
    ) -> None:
        if batch_size is not None:
            batches = BatchSampler(batches, batch_size, drop_last)
        self.batches, self.seed, self.shuffled = batches, seed, shuffled
        if type(batches) is BatchSampler:  # one of your own cannot be made anew from these
            self.batch_size, self.drop_last = batches.batch_size, batches.drop_last
        self.epoch: int = 0  # of the next pass, which begins after the first `skip` batches
        # of samplers: a pass that was broken off, a look at a batch, is not to part the ranks
        self.order = 0
        self.skip = 0
        self.at: list[int] | None = None  # epoch and step of the pass that goes on
        self.resumed: tuple[int, int] | None = None  # where it is to go on, until it has
        self.seen = [0 if hasattr(each, "epoch") else None for each in self._choosers()]

    @property
    def sampler(self) -> Any:
        """The sampler, as hosts look for it."""
        return Told(self)

    @sampler.setter
    def sampler(self, sampler: Any) -> None:
        self.batches.sampler, self.shuffled = sampler, False
        self._tell(self.order)

    def _choosers(self) -> list[Any]:
        both = self.batches, getattr(self.batches, "sampler", None)
        return [chooser for chooser in both if hasattr(chooser, "set_epoch")]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        # a DataLoader makes two iterators and starts one; a generator's body runs when it starts
        epoch, skip = self.next()
        self._tell(self.order)
        self.epoch, self.skip = Untold(epoch + 1), 0
        key = bm.Key(self.seed, epoch)
        if self.shuffled:  # made here, as a generator cannot be sent to a process
            drawn = int(np.random.SeedSequence(key).generate_state(1)[0])
            self.batches.sampler.generator = torch.Generator().manual_seed(drawn)
        for step, rows in enumerate(self.batches):
            if step >= skip:
                at = key._replace(step=step)
                yield [(at, row) for row in rows]

    def next(self) -> tuple[int, int]:
        """Epoch and first step of the next pass."""
        for chooser, was in zip(self._choosers(), self.seen):
            now: Any = getattr(chooser, "epoch", None)
            if now != was:  # it was told, and not by this object
                self.set_epoch(now)
        if self.resumed and self.epoch == self.resumed[0] + 1:
            raise mix_error(
                "MixLoader", "the pass that went on at (epoch, step) = "
                f"{self.resumed} was broken off, and another one begins.",
                "Nobody can tell whether it was only a look at a batch.",
                f"Call set_epoch({self.resumed[0]}) to go on there, or set_epoch of another epoch.",
            )  # fmt: skip
        return self.epoch, self.skip

    def ended(self, at: list[int]) -> None:
        """All batches of the pass at `at` were given out: the next one is the next epoch."""
        if self.at is at:  # once, and not where another pass was begun or told
            self.at = self.resumed = None
            self.order += 1
            self.epoch = type(at[0])(at[0] + 1)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass; the one that is to go on keeps its place."""
        epoch = checked_epoch(epoch, "set_epoch()")
        if self.resumed and epoch < self.resumed[0]:
            raise mix_error(
                "set_epoch()", f"got epoch={epoch}; a state of epoch {self.resumed[0]} was loaded.",
                "A run goes on where it was.", "Begin at that epoch, or make the loader anew.",
            )  # fmt: skip
        if self.resumed and epoch > self.resumed[0]:
            self.resumed = None
        self.epoch, self.order, self.at = epoch, int(epoch), None
        self.skip = self.resumed[1] if self.resumed else 0
        self._tell(epoch)

    def _tell(self, epoch: int) -> None:
        for chooser in self._choosers():
            chooser.set_epoch(int(epoch))
        self.seen = [getattr(chooser, "epoch", None) for chooser in self._choosers()]


class Told:
    """The sampler of a loader, whose `set_epoch` reaches the numbers of the batches too."""

    def __init__(self, numbered: Numbered) -> None:
        self.numbered = numbered

    @property
    def sampler(self) -> Any:
        return getattr(self.numbered.batches, "sampler", ())

    @property  # type: ignore[misc]  # hosts ask whether it is a DistributedSampler
    def __class__(self) -> Any:
        return type(self.sampler)

    def __reduce__(self) -> Any:
        return Told, (self.numbered,)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def set_epoch(self, epoch: int) -> None:
        self.numbered.set_epoch(epoch)


class Indexed:
    """A data set that returns the key of a batch along with its rows."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, rows: list[Any]) -> list[Any]:
        first = rows[0] if rows else None
        numbered = isinstance(first, tuple) and isinstance(first[0], bm.Key)
        key, at = (rows[0][:1], [row for _, row in rows]) if numbered else ((), rows)
        if hasattr(self.dataset, "__getitems__"):
            return [*key, *self.dataset.__getitems__(at)]
        return [*key, *(self.dataset[row] for row in at)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of this object, while it is copied
            raise AttributeError(name)
        return getattr(self.dataset, name)


class Collate:
    """Makes a mixed batch of ``[key, *rows]``.

    What PyTorch's own function would stack is mixed while it is stacked, or in place. What yours
    returns may be memory of the data set, and is written to only if the mixer says so.
    """

    def __init__(self, mixer: bm.Mixer, collate: Any = None) -> None:
        self.collate = collate or default_collate
        own = self.collate is default_collate
        self.stacked = {
            path: _Stacked(f)
            for path, f in mixer.fields.items()
            if own and isinstance(f, Grid) and type(f).__call__ is Grid.__call__
        }
        fields = mixer.fields | self.stacked
        self.mixer = mixer.but(fields=fields, inplace=own or mixer.inplace)

    def __call__(self, numbered: list[Any]) -> Any:
        key, *rows = numbered
        images, rest = {}, rows
        for path in self.stacked:
            found = [get_at(row, path_of(path)) for row in rows]
            if isinstance(found[0], np.ndarray | torch.Tensor):
                images[path] = _Unstacked(found)
                rest = [replaced_at(row, path_of(path), 0) for row in rest]
        batch = self.collate(rest)
        for path, unstacked in images.items():
            batch = replaced_at(batch, path_of(path), unstacked)
        if isinstance(self.mixer.seed, Untold) and self.mixer.seed != key.seed:  # of a state
            self.mixer = self.mixer.but(seed=Untold(key.seed))
        return self.mixer(batch, step=key.step, epoch=key.epoch)


class _Unstacked:
    """Arrays of single rows, with the shape of their batch."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows, self.shape = rows, (len(rows), *rows[0].shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """For a policy that looks at them."""
        return np.stack([np.asarray(row) for row in self.rows]).astype(dtype, copy=False)


class _Stacked(Grid):
    """A grid of rows that are mixed while they are stacked."""

    def __init__(self, field: Grid) -> None:
        super().__init__(field.layout)
        # policies find it by the name that it had
        object.__setattr__(self, "hint", getattr(field, "hint", None))

    def __call__(self, value: Any, plan: bm.Plan, other: Any = None, out: Any = None) -> Any:
        if not isinstance(value, _Unstacked):
            return super().__call__(value, plan, other, out)
        return torch.as_tensor(bm.mix_stack(value.rows, plan, self.layout))


def as_given(dataset: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a loader that a host makes anew from what it finds in the first one."""
    for name, kind, inside in (
        ("batch_sampler", Numbered, "batches"), ("collate_fn", Collate, "collate")
    ):  # fmt: skip
        if isinstance(options.get(name), kind):
            options[name] = getattr(options[name], inside)
    return dataset.dataset if type(dataset) is Indexed else dataset, options
