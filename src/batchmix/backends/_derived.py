"""What follows from the columns of a plan, by the native kernel: one pass instead of many calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix.backends._memory import int64
from batchmix.backends._native import _kernel, chosen


def executed(
    partner: NDArray[np.int32], box: NDArray[Any], opacity: NDArray[np.float64],
    size: tuple[int, ...], lattice: int,
) -> NDArray[np.float32] | None:  # fmt: skip
    """[2, B]: opacities on the lattice, 0 where nothing is pasted; lam. None where it cannot.

    One pass instead of some thirty calls of NumPy. What is out of range is not for it either.
    """
    rows = len(partner)
    fit = box.dtype == np.int32 and box.flags.c_contiguous and box.shape == (rows, len(size), 2)
    if (
        not fit
        or len(size) > 8
        or opacity.shape != (rows,)
        or _kernel is None
        or chosen() == "portable"
    ):
        return None
    out = np.empty((2, rows), np.float32)
    return out if _kernel.execute(partner, box, opacity, int64(size), lattice, out) else None


def seen(
    box: NDArray[np.int32], opacity: NDArray[np.float32], size: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """[B, K + 1]: the shares of `_weights.seen`, of boxes [K, B, A, 2]; None where it cannot."""
    layers, rows = opacity.shape
    # a row has (2 K + 1)^A stretches
    few = layers <= 16 and 0 < len(size) <= 8 and (2 * layers + 1) ** len(size) <= 4096
    if not few or _kernel is None or chosen() == "portable":
        return None
    out = np.empty((rows, layers + 1))
    _kernel.seen(box, opacity, int64(size), layers, out)
    return out
