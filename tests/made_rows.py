"""Rows in memory and in files, and the batches of passes over them, for tests of feeds."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Picture

from batchmix._errors import mix_error
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.rows import Rows
from batchmix.cli.lab.training import Training

TRAINING = Training(model="mlp", epochs=2, batch_size=8, lr=0.1, seed=3)


@dataclass
class Held:
    """A reader of rows in memory."""

    x: np.ndarray

    def __call__(self, i):
        return self.x[i]


@dataclass
class Files:
    """A reader of image files."""

    folder: str
    reads: int = 0

    def __call__(self, i):
        self.reads += 1
        try:
            with Picture.open(f"{self.folder}/{i}.png") as image:
                return np.asarray(image.convert("RGB"))
        except OSError:
            raise mix_error(f"DATA {i}.png", "it is broken.", "It is read.", "Repair it.") from None


def held(count=30, size=8, channels=1):
    x = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)
    return Rows([str(i) for i in range(count)], np.arange(count) % 3, Held(x))


def image_files(folder, count=21, size=(90, 100)):
    """Rows that are files; size (H, W) of each."""
    rng = np.random.default_rng(1)
    for i in range(count):
        pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
        Picture.fromarray(pixels).resize(size[::-1]).save(folder / f"{i}.png")
    return Rows([f"{i}.png" for i in range(count)], np.arange(count) % 3, Files(str(folder)))


def passes(rows, training, form="image", epochs=(0, 1), start=0, **options):
    feed = Feed(rows, form, training, train=True, **options)
    return [list(feed.epoch(epoch, start)) for epoch in epochs]


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.mixed == b.mixed
        for a, b in zip(one, other)
    )
