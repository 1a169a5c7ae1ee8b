"""What every library is checked against: the oracle of the tests, on the plan that it followed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cases as c

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import oracle

_LABEL_TOLERANCE = 1e-5
_ROWS = 64  # checked, evenly spread, the first and the last among them


class Check(NamedTuple):
    """The worst differences, and whether they are more than rounding."""

    right: bool
    pixels: float
    labels: float | None


def check(mixed: c.Mixed, x: Sequence[Any], y: Any, layout: str = "NCHW") -> Check:
    """Compare what a library made of rows `x` and labels `y` with the plan it says it followed."""
    worst = 0.0
    for row in np.unique(np.linspace(0, len(y) - 1, min(len(y), _ROWS)).astype(int)):
        expected = mixed.finish(oracle.mix_row(x, row, mixed.plan, layout))
        found = np.asarray(mixed.pixels[row], np.float64)
        worst = max(worst, float(np.abs(found - expected).max()))
    labels = None
    if mixed.labels is not None:
        found = np.asarray(mixed.labels, np.float64)
        soft = oracle.labels(np.asarray(y), mixed.plan, found.shape[1])
        labels = float(np.abs(found - soft).max())
    right = worst <= mixed.tolerance and (labels or 0) <= _LABEL_TOLERANCE
    return Check(right, float(f"{worst:.3g}"), labels and float(f"{labels:.3g}"))
