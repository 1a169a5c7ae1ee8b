"""Applying a plan to targets of detection: a dict for each row, with as many boxes as it has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_kind
from batchmix._detection.cells import masks_seen, points_seen
from batchmix._detection.entries import (
    batch_of,
    check_dicts,
    checked_rows,
    flat,
    read_entry,
    with_boxes,
)
from batchmix._detection.formats import (
    NORMALISED,
    Corners,
    area,
    check_plan,
    check_values,
    coordinates,
    corners,
    grid,
)
from batchmix._detection.keypoints import check_points
from batchmix._detection.rule import NO_BOX, Rule, joined, kept
from batchmix._detection.visible import Shown, boxes_seen, whole_cells
from batchmix._errors import mix_error
from batchmix._plan import Plan

WHERE = "BoundingBoxes()"
CLASSES = ("labels", "class_labels", "cls", "category_id")


class Ragged(NamedTuple):
    """The targets of a batch, as they are read."""

    counts: list[int]
    corners: Corners  # [B, N, 4] in cells, 0 where a row has fewer
    host: dict[str, list[Any]]  # what goes with boxes, row by row, as NumPy's


def mix_ragged(x: Any, plan: Plan, rule: Rule, other: Any) -> Any:
    """The verb of `fields.BoundingBoxes` for a dict for each row, or one that has `batch_idx`."""
    check_kind(WHERE, plan)
    if isinstance(x, Mapping):
        theirs = None if other is None else batch_of(other, plan.others or len(plan), rule)
        return flat(x, mix_ragged(batch_of(x, len(plan), rule), plan, rule, theirs))
    rows, pool = checked_rows(x, plan, other)
    check_plan(WHERE, plan)
    size = grid(plan)
    names = with_boxes([*rows, *([] if other is None else pool)], rule)
    own = _read(rows, names, rule, size)
    others = own if other is None else _read(pool, names, rule, size)
    more = {name: [] if other is None else others.host[name] for name in names}
    _check_forms({name: own.host[name] + more[name] for name in names})
    shown, mixed = boxes_seen(own.corners, others.corners, plan)
    seen: dict[str, Any] = {}
    if "masks" in names:
        shown, seen["masks"] = masks_seen(shown, own.host["masks"], others.host["masks"], plan)
    if "keypoints" in names:
        unit = np.array(size[::-1], float) if rule.format in NORMALISED else 1.0
        points = own.host["keypoints"], others.host["keypoints"]
        seen["keypoints"] = points_seen(*points, plan, unit)
    there = [kept(one, rule) for one in shown]
    made = []
    for i, row in enumerate(rows):
        sources = [(own, i), *((others, int(one.partner[i])) for one in (plan, *plan.above))]
        if not mixed[i]:
            made.append(_weighted(row, names, [np.ones(own.counts[i])], rule))
            continue
        at = [np.flatnonzero(one[i, : s.counts[j]]) for one, (s, j) in zip(there, sources)]
        new = _copied(row)
        for name in names:
            parts = [
                _of(name, source.host[name][j], shown[k], seen, k, i, rule, size)
                for k, (source, j) in enumerate(sources)
            ]
            origins = [row, *(pool[j] for _, j in sources[1:])]
            new[name] = _taken(name, parts, at, origins)
        made.append(_weighted(new, names, [s.weight[i][n] for s, n in zip(shown, at)], rule))
    kind: Any = type(x)
    return kind._make(made) if hasattr(kind, "_make") else kind(made)


def boxes_of(x: Any, rule: Rule, size: tuple[int, int], count: int | None) -> NDArray[np.float64]:
    """[B, N, 4 or 5] left, top, right, bottom in cells, and the class; -1 where there is none."""
    rows = _rows(x, count, rule)
    names = with_boxes(rows, rule)
    found = _read(rows, names, rule, size)
    cells = whole_cells(found.corners)
    made = np.where(area(cells)[..., None] > 0, cells, NO_BOX)
    told = next((name for name in CLASSES if name in names), None)
    if told is None:
        return made
    ids = np.full((*made.shape[:2], 1), NO_BOX)
    for i, one in enumerate(found.host[told]):
        if len(one) and not isinstance(one[0], str):
            ids[i, : len(one), 0] = np.asarray(one, np.float64).reshape(len(one), -1)[:, 0]
    return np.concatenate([made, np.where(made[..., :1] == NO_BOX, NO_BOX, ids)], -1)


def instances_of(x: Any, rule: Rule, size: tuple[int, int], count: int | None) -> NDArray[np.uint8]:
    """[B, K, H, W]: the masks of all rows, 1 inside; 0 where a row has fewer."""
    rows = _rows(x, count, rule)
    if len(rows) and "masks" not in with_boxes(rows, rule):
        raise mix_error(
            "Mixer", "the policy reads 'instances'; the targets have no 'masks'.",
            "Instances are pasted cell by cell.",
            "Add 'masks' [k, H, W] to each dict, or read 'boxes'.",
        )  # fmt: skip
    masks = [read_entry(row, "masks", i, rule, size) for i, row in enumerate(rows)]
    made = np.zeros((len(rows), max(map(len, masks), default=0), *size), np.uint8)
    for place, one in zip(made, masks):
        place[: len(one)] = one != 0
    return made


def _rows(x: Any, count: int | None, rule: Rule) -> Any:
    if isinstance(x, Mapping):
        return batch_of(x, count, rule)
    check_dicts(x)
    return x


def _read(rows: Sequence[Any], names: list[str], rule: Rule, size: tuple[int, int]) -> Ragged:
    """All that goes with boxes, on the host; coordinates are looked at."""
    host = {name: [read_entry(row, name, i, rule, size) for i, row in enumerate(rows)]
            for name in names}  # fmt: skip
    boxes = host[names[0]]
    counts = [len(one) for one in boxes]
    values = np.zeros((len(rows), max(counts, default=0), 4))
    for place, one in zip(values, boxes):
        place[: len(one)] = one
    for wide in (2, 3):
        points = [
            one.reshape(-1, wide) for one in host.get("keypoints", ()) if one.shape[2] == wide
        ]
        if points:
            check_points(WHERE, np.concatenate(points), rule.format in NORMALISED, size)
    integers = all(np.issubdtype(one.dtype, np.integer) for one in boxes)
    check_values(WHERE, values, rule.format, size, integers)
    return Ragged(counts, corners(values, rule.format, size), host)


def _check_forms(host: Mapping[str, list[Any]]) -> None:
    """Of boxes of all rows, an entry has one shape, and is of whole numbers or of others."""
    for name, values in host.items():
        forms: dict[Any, int] = {}
        for i, one in enumerate(values):
            if isinstance(one, np.ndarray) and len(one):
                forms.setdefault((one.shape[1:], one.dtype.kind == "f"), i)
        if len(forms) > 1:
            i, j, *_ = forms.values()
            raise mix_error(
                WHERE, f"{name!r} of row {i} have shape {values[i].shape} and kind "
                f"{values[i].dtype.kind!r}, of row {j} {values[j].shape} and "
                f"{values[j].dtype.kind!r}.", "Those of two rows come together in one array.",
                "Bring them to one shape and dtype.",
            )  # fmt: skip


def _of(
    name: str, value: Any, shown: Shown, seen: dict[str, Any], k: int, row: int, rule: Rule,
    size: tuple[int, int],
) -> Any:  # fmt: skip
    """An entry of all boxes of one layer, as it is after mixing."""
    if name in seen:
        return seen[name][k][row]
    n = len(value)
    if name in ("boxes", "bboxes"):
        made = coordinates(shown.corners[row, :n], rule.format, size)
        return np.where(shown.as_was[row, :n, None], value, made)
    if name == "area":
        left = np.where(shown.as_was[row, :n], 1, shown.left[row, :n])
        if isinstance(value, list):
            return [one * float(share) for one, share in zip(value, left)]
        return value * left.reshape(-1, *[1] * (value.ndim - 1))
    return value


def _taken(name: str, parts: list[Any], at: list[Any], origins: list[Any]) -> Any:
    """Places `at` of each part, one part after the other, as the first of them has the entry.

    What has no boxes may have any shape and dtype: torch.tensor([]) of no labels is of floats.
    """
    full = [k for k, one in enumerate(parts) if len(one)] or [0]
    some = [
        [parts[k][n] for n in at[k]] if isinstance(parts[k], list) else parts[k][at[k]]
        for k in full
    ]
    return joined(some, origins[full[0]][name])


def _copied(row: Any) -> Any:
    """A shallow copy that can be written to."""
    return copy.copy(row) if isinstance(row, MutableMapping) else dict(row)


def _weighted(row: Any, names: list[str], weights: list[Any], rule: Rule) -> Any:
    """`row` with an entry of weights, where they are asked for; times those that are there."""
    new = _copied(row)
    if not rule.weights:
        return new
    made = np.concatenate(weights)
    if "weights" in names:
        had = np.asarray(read_entry(new, "weights", 0), np.float64)
        made = made.reshape(-1, *[1] * (had.ndim - 1)) * had
    new["weights"] = joined([made], row[names[0]], "float32")
    return new
