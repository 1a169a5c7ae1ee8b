"""scikit-learn's hand-written digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchmix.cli.lab.data.images import Header
from batchmix.cli.lab.rows import Data, Rows, Task


@dataclass(frozen=True, eq=False)
class Memory:
    """Rows that lie in memory."""

    x: NDArray[np.uint8]  # [N, H, W, C]

    def __call__(self, i: int) -> NDArray[np.uint8]:
        """uint8 [H, W, C]."""
        return np.asarray(self.x[i])

    def check(self, i: int, pixels: bool) -> Header:
        """Nothing can be wrong."""
        return Header(self.x.shape[1:])


def open_digits() -> Data:
    """1797 digits of 8 x 8 cells, 0..16, as 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    names = [f"row {i}" for i in range(len(x))]
    rows = Rows(names, digits.target.astype(np.int64), Memory(x))
    task = Task("classes", tuple("0123456789"))
    return Data("digits", "", "image", task, rows, shape=(8, 8, 1), fingerprint="digits")
