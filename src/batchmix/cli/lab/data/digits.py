"""scikit-learn's hand-written digits."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix.cli.lab.data.images import Header
from batchmix.cli.lab.rows import Data, Rows, Task


@dataclass(frozen=True, eq=False)
class Memory:
    """Rows that lie in memory."""

    x: NDArray[Any]  # [N, ...]

    def __call__(self, i: int) -> NDArray[Any]:
        """A row."""
        return np.asarray(self.x[i])

    def check(self, i: int, pixels: bool) -> Header:
        """Nothing can be wrong."""
        return Header(self.x.shape[1:])


def open_digits() -> Data:
    """1797 digits of 8 x 8 cells, 0..16, as 0..255."""
    table = _table()
    x = np.round(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    names = [f"row {i}" for i in range(len(x))]
    rows = Rows(names, table[:, 64], Memory(x))
    task = Task("classes", tuple("0123456789"))
    return Data("digits", "", "image", task, rows, shape=(8, 8, 1), fingerprint="digits")


def _table() -> NDArray[np.int64]:
    """[1797, 65]: cells and class, from scikit-learn's file; importing it takes two seconds."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, np.int64, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target]).astype(np.int64)
