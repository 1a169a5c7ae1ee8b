"""The first figure of audit.md: the worst call of a few careless lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from photographs import Draw

import batchmix as bm
from batchmix.cli.show.worst import png, worst

HOT = np.eye(10, dtype=np.float32)


def careless(
    x: NDArray[np.float32], y: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As on the page: a box is rounded, its label is not."""
    lam = np.random.uniform()
    height, width = (int(n * np.sqrt(1 - lam)) for n in x.shape[-2:])
    x[..., :height, :width] = x[::-1, ..., :height, :width]
    return x, lam * HOT[y] + (1 - lam) * HOT[y[::-1]]


def worst_call() -> dict[str, Draw]:
    """By its name: the drawing, in a theme."""
    finding = bm.audit(careless)["label error, small images"]
    return {"audit-worst": lambda theme: png(worst(finding, theme))}
