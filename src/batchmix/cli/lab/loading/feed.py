"""Rows to batches: read, cropped and mixed in workers, in an order that the seed decides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler

from batchmix._errors import MixError
from batchmix.cli.lab.loading.augment import differ, draws, stack, view_of
from batchmix.cli.lab.loading.timm_augment import MEAN, STD, TimmTransform
from batchmix.cli.lab.loading.workers import Workers
from batchmix.cli.lab.rows import Form, Rows
from batchmix.cli.lab.training import Training

_HELD_BATCH = 512  # rows of an array in memory that are evaluated at a time
_SAMPLE = 4096  # rows whose mean and spread are taken for all


class Batch(NamedTuple):
    """Rows on the host: uint8 [B, H, W, C] or float32 [B, ...], targets, whether they are mixed."""

    x: Tensor
    y: Tensor
    mixed: bool


class _Place(NamedTuple):
    """Which batch of a pass."""

    epoch: int
    step: int
    rows: NDArray[np.int64]


class Feed:
    """Batches of rows, one pass at a time.

    The order of training rows is that of a shuffled DistributedSampler; a last batch of one row is
    left out, because no norm over the batch can take it. What is drawn for a row is a function of
    (seed, epoch, row). With a mixer (of channels-last fields) rows are mixed where they are read,
    by the plan that the device would draw; blends of bytes are rounded there, by up to 1/510.
    """

    def __init__(
        self,
        rows: Rows,
        form: Form,
        training: Training,
        *,
        train: bool,
        mixer: Any = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._rows, self._seed, self._train = rows, training.seed, train
        self._rank, self._world = rank, world
        self._source = _Source(rows, form, training, train, mixer)
        quick = self._source.held is not None
        self._batch = _HELD_BATCH if quick and not train else training.batch_size
        self._workers = 0 if quick and mixer is None else training.workers
        self._pin = training.accelerator != "cpu" and torch.cuda.is_available()
        self._readers = Workers(self._source, self._workers, self._pin)
        share = math.ceil(len(rows) / world) if train else len(range(rank, len(rows), world))
        self.steps = math.ceil(share / self._batch)
        if train and self.steps > 1 and share % self._batch == 1 and self._batch > 1:
            self.steps -= 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of a pass from number `start` on; those before are not read."""
        places = self._places(epoch, start)
        read = self._readers.read(places) if self._workers else map(self._source.read, places)
        for found in read:
            if isinstance(found, MixError):
                raise found
            if self._pin and not self._workers:
                found = Batch(found.x.pin_memory(), found.y.pin_memory(), found.mixed)
            yield found

    def _places(self, epoch: int, start: int) -> list[_Place]:
        """The batches of a pass, before anything is read."""
        if self._train:
            sampler = DistributedSampler(
                range(len(self._rows)), self._world, self._rank, seed=self._seed
            )
            sampler.set_epoch(epoch)
            order = np.fromiter(sampler, np.int64)
        else:
            order = np.arange(self._rank, len(self._rows), self._world)
        size = self._batch
        return [
            _Place(epoch, step, order[step * size : (step + 1) * size])
            for step in range(start, self.steps)
        ]


