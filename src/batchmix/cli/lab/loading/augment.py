"""How rows become what a model sees: always the same in evaluation, at random in training.

Images. "none": the whole image, scaled to the size. "light" over 64 px: a random crop of 8 to 100 %
of the area and 3:4 to 4:3, scaled to the size, and a flip; evaluated on the centre crop of 7/8 of
the shorter side. "light" up to 64 px: the scaled image, moved by up to 4 cells (a quarter of the
side where that is less) over zeros, and a flip. "timm": see `timm_augment`; evaluated as "light".
Sound. "light": moved in time by up to a tenth of its length, over silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.rows import Form, Rows
from batchmix.cli.lab.training import Augment, Training

SMALL = 64  # px; no random resized crop up to here
_CENTRE = 0.875
_TRIES = 10
DRAWS = 2 * _TRIES + 3  # numbers that a row needs: shapes of a crop, its place, the flip
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def draws(seed: int, epoch: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """[B, DRAWS] uniform in 0..1, a function of (seed, epoch, row) alone.

    SplitMix64 (Steele, Lea and Flood 2014), counted by rows, so that a row needs no other.
    """
    key = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    at = rows.astype(np.uint64)[:, None] * np.uint64(DRAWS) + np.arange(1, DRAWS + 1, dtype="u8")
    z = key + at * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: NDArray[np.float64] = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return found


@dataclass(frozen=True)
class View:
    """What is done to rows; `size` is (H, W) of the images that come out."""

    form: Form
    augment: Augment
    size: tuple[int, int] = (0, 0)

    @property
    def crops(self) -> bool:
        """Whether a training row is cropped out of the image as it is read."""
        large = min(self.size) > SMALL
        return self.form == "image" and (
            self.augment == "timm" or (self.augment == "light" and large)
        )

    def whole(self, shape: tuple[int, ...]) -> bool:
        """Whether rows of this shape are evaluated as they are, so that `still` takes a batch."""
        if self.form != "image":
            return True
        return shape[:2] == self.size and (self.augment == "none" or min(self.size) <= SMALL)

    def still(self, x: NDArray[Any]) -> NDArray[Any]:
        """A row as it is evaluated: uint8 [H, W, C] of an image, float32 of sound."""
        if self.form != "image":
            return _floats(x)
        if self.whole(x.shape[-3:]):
            return x
        height, width = x.shape[:2]
        if self.augment == "none" or min(self.size) <= SMALL:
            return scale(x, (0, 0, width, height), self.size)
        # the largest box of the shape that comes out, then its inner part
        cells = _CENTRE * min(height / self.size[0], width / self.size[1])
        half = (cells * self.size[0] / 2, cells * self.size[1] / 2)
        box = (width / 2 - half[1], height / 2 - half[0], width / 2 + half[1], height / 2 + half[0])
        return scale(x, box, self.size)

    def cropped(self, x: NDArray[np.uint8], drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
        """A random resized crop and flip of an image; `drawn` is its row of `draws`."""
        box = _crop(x.shape[0], x.shape[1], drawn)
        return scale(x, box, self.size, flip=bool(drawn[-1] < 0.5))

    def moved(self, x: NDArray[Any], drawn: NDArray[np.float64]) -> NDArray[Any]:
        """A batch of still rows, each moved by its row of `draws`; small images may be flipped."""
        return _padded_crop(x, drawn) if self.form == "image" else _shift(x, drawn, self.form)


def scale(
    x: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    flip: bool = False,
) -> NDArray[np.uint8]:
    """The box (left, top, right, bottom) of an image at another size, bilinear, antialiased."""
    from PIL import Image

    channels = x.shape[-1]
    if channels not in _MODES:
        raise mix_error(
            "DATA", f"an image has {channels} channels.", "They are 1, 3 or 4.", "Convert it."
        )
    image = Image.fromarray(x[..., 0] if channels == 1 else x, _MODES[channels])
    found = image.resize(size[::-1], Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    if flip:
        found = found.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(found).reshape(*size, channels)


def _crop(height: int, width: int, drawn: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """A box of 8 to 100 % of the area and 3:4 to 4:3; at the centre if none of ten fits."""
    numbers = drawn.tolist()
    for area, ratio in zip(numbers[: 2 * _TRIES : 2], numbers[1 : 2 * _TRIES : 2]):
        cells = height * width * (0.08 + 0.92 * area)
        wide = math.exp((2 * ratio - 1) * math.log(4 / 3))
        w, h = round(math.sqrt(cells * wide)), round(math.sqrt(cells / wide))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(numbers[-3] * (height - h + 1)), int(numbers[-2] * (width - w + 1))
            return left, top, left + w, top + h
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    top, left = (height - h) // 2, (width - w) // 2
    return left, top, left + w, top + h


def _padded_crop(x: NDArray[np.uint8], drawn: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Each of [B, H, W, C] moved over zeros, and flipped where its last number is below a half."""
    import torch

    rows, height, width, channels = x.shape
    pad = min(4, height // 4, width // 4)
    padded = np.zeros((rows, height + 2 * pad, width + 2 * pad, channels), np.uint8)
    padded[:, pad : pad + height, pad : pad + width] = x
    top, left = (drawn[:, -3:-1] * (2 * pad + 1)).astype(int).T.tolist()
    found = np.empty_like(x)
    for i in range(rows):
        found[i] = padded[i, top[i] : top[i] + height, left[i] : left[i] + width]
    flip = drawn[:, -1] < 0.5
    found[flip] = torch.from_numpy(found[flip]).flip(2).numpy()  # 5 times as quick as NumPy
    return found


def _shift(x: NDArray[Any], drawn: NDArray[np.float64], form: Form) -> NDArray[Any]:
    """Each row moved in time; what is free is 0 in a wave, the row's lowest value in a spectrum."""
    axis = 1 if form == "wave" else 2  # of the batch
    length = x.shape[axis]
    most = length // 10
    steps = (drawn[:, 0] * (2 * most + 1)).astype(int) - most
    found = np.zeros_like(x)
    if form == "mel":
        found += x.min(axis=(1, 2, 3), keepdims=True)
    for row, out, step in zip(x, found, steps.tolist()):
        a, b = (row, out) if form == "wave" else (row.swapaxes(0, 1), out.swapaxes(0, 1))
        b[max(step, 0) : length + min(step, 0)] = a[max(-step, 0) : length - max(step, 0)]
    return found


def _floats(x: NDArray[Any]) -> NDArray[np.float32]:
    """Sound as float32; integers of 16 bits as -1..1."""
    if x.dtype == np.int16:
        return x.astype(np.float32) / np.float32(32768)
    return x.astype(np.float32, copy=False)


def stack(rows: Sequence[NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Rows as a batch; rows of two shapes are an error that names both."""
    for row, name in zip(rows, names):
        if row.shape != rows[0].shape:
            raise differ(name, row.shape, names[0], rows[0].shape)
    return np.stack(rows)


def differ(name: str, shape: tuple[int, ...], other: str, others: tuple[int, ...]) -> MixError:
    """The error of two rows that cannot be in one batch."""
    return mix_error(
        f"DATA {name!r}",
        f"its shape is {shape}, that of {other!r} is {others}.",
        "The rows of a batch have one shape.",
        "Give --image-size, for example --image-size 32; for sound --seconds.",
    )


def view_of(rows: Rows, form: Form, training: Training) -> View:
    """What is done to rows; without an image size they keep the shape of the first."""
    if form != "image":
        if training.augment == "timm":
            raise mix_error(
                "--augment timm",
                "the rows are sound.",
                "timm's transforms are for images.",
                "Use --augment light: a shift in time.",
            )
        return View(form, training.augment)
    side = training.image_size
    height, width = (side, side) if side else rows[0].shape[:2]
    return View(form, training.augment, (height, width))
