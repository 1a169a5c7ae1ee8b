"""What is timed: a call, and a way to see what it did, so that it can be checked first."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import batchmix as bm

Shape = tuple[int, ...]

LARGE, SMALL = (256, 3, 224, 224), (512, 3, 32, 32)  # the shapes that tables are printed for
DOORS: list[Shape] = [
    (128, 3, 224, 224),
    (64, 3, 32, 32),
    (128, 3, 32, 32),
    SMALL,
]  # the front door
CLASSES = 1000  # where nothing else is said
LAM = 0.4  # of the work "MixUp, one lam", in every library that lets it be given
# the work: what is mixed, and how many rows share a draw
MIXUP, CUTMIX, BOTH = "MixUp, one lam", "CutMix, one box", "both, one draw"
MIXUP_ROWS, CUTMIX_ROWS, ROWS = "MixUp, per row", "CutMix, per row", "both, per row"
PAIRS, FLOAT = "both, per pair", "uint8 to float32"


@dataclass(frozen=True)
class Mixed:
    """What a library did to the batch: its result, and the parameters that it used."""

    pixels: Any  # [B, ...], array or tensor, on any device; None where labels alone were made
    plan: bm.Plan
    labels: Any = None  # [B, C]; None where none were made
    tolerance: float = 2e-6
    label_tolerance: float = 1e-5
    finish: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda row: row


@dataclass(frozen=True)
class Case:
    """One line of a table."""

    library: str
    work: str
    how: str
    call: Callable[[], Any]
    seen: Callable[[], Mixed] | None = None


@dataclass(frozen=True)
class Batch:
    """A batch, float32 [B, C, H, W] where nothing else is said, and room to mix it in."""

    x: torch.Tensor
    y: torch.Tensor
    work: torch.Tensor  # mixed in place, again and again
    out: torch.Tensor
    classes: int
    layout: str = "NCHW"

    @staticmethod
    def random(shape: Shape, classes: int = CLASSES) -> Batch:
        """The same numbers for the same shape."""
        torch.manual_seed(0)
        x = torch.randn(shape)
        y = torch.randint(classes, shape[:1])
        return Batch(x, y, x.clone(), torch.zeros(shape), classes)

    @property
    def size(self) -> dict[str, int]:
        """Cells per axis that a box lies on: of a video H and W, of a sound T."""
        cells = dict(zip(self.layout, self.x.shape))
        return {axis: cells[axis] for axis in ("HW" if "H" in cells else "T")}

    def __len__(self) -> int:
        return len(self.x)

    def plan(self, partner: Any, box: Any, opacity: Any) -> bm.Plan:
        """What a library drew, as a plan; one box or opacity stands for all rows."""
        return written(len(self), self.size, partner, box, opacity)


def written(rows: int, size: dict[str, int], partner: Any, box: Any, opacity: Any) -> bm.Plan:
    """A plan from parameters; a box is ((top, bottom), (left, right)), one of each will do."""
    box = np.broadcast_to(np.asarray(box, np.int64), (rows, len(size), 2))
    opacity = np.broadcast_to(np.asarray(host(opacity), np.float64), rows)
    return bm.Plan(host(partner), box, opacity, "".join(size), tuple(size.values()))


def host(value: Any) -> NDArray[Any]:
    """In NumPy, from any device; bfloat16, which NumPy lacks, as float32."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    return np.asarray(value)


def whole(size: dict[str, int]) -> list[list[int]]:
    """The box that covers the image."""
    return [[0, n] for n in size.values()]


def centred(size: dict[str, int]) -> list[list[int]]:
    """The box of the work "CutMix, one box": in the middle, half of the area."""
    sides = [int(n * math.sqrt(0.5)) for n in size.values()]
    return [[(n - side) // 2, (n - side) // 2 + side] for n, side in zip(size.values(), sides)]


def own_share(box: list[list[int]], size: dict[str, int]) -> float:
    """The share of the image outside a box."""
    return 1 - math.prod(hi - lo for lo, hi in box) / math.prod(size.values())


def dense(y: Any, partner_y: Any, own: Any) -> NDArray[np.float64]:
    """[B, CLASSES] from two labels per row and the weight of the first."""
    y, partner_y = host(y), host(partner_y)
    own = np.broadcast_to(np.asarray(host(own), np.float64), len(y))
    soft = np.zeros((len(y), CLASSES))
    np.add.at(soft, (np.arange(len(y)), y), own)
    np.add.at(soft, (np.arange(len(y)), partner_y.astype(np.int64)), 1 - own)
    return soft


def tolerance(x: torch.Tensor) -> dict[str, Any]:
    """What `Mixed` allows: integers are rounded, and a sum beside one half either way."""
    return {} if x.is_floating_point() else {"tolerance": 1.0, "finish": np.rint}


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute has another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def noted(owner: Any, name: str) -> Iterator[list[Any]]:
    """What a function returns is written down for a while: how a library's draws are read off."""
    call, results = getattr(owner, name), []

    def noting(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        results.append(copy.deepcopy(result))
        return result

    with replaced(owner, name, noting):
        yield results
