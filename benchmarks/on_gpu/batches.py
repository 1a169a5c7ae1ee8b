"""Batches on a device: several of each kind, so that none is in the cache when its turn comes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

import cases as c

_LARGEST_CACHE = 64 << 20  # bytes; what a GPU does not tell
_MOST = 48  # batches of one kind


@dataclass(frozen=True)
class Kind:
    """Shape, layout and dtype of a batch, and how it lies in memory."""

    name: str
    shape: c.Shape
    dtype: str = "bfloat16"
    layout: str = "NCHW"
    channels_last: bool = False

    @property
    def torch_dtype(self) -> torch.dtype:
        """As torch calls it."""
        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def bytes(self) -> int:
        """Of one batch."""
        return math.prod(self.shape) * int(self.torch_dtype.itemsize)

    @property
    def group(self) -> str:
        """What its table is called."""
        return f"{self.name}, {self.dtype}"


@dataclass(frozen=True)
class Rounding:
    """How far from float64 a right result may be, of numbers in -1..1."""

    ours: float  # blended in float32, and rounded once
    theirs: float  # rounded after each operation, lam too
    labels: float  # of who makes them in the dtype of the images


ROUNDING = {
    "float32": Rounding(2e-6, 2e-6, 1e-5),
    "float16": Rounding(2.0**-12 * 1.01, 2.0**-9, 2.0**-10),
    "bfloat16": Rounding(2.0**-9 * 1.01, 2.0**-6, 2.0**-7),
    "uint8": Rounding(1.0, 1.0, 1e-5),  # a sum beside one half is rounded either way
}


def pixels(shape: c.Shape, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    """Noise in -1..1, or in 0..255."""
    source = torch.Generator(device).manual_seed(seed)
    if dtype == torch.uint8:
        return torch.randint(256, shape, dtype=dtype, device=device, generator=source)
    return (torch.rand(shape, device=device, generator=source) * 2 - 1).to(dtype)


def batch(kind: Kind, device: str, seed: int = 0) -> c.Batch:
    """One batch; what is not written in `out` is seen, since it holds another seed's noise."""
    x, out = (pixels(kind.shape, kind.torch_dtype, device, s) for s in (seed, seed + 1000))
    if kind.channels_last:
        x, out = (v.contiguous(memory_format=torch.channels_last) for v in (x, out))
    y = torch.randint(c.CLASSES, kind.shape[:1], generator=torch.Generator().manual_seed(seed))
    return c.Batch(x, y.to(device), x.clone(), out, c.CLASSES, kind.layout)


def sets(kind: Kind, device: str) -> list[c.Batch]:
    """As many as are three times as large as the cache; on the CPU two."""
    count = 2 if device == "cpu" else how_many(kind.bytes)
    return [batch(kind, device, seed) for seed in range(count)]


def how_many(nbytes: int) -> int:
    """Batches of so many bytes."""
    told: Any = torch.cuda.get_device_properties(0)
    cache = getattr(told, "L2_cache_size", 0) or _LARGEST_CACHE
    return min(_MOST, max(3, math.ceil(3 * cache / nbytes)))
