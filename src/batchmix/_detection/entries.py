"""Entries of targets of detection: which go with a box, and what cannot be mixed."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchmix._batch import check_pool, dtype_of
from batchmix._detection.formats import check_dtype, check_format
from batchmix._detection.rule import Rule, check_tv, joined, on_host
from batchmix._errors import MixError, mix_error
from batchmix._plan import Plan
from batchmix.backends import backend_of, is_traced

WHERE = "BoundingBoxes()"
BOXES = ("boxes", "bboxes")
OF_A_BOX = (
    "labels", "class_labels", "cls", "category_id", "area", "iscrowd", "masks", "keypoints",
    "scores",
)  # fmt: skip
OF_A_ROW = (
    "image_id", "orig_size", "size", "image_size", "img_size", "canvas_size", "image", "img",
    "pixel_values", "pixel_mask", "im_file", "img_shape", "ori_shape", "orig_shape", "pad_shape",
    "resized_shape", "ratio_pad", "scale_factor", "idx", "img_id", "image_path", "img_path",
    "file_name", "filename",
)  # fmt: skip
OUTLINES = ("segmentation", "segmentations", "segments", "polygons", "rle", "rles", "xyxyxyxy")
INDEX = "batch_idx"


def checked_rows(x: Any, plan: Plan, other: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Rows of the plan, and those that partners are taken from; a dict each."""
    if is_traced(plan.partner):
        raise mix_error(
            WHERE, "the plan has no values yet, in a function that is traced.",
            "Boxes are mixed on the host.", "Call it outside of the compiled function.",
        )  # fmt: skip
    for rows in (x,) if other is None else (x, other):
        check_dicts(rows)
    pool = x if other is None else other
    if len(x) != len(plan):
        raise mix_error(
            WHERE, f"there are {len(x)} targets; the plan was drawn for {len(plan)} rows.",
            "Each row has one dict.", "Draw with batch=len(x).",
        )  # fmt: skip
    check_pool(WHERE, plan, len(pool), other is None)
    return x, pool


def check_dicts(rows: Any) -> None:
    """A list with a dict for each row."""
    odd = [rows] if not isinstance(rows, list | tuple) else [
        row for row in rows if not isinstance(row, Mapping)
    ]  # fmt: skip
    if odd:
        raise mix_error(
            WHERE, f"targets are a {type(rows).__name__}, in which there is a "
            f"{type(odd[0]).__name__}.",
            "Boxes are an array [B, N, 4 + K], or a list with a dict for each row.",
            "Pass for example [{'boxes': boxes, 'labels': labels}, ...].",
        )  # fmt: skip


def with_boxes(rows: Sequence[Any], rule: Rule) -> list[str]:
    """Names of the entries that have one thing for each box; that of the boxes first."""
    boxes = next((name for name in BOXES if any(name in row for row in rows)), BOXES[0])
    found: list[str] | None = None
    for i, row in enumerate(rows):
        if all(name in row for name in BOXES):
            raise mix_error(
                WHERE, f"row {i} has 'boxes' and 'bboxes'.", "A row has its boxes once.",
                "Take one of them out, or rename it and name it in keep=.",
            )  # fmt: skip
        count = _count(row, boxes, i)
        outline = next((name for name in OUTLINES if name in row), None)
        if outline is not None:
            raise mix_error(
                WHERE, f"row {i} has {outline!r}, the outlines of objects.",
                "What is pasted over an object changes its outline, which is not followed.",
                "Draw them as 'masks' [k, H, W], and take that entry out.",
            )  # fmt: skip
        named = [name for name in row if name not in OF_A_ROW and name not in rule.keep]
        for name in named:
            if name in OF_A_BOX and _length(row[name]) != count:
                raise mix_error(
                    WHERE, f"row {i} has {count} boxes and {_length(row[name])} {name!r}.",
                    f"{name!r} has one entry for each box.", "Repair what makes them.",
                )  # fmt: skip
        mine = [boxes] + [n for n in named if n != boxes and _length(row[n]) == count]
        found = mine if found is None else [name for name in found if name in mine]
    _check_alike(rows, boxes, found or [boxes], rule)
    return found or [boxes]


def _check_alike(rows: Sequence[Any], boxes: str, found: list[str], rule: Rule) -> None:
    """What goes with boxes in all rows that have it is in every row."""
    for i, row in enumerate(rows):
        for name in row:
            if name in (*found, *OF_A_ROW, *rule.keep) or all(name in one for one in rows):
                continue
            have = [(_length(one[name]), _length(one[boxes])) for one in rows if name in one]
            with_each = any(n for n, _ in have) and all(n == count for n, count in have)
            if name in OF_A_BOX or with_each:
                raise mix_error(
                    WHERE, f"row {i} has {name!r}, and not all rows have.",
                    "Boxes come with the same entries in every row.",
                    f"Add it to each dict; where it belongs to the image, say keep=({name!r},).",
                )  # fmt: skip


