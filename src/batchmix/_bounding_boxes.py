"""Applying a plan to bounding boxes: each goes where its pixels went."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_batch, dtype_of
from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix._visible import visible
from batchmix.backends import Backend, backend_of, is_traced

FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")
WHERE = "BoundingBoxes()"
NO_BOX = -1.0  # fills the places of boxes that are gone


def mix_bounding_boxes(x: Any, plan: Plan, format: str = "xyxy", *, other: Any = None) -> Any:
    """The verb of `fields.BoundingBoxes`, where it is described."""
    b = backend_of(x, WHERE)
    check_batch(b, WHERE, "x", x, plan, other)
    check_format(WHERE, format)
    _check(x, plan)
    rows = _values(b, x, plan)
    others = rows if other is None else _values(b, other, plan)
    shown = [(_corners(rows, format), rows)]
    for layer in (plan, *plan.above):
        region = _region(layer, layer.box)
        pasted = np.asarray(layer.opacity) > 0
        opaque = pasted & (np.asarray(layer.opacity) == 1) & (layer.mask is None)
        shown = [
            (np.where(opaque[:, None, None], _uncovered(corners, region), corners), boxes)
            for corners, boxes in shown
        ]
        theirs = others[np.asarray(layer.partner)]
        corners = _corners(theirs, format)
        if layer.source is not None:
            corners = _moved(corners, region, _region(layer, layer.source))
        corners = _cut(corners, region)
        corners[~pasted] = 0
        shown.append((corners, theirs))
    seen = [corners for corners, _ in shown]
    if plan.above or plan.mask is not None:
        seen = visible(seen, plan)
    parts = [_as(corners, boxes, format) for corners, (_, boxes) in zip(seen, shown)]
    return _like(b, np.concatenate(parts, axis=1), x)


def check_format(where: str, format: str) -> None:
    """How four numbers are a box."""
    if format not in FORMATS:
        raise mix_error(
            where, f"got format={format!r}.", f"It is one of {', '.join(FORMATS)}.",
            "Convert other formats first; coordinates are cells, not shares.",
        )  # fmt: skip


def _check(x: Any, plan: Plan) -> None:
    shape = tuple(x.shape)
    if len(shape) != 3 or shape[2] < 4:
        raise mix_error(
            WHERE, f"`x` has shape {shape}.",
            "Boxes are [B, N, 4 + K]: N a row, four coordinates, then what goes with the box.",
            "Pad each row to the same number of boxes with -1.",
        )  # fmt: skip
    if not {"H", "W"} <= set(plan.axes) or len(plan.axes) != 2:
        raise mix_error(
            WHERE, f"the plan has the axes {plan.axes!r}.",
            "Bounding boxes lie on H and W.", "Draw with size={'H': ..., 'W': ...}.",
        )  # fmt: skip
    if not re.fullmatch(r"b?(float|int)\d+", dtype_of(x)):
        raise mix_error(
            WHERE, f"`x` has dtype {x.dtype}.",
            "Coordinates are floats or signed integers: -1 marks places without a box.",
            "Convert it, for example to int64.",
        )  # fmt: skip


def _values(b: Backend, x: Any, plan: Plan) -> NDArray[Any]:
    values = None if is_traced(plan.partner) else b.to_numpy(x)
    if values is None:
        raise mix_error(
            WHERE, "`x` or the plan has no values yet, in a function that is traced.",
            "Boxes are mixed on the host.", "Call it outside of the compiled function.",
        )  # fmt: skip
    return values


def _corners(x: NDArray[Any], format: str) -> NDArray[np.float64]:
    """[B, N, 4] left, top, right, bottom."""
    a, b, c, d = np.moveaxis(x[..., :4].astype(np.float64), -1, 0)
    if format == "yxyx":
        a, b, c, d = b, a, d, c
    elif format == "xywh":
        c, d = a + c, b + d
    elif format == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return np.stack([a, b, c, d], -1)


def _as(corners: NDArray[np.float64], x: NDArray[Any], format: str) -> NDArray[np.float64]:
    """`x` with other coordinates, in its format; NO_BOX where they have no area."""
    a, b, c, d = np.moveaxis(corners, -1, 0)
    empty = (c <= a) | (d <= b)
    if format == "yxyx":
        a, b, c, d = b, a, d, c
    elif format == "xywh":
        c, d = c - a, d - b
    elif format == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    made = np.concatenate([np.stack([a, b, c, d], -1), x[..., 4:]], -1)
    return np.where(empty[..., None], NO_BOX, made)


def _region(plan: Plan, box: Any) -> NDArray[np.float64]:
    """[B, 1, 4] left, top, right, bottom of a box of the plan."""
    box = np.asarray(box, np.float64)
    h, w = box[:, plan.axes.index("H")], box[:, plan.axes.index("W")]
    return np.stack([w[:, 0], h[:, 0], w[:, 1], h[:, 1]], -1)[:, None]


def _moved(x: Any, region: Any, source: Any) -> NDArray[np.float64]:
    """What lies at `x` in the partner, after `source` was stretched over `region`."""
    start, width = source[..., [0, 1, 0, 1]], source[..., 2:] - source[..., :2]
    scale = (region[..., 2:] - region[..., :2]) / np.maximum(width, 1)
    moved: NDArray[np.float64] = region[..., [0, 1, 0, 1]] + (x - start) * scale[..., [0, 1, 0, 1]]
    return moved


def _cut(x: NDArray[np.float64], region: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of `x` lies in the region."""
    low, high = np.maximum(x[..., :2], region[..., :2]), np.minimum(x[..., 2:], region[..., 2:])
    return np.concatenate([low, high], -1)


def _uncovered(x: NDArray[np.float64], region: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest boxes around what of `x` lies outside of the region; none is left of some."""
    left, top, right, bottom = np.moveaxis(np.broadcast_to(region, x.shape), -1, 0)
    a, b, c, d = np.moveaxis(x, -1, 0).copy()
    across, down = (left <= a) & (right >= c), (top <= b) & (bottom >= d)
    new = [
        np.where(down & (left <= a) & (right > a), right, a),
        np.where(across & (top <= b) & (bottom > b), bottom, b),
        np.where(down & (right >= c) & (left < c), left, c),
        np.where(across & (bottom >= d) & (top < d), top, d),
    ]
    return np.stack(new, -1)


def _like(b: Backend, made: NDArray[np.float64], x: Any) -> Any:
    """As an array of the framework, dtype and device of `x`."""
    made = np.rint(made) if b.is_integer(x) else made
    return b.cast(b.array(made, x), dtype_of(x))
