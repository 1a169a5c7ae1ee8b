"""What `MixLoader` and `MixCollate` share: numbered batches, and a collate function that mixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import default_collate

import batchmix as bm
from batchmix.extend import get_at, path_of, replaced_at
from batchmix.fields import Grid


class Numbered:
    """The batches of a loader, each a list of a `Key` and the indices of its rows."""

    def __init__(self, batches: Any, key: bm.Key, order: torch.Generator | None) -> None:
        self.batches, self.key, self.order = batches, key, order
        self.sampler = getattr(batches, "sampler", None)
        self.epoch = self.skip = 0  # of the next pass

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        # a DataLoader makes two iterators and starts one; a generator's body runs when it starts
        key, skip = self.key._replace(epoch=self.epoch), self.skip
        self.epoch, self.skip = self.epoch + 1, 0
        if self.order is not None:
            self.order.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        for step, rows in enumerate(self.batches):
            if step >= skip:
                yield [key._replace(step=step), *rows]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. The epoch that is set already keeps its first step."""
        if epoch != self.epoch:
            self.epoch, self.skip = int(epoch), 0
        for chooser in (self.batches, self.sampler):
            getattr(chooser, "set_epoch", lambda _: None)(epoch)


class Indexed:
    """A data set that returns the key of a batch along with its rows."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[Any]) -> list[Any]:
        key, *rows = indices
        if hasattr(self.dataset, "__getitems__"):
            return [key, *self.dataset.__getitems__(rows)]
        return [key, *(self.dataset[row] for row in rows)]


class Collate:
    """Makes a mixed batch of ``[key, *rows]``; images are mixed while they are stacked."""

    def __init__(self, mixer: bm.Mixer, collate: Any) -> None:
        self.collate = collate or default_collate
        grids = {
            path: _Stacked(f.layout) for path, f in mixer.fields.items() if isinstance(f, Grid)
        }
        self.stacked = grids if self.collate is default_collate else {}
        self.mixer = mixer.but(fields=mixer.fields | self.stacked)

    def __call__(self, numbered: list[Any]) -> Any:
        key, *rows = numbered
        images, rest = {}, rows
        for path in self.stacked:
            found = [get_at(row, path_of(path)) for row in rows]
            if isinstance(found[0], np.ndarray | torch.Tensor):
                images[path] = _Unstacked(found, (len(found), *found[0].shape))
                rest = [replaced_at(row, path_of(path), 0) for row in rest]
        batch = self.collate(rest)
        for path, unstacked in images.items():
            batch = replaced_at(batch, path_of(path), unstacked)
        return self.mixer(batch, step=key.step, epoch=key.epoch)


class _Unstacked(NamedTuple):
    """Arrays of single rows, with the shape of their batch."""

    rows: list[Any]
    shape: tuple[int, ...]


class _Stacked(Grid):
    """A grid of rows that are mixed while they are stacked."""

    def __call__(self, value: Any, plan: bm.Plan, other: Any = None, out: Any = None) -> Any:
        if not isinstance(value, _Unstacked):
            return super().__call__(value, plan, other, out)
        return torch.as_tensor(bm.mix_stack(value.rows, plan, self.layout))
