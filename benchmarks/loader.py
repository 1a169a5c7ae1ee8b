"""A real DataLoader: what a training loop waits for, per batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

import batchmix as bm
import cases as c
from batchmix.pairing import Derangement
from images import MEAN, MEAN_255, STD, STD_255, Images, normalise, timm_normalise
from ours import SWITCH, plans

BATCHES = 6  # per sample; the first is not counted
WORKERS = (0, 1)


class Decoded:
    """A data set that costs nothing but the copy of an image, as if it had just been decoded."""

    def __init__(self, images: Images, transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return BATCHES * len(self.images.rows)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        row = at % len(self.images.rows)
        return self.transform(self.images.rows[row].copy()), self.images.y[row]


def seconds(case: c.Case) -> float:
    """Per batch, from the arrival of the first: the case clocks itself, workers start before."""
    return float(case.call())


def ours(images: Images) -> Iterator[c.Case]:
    """Workers ship uint8; the loop mixes and widens once, into memory that it keeps."""
    count, size = len(images.rows), images.size
    draw = plans(SWITCH, count, size, Derangement())
    out = np.zeros((count, 3, *size.values()), np.float32)

    def widen(rows: Any, y: Any) -> Any:
        plan = draw()
        mixed = bm.mix_normalize(rows, plan, MEAN_255, STD_255, out=out)
        return torch.from_numpy(mixed), bm.mix_labels(y, plan, c.CLASSES), plan

    def seen(collate: Any, array: Any) -> c.Mixed:
        rows, y = collate(list(zip(images.rows, images.y)))
        pixels, labels, plan = widen(array(rows), y)
        return c.Mixed(pixels, plan, labels, tolerance=2e-5, finish=normalise)

    for workers, how, collate, array in (
        (0, "uint8 rows, mix_normalize", rows_and_labels, list),
        (1, "uint8 batch, mix_normalize", default_collate, np.asarray),
    ):
        yield _case(
            "batchmix", how, workers, images, lambda row: row, collate,
            lambda rows, y, of=array: widen(of(rows), y), partial(seen, collate, array),
        )  # fmt: skip


def rows_and_labels(pairs: Any) -> Any:
    """Nothing is copied where no process boundary is crossed."""
    rows, y = zip(*pairs)
    return rows, torch.tensor(y)


def timm(images: Images) -> Iterator[c.Case]:
    """FastCollateMixup, normalised in the loop as PrefetchLoader does; and without mixing."""
    from timm.data.loader import fast_collate

    from peers.timm import mixup

    for workers in WORKERS:
        for how, collate in (
            ("FastCollateMixup elem", mixup(fast=True)),
            ("FastCollateMixup batch", mixup(mode="batch", fast=True)),
            ("fast_collate, no mixing", fast_collate),
        ):
            yield _case(
                "timm", how, workers, images,
                lambda row: np.rollaxis(row, 2), collate,
                lambda x, y: (timm_normalise(x), y),
            )  # fmt: skip


def torchvision(images: Images) -> Iterator[c.Case]:
    """As its guide has it: transforms per image, MixUp or CutMix in the collate function."""
    from torchvision.transforms import v2

    mix = v2.RandomChoice([v2.MixUp(num_classes=c.CLASSES), v2.CutMix(num_classes=c.CLASSES)])
    each = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    for workers in WORKERS:
        yield _case(
            "torchvision", "each image, collate, mix", workers, images,
            each, lambda pairs: mix(*default_collate(pairs)), lambda x, y: (x, y),
        )  # fmt: skip


def _case(
    library: str, how: str, workers: int, images: Images,
    transform: Callable[[Any], Any], collate: Callable[[Any], Any], consume: Callable[..., Any],
    seen: Callable[[], c.Mixed] | None = None,
) -> c.Case:  # fmt: skip
    """One pass over the data set, in seconds per batch."""
    loader: Any = DataLoader(
        Decoded(images, transform),
        batch_size=len(images.rows),
        collate_fn=collate,
        num_workers=workers,
    )

    def call() -> float:
        start = None
        for batch in loader:
            result = consume(*batch)
            start = start or time.perf_counter()
        elapsed = time.perf_counter() - (start or 0)
        del result
        return elapsed / (BATCHES - 1)

    return c.Case(library, f"DataLoader, workers: {workers}", how, call, seen)
