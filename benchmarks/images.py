"""From a list of decoded images, uint8 [H, W, C], to a mixed batch: every library's own route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import batchmix as bm
import cases as c
from batchmix.pairing import Derangement
from ours import SWITCH, plans

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's, as everywhere
MEAN_255, STD_255 = [255 * v for v in MEAN], [255 * v for v in STD]
LEVEL = 1 / min(STD_255)  # one step of an 8-bit image, normalised


@dataclass(frozen=True)
class Images:
    """Decoded images and their labels, as a data set hands them out."""

    rows: list[NDArray[np.uint8]]  # [H, W, 3] each
    y: list[int]

    @staticmethod
    def random(shape: c.Shape) -> Images:
        """As many as the shape has rows."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (shape[0], *shape[2:], 3), np.uint8)
        return Images([row.copy() for row in pixels], rng.integers(0, c.CLASSES, shape[0]).tolist())

    @property
    def size(self) -> dict[str, int]:
        """Cells per axis."""
        return dict(zip("HW", self.rows[0].shape))

    @property
    def channels_first(self) -> list[tuple[NDArray[np.uint8], int]]:
        """Views [3, H, W] with labels: what timm's loader collates."""
        return [(np.rollaxis(row, 2), y) for row, y in zip(self.rows, self.y)]


def normalise(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """[H, W, 3] in 0..255 to [3, H, W]; what the checks expect."""
    normal: NDArray[np.float64] = (row - MEAN_255) / STD_255
    return normal.transpose(2, 0, 1)


def ours(images: Images) -> Iterator[c.Case]:
    """One pass from the list to the batch, float32 or uint8."""
    count, size = len(images.rows), images.size
    draw = plans(SWITCH, count, size, Derangement())
    y = np.array(images.y)
    out = np.zeros((count, 3, *size.values()), np.float32)
    out8 = np.zeros((count, *size.values(), 3), np.uint8)

    def float_batch(out: Any = None) -> Any:
        plan = draw()
        mixed = bm.mix_normalize(images.rows, plan, MEAN_255, STD_255, out=out)
        return mixed, bm.mix_labels(y, plan, c.CLASSES), plan

    def uint8_batch() -> Any:
        plan = draw()
        return bm.mix_stack(images.rows, plan, out=out8), bm.mix_labels(y, plan, c.CLASSES), plan

    def seen_float(call: Callable[[], Any]) -> Callable[[], c.Mixed]:
        def seen() -> c.Mixed:
            pixels, labels, plan = call()
            return c.Mixed(pixels, plan, labels, tolerance=2e-5, finish=normalise)

        return seen

    def seen_uint8() -> c.Mixed:
        pixels, labels, plan = uint8_batch()
        return c.Mixed(pixels, plan, labels, tolerance=0, finish=np.rint)

    plan = draw()

    def pixels() -> Any:
        return bm.mix_normalize(images.rows, plan, MEAN_255, STD_255, out=out)

    into = partial(float_batch, out)
    yield c.Case("batchmix", c.FLOAT, "out=", into, seen_float(into))
    yield c.Case("batchmix", c.FLOAT, "new array", float_batch, seen_float(float_batch))
    yield c.Case(
        "batchmix", c.FLOAT, "out=, pixels only", pixels,
        lambda: c.Mixed(pixels(), plan, tolerance=2e-5, finish=normalise),
    )  # fmt: skip
    yield c.Case("batchmix", "uint8 to uint8", "out=", uint8_batch, seen_uint8)


def timm(images: Images) -> Iterator[c.Case]:
    """Collate and normalise, mixing before or while or not at all."""
    from timm.data.loader import fast_collate

    from peers.timm import mixup, with_plan

    rows, size = images.channels_first, images.size
    elem = mixup()

    def collated() -> Any:
        batch, y = fast_collate(rows)
        return elem(timm_normalise(batch), y)

    def seen() -> c.Mixed:
        (pixels, labels), plan = with_plan(collated, elem, len(rows), size)
        return c.Mixed(pixels, plan, labels, tolerance=2e-5, finish=normalise)

    yield c.Case("timm", c.FLOAT, "fast_collate, normalise, Mixup elem", collated, seen)
    for mode in ("elem", "batch"):
        yield _fast(rows, size, mode)
    fast = mixup(fast=True)

    def seen_bytes() -> c.Mixed:
        (pixels, labels), plan = with_plan(lambda: fast(rows), fast, len(rows), size)
        finish: Any = lambda row: np.rint(row).transpose(2, 0, 1)  # noqa: E731
        return c.Mixed(pixels, plan, labels, tolerance=1, finish=finish)

    yield c.Case("timm", "uint8 to uint8", "FastCollateMixup elem", lambda: fast(rows), seen_bytes)


def _fast(rows: Any, size: dict[str, int], mode: str) -> c.Case:
    """FastCollateMixup rounds to uint8 before the batch is normalised."""
    from peers.timm import mixup, with_plan

    fast = mixup(mode=mode, fast=True)

    def call() -> Any:
        batch, labels = fast(rows)
        return timm_normalise(batch), labels

    def seen() -> c.Mixed:
        (pixels, labels), plan = with_plan(call, fast, len(rows), size)
        finish: Any = lambda row: normalise(np.rint(row))  # noqa: E731
        return c.Mixed(pixels, plan, labels, tolerance=1.01 * LEVEL, finish=finish)

    return c.Case("timm", c.FLOAT, f"FastCollateMixup {mode}, normalise", call, seen)


def timm_normalise(batch: torch.Tensor) -> torch.Tensor:
    """As timm's PrefetchLoader does it."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN_255, STD_255))
    return batch.float().sub_(mean).div_(std)


def torchvision(images: Images) -> Iterator[c.Case]:
    """Normalise each image, or the batch; then MixUp or CutMix of the batch."""
    from torch.utils.data import default_collate
    from torchvision.transforms import v2

    from peers.torchvision import with_plan

    to_float = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    each, batch = v2.Compose([v2.ToImage(), *to_float]), v2.Compose(to_float)
    mixes = [v2.MixUp(num_classes=c.CLASSES), v2.CutMix(num_classes=c.CLASSES)]
    mix = v2.RandomChoice(mixes)
    y = torch.tensor(images.y)

    def per_image() -> Any:
        pairs = [(each(row), label) for row, label in zip(images.rows, images.y)]
        return mix(*default_collate(pairs))

    def per_batch() -> Any:
        stacked = torch.stack([torch.from_numpy(row) for row in images.rows])
        return mix(batch(stacked.permute(0, 3, 1, 2)), y)

    def seen(call: Callable[[], Any]) -> c.Mixed:
        (pixels, labels), plan = with_plan(call, mixes, len(y), images.size)
        return c.Mixed(pixels, plan, labels, tolerance=2e-5, finish=normalise)

    yield c.Case(
        "torchvision", c.FLOAT, "each image, collate, mix", per_image, partial(seen, per_image)
    )
    yield c.Case("torchvision", c.FLOAT, "stack, batch, mix", per_batch, partial(seen, per_batch))
