"""Applying a plan to bounding boxes [B, N, 4 + K]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_batch, dtype_of
from batchmix._detection.formats import (
    area,
    check_dtype,
    check_plan,
    check_values,
    coordinates,
    corners,
    grid,
)
from batchmix._detection.ragged import boxes_of, mix_ragged
from batchmix._detection.rule import NO_BOX, Rule, kept, like, on_host
from batchmix._detection.visible import boxes_seen, whole_cells
from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of

WHERE = "BoundingBoxes()"


def mix_bounding_boxes(x: Any, plan: Plan, rule: Rule, *, other: Any = None) -> Any:
    """The verb of `fields.BoundingBoxes`, where it is described."""
    if isinstance(x, list | tuple | Mapping):
        return mix_ragged(x, plan, rule, other)
    b = backend_of(x, WHERE)
    _check_shape(x)
    check_batch(b, WHERE, "x", x, plan, other)
    check_plan(WHERE, plan)
    size = grid(plan)
    rows = _values(b, x, rule, size, plan)
    others = rows if other is None else _values(b, other, rule, size, plan)
    own = corners(rows, rule.format, size)
    theirs = own if other is None else corners(others, rule.format, size)
    shown, mixed = boxes_seen(own, theirs, plan)
    parts = []
    for k, one in enumerate(shown):
        layer = (plan, plan, *plan.above)[k]
        boxes = rows if k == 0 else others[np.asarray(layer.partner)]
        there = kept(one, rule)
        if k == 0:
            there |= ~mixed[:, None] & (area(own) > 0)
        as_was = one.as_was if k else one.as_was | ~mixed[:, None]
        made = coordinates(one.corners, rule.format, size)
        made = np.where(as_was[..., None], boxes[..., :4], made)
        columns = [made, boxes[..., 4:]]
        if rule.weights:
            columns.append(np.where(as_was & ~mixed[:, None], 1, one.weight)[..., None])
        parts.append(np.where(there[..., None], np.concatenate(columns, -1), NO_BOX))
    return like(b, np.concatenate(parts, axis=1), x)


def read_boxes(
    x: Any, rule: Rule, size: tuple[int, int], count: int | None = None
) -> NDArray[np.float64]:
    """[B, N, 4 + K] left, top, right, bottom in cells, whatever the format; -1 where none is."""
    if isinstance(x, list | tuple | Mapping):
        return boxes_of(x, rule, size, count)
    b = backend_of(x, WHERE)
    values = _values(b, x, rule, size)
    found = whole_cells(corners(values, rule.format, size))
    made = np.concatenate([found, values[..., 4:].astype(np.float64)], -1)
    return np.where(area(found)[..., None] > 0, made, NO_BOX)


def _values(
    b: Backend, x: Any, rule: Rule, size: tuple[int, int], plan: Plan | None = None
) -> NDArray[Any]:
    dtype = dtype_of(x)
    _check_shape(x)
    check_dtype(WHERE, dtype, rule.format)
    if rule.weights and b.is_integer(x):
        raise mix_error(
            WHERE, f"boxes have dtype {dtype}, and weights=True.",
            "The last column has the weights, which are shares.", "Convert the boxes to float32.",
        )  # fmt: skip
    values = on_host(WHERE, b, x, plan)
    check_values(WHERE, values, rule.format, size, b.is_integer(x))
    return values


def _check_shape(x: Any) -> None:
    """A padded array of boxes."""
    shape = tuple(x.shape)
    if len(shape) != 3 or shape[2] < 4:
        raise mix_error(
            WHERE, f"`x` has shape {shape}.",
            "Boxes are [B, N, 4 + K]: N a row, four coordinates, then what goes with the box.",
            "Pad each row to the same number of boxes with -1, or pass a list with a dict for "
            "each row. Boxes [M, 4] of all rows are in one dict, with the row of each: "
            "{'batch_idx': [M], 'bboxes': [M, 4], 'cls': [M, 1]}.",
        )  # fmt: skip