class _Source:
    """Batches by their place; what a worker holds."""

    def __init__(self, rows: Rows, form: Form, training: Training, train: bool, mixer: Any) -> None:
        self.rows, self.seed, self.mixer = rows, training.seed, mixer
        self.view = view = view_of(rows, form, training)
        self.random = train and view.augment != "none"
        self.timm = TimmTransform(view.size) if self.random and view.augment == "timm" else None
        held = getattr(rows.read, "x", None)  # of a reader that has all its rows in one array
        whole = held is not None and view.whole(held.shape[1:])
        # of every image where no size is given that they are brought to
        self.shape = None if training.image_size or form != "image" else rows[0].shape
        self.held = np.asarray(held) if whole and not (train and view.crops) else None

    def __getitem__(self, place: _Place) -> Batch | MixError:
        """The batch, or why there is none: an error that is raised would lose its class."""
        try:
            return self.read(place)
        except MixError as error:
            return error

    def read(self, place: _Place) -> Batch:
        x = torch.from_numpy(self.pixels(place))
        y = torch.from_numpy(self.rows.y[place.rows])
        if self.mixer is not None:
            x, y = self.mixer((x, y), step=place.step, epoch=place.epoch)
        return Batch(x, y, self.mixer is not None)

    def pixels(self, place: _Place) -> NDArray[Any]:
        """The rows of a batch as the model sees them, channels last."""
        view, index = self.view, place.rows
        drawn = draws(self.seed, place.epoch, index) if self.random else np.empty((len(index), 0))
        if self.held is not None:
            picked = index if self.rows.picked is None else self.rows.picked[index]
            x = view.still(self.held[picked])
        else:
            names = [self.rows.names[i] for i in index]
            x = stack([self._row(i, numbers) for i, numbers in zip(index, drawn)], names)
        return view.moved(x, drawn) if self.random and not view.crops else x

    def _row(self, i: int, drawn: NDArray[np.float64]) -> NDArray[Any]:
        """A row, cropped at random if training rows are."""
        x = self.rows[i]
        if self.shape is not None and x.shape != self.shape:
            raise differ(self.rows.names[i], x.shape, self.rows.names[0], self.shape)
        if self.timm is not None:
            return self.timm(x, int(drawn[0] * 2**53))
        return (
            self.view.cropped(x, drawn) if self.random and self.view.crops else self.view.still(x)
        )


def prepare(x: Tensor, mean: list[float], std: list[float], form: Form) -> Tensor:
    """Channels first, float32: (x - mean) / std, images first divided by 255.

    Mean and std are those of each channel; of a table, of each channel of each column.
    """
    centre, spread = _columns(tuple(mean), tuple(std), 255.0 if form == "image" else 1.0, x.device)
    moved = x.movedim(-1, 1)
    shape = moved[:1].shape if form == "table" else (1, -1) + (1,) * (x.ndim - 2)
    first = torch.empty(moved.shape, device=x.device).copy_(moved)
    return first.sub_(centre.view(shape)).div_(spread.view(shape))


@lru_cache(maxsize=8)  # a copy to a device per batch would wait for it
def _columns(
    mean: tuple[float, ...], std: tuple[float, ...], top: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    return torch.tensor(mean, device=device) * top, torch.tensor(std, device=device) * top


def moments(rows: Rows, form: Form, training: Training) -> tuple[list[float], list[float]]:
    """Mean and spread per channel of at most 4,096 rows as evaluated; images count as 0..1.

    ImageNet's for pretrained weights; those of one channel saw the average of three.
    """
    if training.pretrained and form == "image":
        if rows[0].shape[-1] == 1:
            return [sum(MEAN) / 3], [sum(STD) / 3]
        return list(MEAN), list(STD)
    if len(rows) > _SAMPLE:
        index = np.random.default_rng(0).choice(len(rows), _SAMPLE, replace=False)
        rows = rows.take(np.sort(index))
    if form == "table":
        return _of_columns(rows)
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for batch in Feed(rows, form, training, train=False).epoch(0):
        cells = batch.x.flatten(0, -2).double()  # of bytes the sums are exact
        count += len(cells)
        total = total + cells.sum(0).numpy()
        squares = squares + cells.square().sum(0).numpy()
    top = 255.0 if form == "image" else 1.0
    mean = total / count
    spread = np.sqrt(np.maximum(squares - count * mean**2, 0) / max(count - 1, 1))
    return (mean / top).tolist(), (np.maximum(spread, 1e-3) / top).tolist()


def _of_columns(rows: Rows) -> tuple[list[float], list[float]]:
    """Of the numbers of a table's columns; which word a cell is stays 0 or 1."""
    x = np.stack([rows[i] for i in range(len(rows))]).astype(np.float64)
    mean, spread = np.zeros(x.shape[:0:-1]), np.ones(x.shape[:0:-1])  # channels first
    mean[0], found = x[..., 0].mean(0), x[..., 0].std(0)
    spread[0] = np.where(found > 0, found, 1)
    return mean.ravel().tolist(), spread.ravel().tolist()