def read_entry(
    row: Any, name: str, i: int, rule: Rule | None = None, size: tuple[int, int] | None = None
) -> Any:
    """An entry as NumPy's, or a list; boxes and masks of the form that they have to have."""
    value = row[name]
    listed = isinstance(value, list | tuple)
    if listed and name not in ("masks", "keypoints"):
        return list(value)
    numbers = hasattr(value, "dtype") and re.fullmatch(r"b?float\d+|u?int\d+|bool", dtype_of(value))
    if not numbers:
        raise mix_error(
            WHERE, f"{name!r} of row {i} is a {type(value).__name__} without numbers in it.",
            "What goes with boxes is an array of numbers; names and the like may be a list.",
            "Stack masks and points; of an array of names pass names.tolist().",
        )  # fmt: skip
    b = backend_of(value, WHERE)
    if rule is not None and name in BOXES:
        check_dtype(WHERE, dtype_of(value), rule.format)
        check_tv(WHERE, value, rule.format, size or (0, 0))
    found = on_host(WHERE, b, value)
    if name == "masks" and size is not None and found.shape != (len(found), *size):
        raise mix_error(
            WHERE, f"masks of row {i} have shape {found.shape}, and the grid is {size}.",
            "Masks are [k, H, W], on the grid of the images.", "Resize or pad them alike.",
        )  # fmt: skip
    if name == "keypoints" and (found.ndim != 3 or found.shape[2] not in (2, 3)):
        raise mix_error(
            WHERE, f"key points of row {i} have shape {found.shape}.",
            "They are [k, P, 2] or [k, P, 3]: x, y and COCO's v.", "Reshape them.",
        )  # fmt: skip
    return found


def batch_of(x: Any, count: int | None, rule: Rule) -> list[dict[str, Any]]:
    """A dict for each row of one with all boxes of a batch, as ultralytics has it."""
    if not isinstance(x, Mapping):
        raise mix_error(
            WHERE, f"`x` is one dict of all boxes, and `other` a {type(x).__name__}.",
            "Both batches are of one form.", "Pass a dict with 'batch_idx' as `other` too.",
        )  # fmt: skip
    if INDEX not in x:
        raise mix_error(
            WHERE, f"got one {type(x).__name__} with {sorted(map(str, x))}.",
            "One dict for the whole batch says in 'batch_idx' which row each box is of.",
            "Pass a list with a dict for each row, or add 'batch_idx' [M]; of padded arrays pass "
            "one, boxes and classes side by side: [B, N, 5].",
        )  # fmt: skip
    index = np.asarray(read_entry(x, INDEX, 0)).reshape(-1)
    count = int(index.max(initial=-1)) + 1 if count is None else count
    if len(index) and not (index.min() >= 0 and index.max() < count and (index % 1 == 0).all()):
        raise mix_error(
            WHERE, f"'batch_idx' goes from {index.min()} to {index.max()}; there are {count} rows.",
            "It is the row of each box, a whole number.", "Draw for as many rows.",
        )  # fmt: skip
    of_batch = (INDEX, *OF_A_ROW, *rule.keep)
    names = [name for name in x if name not in of_batch and _length(x[name]) == len(index)]
    lost = [name for name in x if name in ("masks", *OUTLINES) or name in BOXES + OF_A_BOX]
    lost = [n for n in lost if n not in rule.keep and (n not in names or n == "masks")]
    if lost:
        raise mix_error(
            WHERE, f"{lost[0]!r} has not one entry for each of {len(index)} boxes, or is a map.",
            "With 'batch_idx' each entry is of one box.", "Take it out of that dict.",
        )  # fmt: skip
    host = {name: read_entry(x, name, 0) for name in names}
    return [{n: v[index == i] if not isinstance(v, list) else
             [v[k] for k in np.flatnonzero(index == i)] for n, v in host.items()}
            for i in range(count)]  # fmt: skip


def flat(x: Mapping[str, Any], rows: Sequence[Any]) -> Any:
    """Rows as one dict again, of the kind of `x`."""
    new: Any = copy.copy(x)
    boxes = next(name for name in BOXES if name in x)
    counts = [len(row[boxes]) for row in rows]
    for name in rows[0] if rows else ():
        new[name] = joined([row[name] for row in rows], x.get(name, x[boxes]))
    new[INDEX] = joined([np.repeat(np.arange(len(rows)), counts)], x[INDEX])
    return new


def _count(row: Any, boxes: str, i: int) -> int:
    """How many boxes a row has; a box is four numbers."""
    value = row.get(boxes)
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) == 2 and shape[1] == 4:
        return int(shape[0])
    if len(shape) >= 2 and shape[1:] in ((5,), (8,), (4, 2)):
        check_format(WHERE, "xywhr" if shape[1:] == (5,) else "xyxyxyxy")
    raise _no_boxes(row, boxes, i, shape)


def _no_boxes(row: Any, boxes: str, i: int, shape: tuple[int, ...]) -> MixError:
    got = f"row {i} has no {boxes!r}, but {sorted(map(str, row))}"
    fix = "Name the boxes so in each dict."
    if hasattr(row.get(boxes), "shape"):
        got = f"{boxes!r} of row {i} have shape {shape}"
        fix = "Reshape what has no boxes with reshape(-1, 4)."
    elif boxes in row:
        got = f"{boxes!r} of row {i} are a {type(row[boxes]).__name__}"
        fix = "Make it one, for example with torch.tensor(boxes).reshape(-1, 4)."
    rule = "Each dict has an array 'boxes', or 'bboxes', [k, 4]; [0, 4] where there is none."
    return mix_error(WHERE, f"{got}.", rule, fix)


def _length(value: Any) -> int | None:
    """Of an array or list; None of what has none."""
    if isinstance(value, list | tuple):
        return len(value)
    shape = getattr(value, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else None
