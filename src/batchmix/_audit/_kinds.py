"""Batches that show how they were mixed: image i is 1 in channel i and 0 in all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZE = {"H": 12, "W": 20, "T": 5, "D": 6}
_SMALL = {"H": 5, "W": 7, "T": 3, "D": 4}
_LONG = {"T": 48}, {"T": 7}  # of sounds and series, which have no other axis
NAN_ROW = 1  # in the kind "NaN", the row whose own channel is NaN


@dataclass(frozen=True)
class BatchKind:
    """One kind of batch."""

    name: str
    layout: str
    size: Mapping[str, int]
    batch: int = 8
    dtype: str = "float32"
    nan: bool = False

    @property
    def scale(self) -> int:
        """The value of a cell that is wholly of one row."""
        return 1 if "float" in self.dtype else 255

    @property
    def close(self) -> float:
        """How far a right label may be from its pixels, as pixels are rounded."""
        return 1e-4 if self.dtype in ("float32", "float64") else 0.01

    def shape(self, channels: int) -> list[int]:
        """The shape of the images."""
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
        """[B, cells, B]: the share of each row in each cell of mixed images."""
        last = np.moveaxis(images, self.layout.index("C"), -1)
        return last.reshape(len(images), -1, self.batch).astype(np.float64) / self.scale

    def mask(self) -> NDArray[np.int32]:
        """[B, *cells]: one id per row, none of which is an average of others."""
        cells = [n for axis, n in zip(self.layout, self.shape(1)) if axis not in "NC"]
        return np.broadcast_to(
            self.ids(np.int32).reshape(-1, *[1] * len(cells)), (self.batch, *cells)
        ).copy()

    def onehot_mask(self, classes: int) -> NDArray[np.float32]:
        """[B, ...] in `layout`, with `classes` channels: all cells of row i are of class i."""
        x = np.zeros((self.batch, *self.shape(classes)[1:]), np.float32)
        channels = np.moveaxis(x, self.layout.index("C"), -1)  # a view
        for row in range(self.batch):
            channels[row, ..., row] = 1
        return x

    def ids(self, dtype: Any = np.int64) -> NDArray[Any]:
        """[B]: ids below 256; no third one lies at a half or a quarter between two of them."""
        return (3 ** np.arange(self.batch) % 251).astype(dtype)

    def record(self) -> dict[str, Any]:
        """Plain values, from which `BatchKind(**record)` is the same."""
        return asdict(self) | {"size": dict(self.size)}


def default_size(layout: str) -> dict[str, int]:
    """Cells per axis: a sound is longer than a video has frames."""
    return _SIZE | (_LONG[0] if set(layout) == set("NCT") else {})


def kinds(layout: str, size: Mapping[str, int], batch: int, classes: int) -> dict[str, BatchKind]:
    """Every kind by its name. The first is the one that all callables must take."""
    given = {axis: size.get(axis, 8) for axis in layout if axis not in "NC"}
    least = _SMALL | (_LONG[1] if set(given) == {"T"} else {})
    small = {axis: min(n, least.get(axis, 4)) for axis, n in given.items()}
    found = [
        BatchKind("even batch", layout, given, batch),
        BatchKind("odd batch", layout, given, batch - 1),
        BatchKind("one row", layout, given, 1),
        *(
            BatchKind(dtype, layout, given, batch, dtype)
            for dtype in ("float16", "bfloat16", "uint8", "int64")
        ),
        BatchKind("NaN", layout, given, batch, nan=True),
    ]
    if small != given:
        found.append(BatchKind("small images", layout, small, batch))
    if set(given) == {"H", "W"}:
        video = layout.replace("H", "TH")
        found.append(BatchKind("video", video, {"T": size.get("T", 5), **given}, batch))
    return {kind.name: kind for kind in found}
