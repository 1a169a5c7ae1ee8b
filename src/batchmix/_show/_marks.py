"""Boxes, instances and key points before and after, in cells, and which row each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._detection.entries import batch_of
from batchmix._detection.rule import Rule
from batchmix._drawing import on_host
from batchmix._plan import Plan
from batchmix.fields import BoundingBoxes, Instances, Keypoints

_ROW = "row that a box comes from"  # an entry of each box, which goes along with it


class Marks(NamedTuple):
    """What is marked in a row."""

    boxes: NDArray[Any]  # [n, 4] left, top, right, bottom in cells; NaN where there is no box
    rows: NDArray[Any]  # [n] that they come from
    labels: NDArray[Any] | None  # [n] ids
    masks: NDArray[Any] | None = None  # [n, H, W]
    points: NDArray[Any] | None = None  # [n, P, 2 or 3] in cells


def marks(
    field: BoundingBoxes, value: Any, plan: Plan, size: Mapping[str, int]
) -> tuple[list[Marks], list[Marks]]:
    """Those of each row before and after: of an array [B, N, 4 + K], dicts, or one dict."""
    field = replace(field, weights=False)
    before = _numbered(field, value, len(plan))
    return _read(field, before, size), _read(field, field(before, plan), size)


def loose(
    field: Instances | Keypoints, value: Any, plan: Plan, size: Mapping[str, int]
) -> tuple[list[Marks], list[Marks]]:
    """Those of each row before and after, of things without boxes: masks, or key points."""
    both = [np.asarray(on_host(each)) for each in (value, field(value, plan))]
    if isinstance(field, Instances):
        both = [each.transpose([field.layout.index(a) for a in "NKHW"]) for each in both]
    elif field.format.endswith("n"):
        unit = np.array([size["W"], size["H"], 1])
        both = [each * unit[: each.shape[-1]] for each in both]
    count = both[0].shape[1]  # of a row's own; then come those of its partner, layer by layer
    found = []
    for each in both:
        made = []
        for row, things in enumerate(each):
            there = (things != 0).any((1, 2))
            whose = [row, *(int(layer.partner[row]) for layer in plan.layers)]
            rows = np.repeat(whose, count)[: len(things)][there]
            kinds = (things[there], None) if isinstance(field, Instances) else (None, things[there])
            made.append(Marks(np.full((len(rows), 4), np.nan), rows, None, *kinds))
        found.append(made)
    return found[0], found[1]


def given(field: BoundingBoxes, value: Any, rows: int, size: Mapping[str, int]) -> list[Marks]:
    """Those of each row, as they are."""
    return _read(field, _numbered(field, value, rows), size)


def _numbered(field: BoundingBoxes, value: Any, rows: int) -> Any:
    """On the host, with the number of its row for each box."""
    if isinstance(value, Mapping):
        value = batch_of(value, rows, Rule(keep=field.keep))
    if hasattr(value, "shape"):
        host = np.asarray(on_host(value), np.float64)
        number = np.broadcast_to(np.arange(len(host))[:, None, None], (*host.shape[:2], 1))
        return np.concatenate([host, number], -1)
    made = []
    for i, row in enumerate(value):
        count = len(row["boxes"] if "boxes" in row else row["bboxes"])
        made.append(dict(row) | {_ROW: np.full(count, i)})
    return made


def _read(field: BoundingBoxes, value: Any, size: Mapping[str, int]) -> list[Marks]:
    """What each row has, but for padding."""
    found, given = field.read(value, dict(size)), hasattr(value, "shape")
    made = []
    for i, boxes in enumerate(found):
        entry: Mapping[str, Any] = {} if given else value[i]
        told = boxes if given else boxes[: len(entry[_ROW])]
        there = (told[:, 2] > told[:, 0]) & (told[:, 3] > told[:, 1])
        labels = told[there, 4] if boxes.shape[1] > (5 if given else 4) else None
        rows = told[:, -1] if given else np.asarray(entry[_ROW])
        masks, points = (_entry(entry, name, there) for name in ("masks", "keypoints"))
        if points is not None and field.format.endswith("n"):
            points = points * ([size["W"], size["H"], 1][: points.shape[-1]])
        made.append(Marks(told[there, :4], rows[there].astype(int), labels, masks, points))
    return made


def _entry(row: Mapping[str, Any], name: str, there: NDArray[np.bool_]) -> NDArray[Any] | None:
    value = np.asarray(on_host(row[name])) if name in row else None
    return None if value is None or len(value) != len(there) else value[there]
