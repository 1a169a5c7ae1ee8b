"""The same mix a second time, row by row in float64: what every library is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix.cli.bench._cases import Mixed, dense

_LABEL_TOLERANCE = 1e-5
_ROWS = 64  # checked, evenly spread, the first and the last among them


class Check(NamedTuple):
    """The worst differences, and whether they are more than rounding."""

    right: bool
    pixels: float
    labels: float | None


def check(mixed: Mixed, x: Sequence[Any], y: Any, layout: str = "CHW") -> Check:
    """Compare what a library made of rows `x` and labels `y` with the plan it says it followed."""
    rows = np.unique(np.linspace(0, len(y) - 1, min(len(y), _ROWS)).astype(int))
    worst = 0.0
    for row in rows:
        expected = mixed.finish(_row(mixed, x, int(row), layout))
        found = np.asarray(mixed.pixels[row], np.float64)
        worst = max(worst, float(np.abs(found - expected).max()))
    labels = None
    if mixed.labels is not None:
        plan, y = mixed.plan, np.asarray(y)
        soft = dense(y, y[plan.partner], _own(mixed))
        labels = float(np.abs(np.asarray(mixed.labels, np.float64) - soft).max())
    right = worst <= mixed.tolerance and (labels or 0) <= _LABEL_TOLERANCE
    return Check(right, float(f"{worst:.3g}"), labels and float(f"{labels:.3g}"))


def _row(mixed: Mixed, x: Sequence[Any], row: int, layout: str) -> NDArray[np.float64]:
    """One row: own content outside the box, a blend with the partner's inside."""
    plan = mixed.plan
    result = np.asarray(x[row], np.float64).copy()
    partner = np.asarray(x[int(plan.partner[row])], np.float64)
    (top, bottom), (left, right) = plan.box[row].tolist()
    inside = np.s_[:, top:bottom, left:right] if layout == "CHW" else np.s_[top:bottom, left:right]
    a = float(plan.opacity[row])
    result[inside] = (1 - a) * result[inside] + a * partner[inside]
    return result


def _own(mixed: Mixed) -> NDArray[np.float64]:
    """[B]: weight of a row's own label, by counting cells."""
    plan = mixed.plan
    area = np.prod(plan.box[:, :, 1] - plan.box[:, :, 0], axis=1) / np.prod(plan.size)
    own: NDArray[np.float64] = 1 - plan.opacity.astype(np.float64) * area
    return own
