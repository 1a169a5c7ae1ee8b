"""Batches whose mixes can be read off: image i is 1 in channel i and 0 in all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = {"H": 5, "W": 7, "T": 3, "D": 4}
NAN_ROW = 1  # the row of which the channel of its own is NaN, where a case has one


@dataclass(frozen=True)
class Case:
    """One kind of batch."""

    name: str
    layout: str
    size: Mapping[str, int]
    batch: int = 8
    dtype: str = "float32"
    nan: bool = False

    @property
    def scale(self) -> int:
        """The value that stands for a whole row."""
        return 1 if "float" in self.dtype else 255

    @property
    def close(self) -> float:
        """How far a right label may be from its pixels: by rounding of pixels, not of labels."""
        return 1e-4 if self.dtype in ("float32", "float64") else 0.01

    def shape(self, channels: int) -> list[int]:
        """Of the images."""
        sizes = {"N": self.batch, "C": channels, **self.size}
        return [sizes[axis] for axis in self.layout]

    def images(self) -> NDArray[np.float64]:
        """[B, ...] in `layout`, with B channels."""
        x = np.zeros((self.batch, *self.shape(self.batch)[1:]))
        channels = np.moveaxis(x, self.layout.index("C"), -1)  # a view
        for row in range(self.batch):
            channels[row, ..., row] = self.scale
        if self.nan:
            channels[NAN_ROW, ..., NAN_ROW] = np.nan
        return x

    def weights(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """[B, cells, B]: the share of each row in each cell of images that came back."""
        last = np.moveaxis(images, self.layout.index("C"), -1)
        return last.reshape(len(images), -1, self.batch).astype(np.float64) / self.scale

    def mask(self) -> NDArray[np.int32]:
        """[B, cells]: ids that no average of others hits, one per row."""
        cells = [n for axis, n in zip(self.layout, self.shape(1)) if axis not in "NC"]
        return np.broadcast_to(
            self.ids(np.int32).reshape(-1, *[1] * len(cells)), (self.batch, *cells)
        ).copy()

    def ids(self, dtype: Any = np.int64) -> NDArray[Any]:
        """[B]: ids below 256, no two of which have a third between them at a half or a quarter."""
        return (3 ** np.arange(self.batch) % 251).astype(dtype)

    def record(self) -> dict[str, Any]:
        """Plain values, from which `Case(**record)` is the same."""
        return asdict(self) | {"size": dict(self.size)}


def cases(layout: str, size: Mapping[str, int], batch: int, classes: int) -> dict[str, Case]:
    """Every case by its name, the one that all callables must take first."""
    given = {axis: size.get(axis, 8) for axis in layout if axis not in "NC"}
    small = {axis: min(n, _SMALL.get(axis, 4)) for axis, n in given.items()}
    found = [
        Case("even batch", layout, given, batch),
        Case("odd batch", layout, given, batch - 1),
        Case("one row", layout, given, 1),
        *(
            Case(dtype, layout, given, batch, dtype)
            for dtype in ("float16", "bfloat16", "uint8", "int64")
        ),
        Case("NaN", layout, given, batch, nan=True),
    ]
    if small != given:
        found.append(Case("small images", layout, small, batch))
    if "H" in layout and "T" not in layout:
        video = layout.replace("H", "TH")
        found.append(Case("video", video, {"T": size.get("T", 5), **given}, batch))
    return {case.name: case for case in found}
