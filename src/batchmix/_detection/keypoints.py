"""Applying a plan to key points [B, N, P, 2 or 3]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_batch, dtype_of
from batchmix._detection.cells import points_seen
from batchmix._detection.formats import check_dtype, check_plan, grid
from batchmix._detection.rule import like, on_host
from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of

FORMATS = ("xy", "xyv", "xyn", "xyvn")
WHERE = "Keypoints()"
_NEAR, _FAR, _FEW = 0.01, 2.0, 8


def mix_keypoints(x: Any, plan: Plan, format: str, other: Any = None) -> Any:
    """The verb of `fields.Keypoints`, where it is described."""
    b = backend_of(x, WHERE)
    check_batch(b, WHERE, "x", x, plan, other)
    check_plan(WHERE, plan)
    own = _points(b, x, plan, format)
    others = own if other is None else _points(b, other, plan, format)
    unit = np.array(grid(plan)[::-1], float) if format.endswith("n") else 1.0
    gone = 0.0 if "v" in format else -1.0
    parts: list[NDArray[Any]] = []
    for k, rows in enumerate(points_seen(list(own), list(others), plan, unit)):
        made = np.full((len(own), *others.shape[1:]), gone) if k else own.copy()
        for row, points in rows.items():
            made[row] = points
        parts.append(made)
    return like(b, np.concatenate(parts, 1), x)


def check_points_format(where: str, format: Any) -> None:
    """How numbers are a point."""
    if format not in FORMATS:
        raise mix_error(
            where, f"got format={format!r}.",
            f"It is one of {', '.join(FORMATS)}: x and y, COCO's visibility v, n for shares of the "
            "image.", "Convert other formats first.",
        )  # fmt: skip


def check_points(where: str, points: NDArray[Any], normalised: bool, size: tuple[int, int]) -> None:
    """Finite points, in cells or in shares as far as that can be seen."""
    there = points[..., 2] > 0 if points.shape[-1] == 3 else (points != -1).any(-1)
    given = points[..., :2][there].astype(np.float64)
    if not np.isfinite(given).all():
        raise mix_error(
            where, "there are points that are NaN or infinite.", "Coordinates are finite.",
            "Give what is not labelled v = 0.",
        )  # fmt: skip
    if not given.size:
        return
    whole = np.issubdtype(points.dtype, np.integer)
    if normalised and (whole or np.abs(given).max() > _FAR):
        raise mix_error(
            where, f"points go to {np.abs(given).max():g}, of dtype {points.dtype}.",
            "Shares of an image are between 0 and 1.", "For cells leave out the n of the format.",
        )  # fmt: skip
    near = given.min() >= -_NEAR and given.max() <= 1 + _NEAR
    if not normalised and not whole and near and given.max() > 0 and max(size) >= _FEW:
        raise mix_error(
            where, f"all points lie between 0 and 1, and the grid has {size[0]} x {size[1]} "
            "cells.", "Without an n, coordinates are cells.", "Shares are 'xyn', 'xyvn'.",
        )  # fmt: skip


def _points(b: Backend, x: Any, plan: Plan, format: str) -> NDArray[Any]:
    """[B, N, P, 2 or 3] on the host."""
    shape, wide = tuple(x.shape), 3 if "v" in format else 2
    if len(shape) != 4 or shape[3] != wide:
        raise mix_error(
            WHERE, f"`x` has shape {shape}, and format={format!r}.",
            f"Points are [B, N, P, {wide}]: N instances a row, P points each.",
            "With one instance a row pass x[:, None].",
        )  # fmt: skip
    check_dtype(WHERE, dtype_of(x), "xyxy")
    values = on_host(WHERE, b, x, plan)
    check_points(WHERE, values, format.endswith("n"), grid(plan))
    return values
