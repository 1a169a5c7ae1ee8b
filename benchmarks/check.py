"""What every library is checked against: the oracle of the tests, on the plan that it followed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
import cases as c

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import oracle

_ROWS = 64  # checked, evenly spread, the first and the last among them


class Check(NamedTuple):
    """The worst differences, and whether they are more than rounding."""

    right: bool
    pixels: float
    labels: float | None


def check(
    mixed: c.Mixed, x: Sequence[Any], y: Any, layout: str = "NCHW", rows: int = _ROWS
) -> Check:
    """Compare what a library made of rows `x` and labels `y` with the plan it says it followed."""
    worst, count = 0.0, min(len(y), rows) if mixed.pixels is not None else 0
    for row in np.unique(np.linspace(0, len(y) - 1, count).astype(int)):
        expected = mixed.finish(_row(x, row, mixed.plan, layout))
        found = np.asarray(c.host(mixed.pixels[row]), np.float64)
        worst = max(worst, _worst(found - expected))
    labels = None
    if mixed.labels is not None:
        found = np.asarray(c.host(mixed.labels), np.float64)
        soft = oracle.labels(c.host(y), mixed.plan, found.shape[1])
        labels = _worst(found - soft)
    right = worst <= mixed.tolerance and (labels or 0) <= mixed.label_tolerance
    return Check(right, float(f"{worst:.3g}"), labels and float(f"{labels:.3g}"))


def _row(x: Sequence[Any], row: int, plan: bm.Plan, layout: str) -> NDArray[np.float64]:
    """One mixed row, layer over layer; what lies below has the dtype of the batch."""
    dtype, below = np.asarray(x[row]).dtype, x[row]
    mixed = np.asarray(below, np.float64)
    for layer in plan.layers:
        mixed = oracle.mix_row({row: below}, row, layer, layout, x)
        below = np.rint(mixed).astype(dtype) if dtype.kind in "iu" else mixed
    return mixed


def _worst(difference: NDArray[np.float64]) -> float:
    """The largest difference; one that is not a number is infinitely wrong."""
    return float(np.nan_to_num(np.abs(difference), nan=np.inf).max())
