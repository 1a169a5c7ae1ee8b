"""Bounding boxes of a batch that is probed, and which of them the pixels contradict.

The boxes of a row tile its image, and their class is its number. So whatever is cut, moved or
stretched: a box has to lie where its row shows, and a row that shows in more than half of an image
cannot be without all of its boxes, even if code drops those of which less than half is left. In an
image that shows one row alone, boxes of others are not judged: a blend may be too weak to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._kinds import BatchKind

FORMATS = ("xyxy", "xywh", "cxcywh", "xyxyn", "xywhn", "cxcywhn")
_ALONE = 1 - 1e-6  # the share of a row, in all cells, beside which no other is seen
_STRONG, _MUCH = 0.25, 0.5  # of a cell; of the cells


def tiles(kind: BatchKind) -> NDArray[np.float32]:
    """[B, 5, 5]: left, top, right, bottom, class of four boxes a row; the fifth is padding, -1."""
    sizes = dict(zip(kind.layout, kind.shape(1)))
    height, width = sizes["H"], sizes["W"]
    x, y = [0, (width + 1) // 2, width], [0, (height + 1) // 2, height]
    corners = [[x[i], y[j], x[i + 1], y[j + 1]] for j in (0, 1) for i in (0, 1)]
    made = np.full((kind.batch, 5, 5), -1, np.float32)
    made[:, :4, :4] = corners
    made[:, :4, 4] = np.arange(kind.batch)[:, None]
    return made


def written(boxes: NDArray[Any], box_format: str, kind: BatchKind) -> NDArray[Any]:
    """Boxes [..., 4 + K], left, top, right, bottom in cells, in a format; -1 stays -1."""
    a, b, c, d = np.moveaxis(boxes[..., :4] / _unit(box_format, kind), -1, 0)
    if box_format.startswith("xywh"):
        c, d = c - a, d - b
    elif box_format.startswith("cxcywh"):
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    made = np.concatenate([np.stack([a, b, c, d], -1), boxes[..., 4:]], -1)
    return np.where(boxes[..., 4:5] < 0, boxes, made).astype(boxes.dtype)


def read(boxes: NDArray[Any], box_format: str, kind: BatchKind) -> NDArray[np.float64]:
    """Left, top, right, bottom in cells again; what is padding has no area."""
    a, b, c, d = np.moveaxis(boxes[..., :4] * _unit(box_format, kind), -1, 0)
    if box_format.startswith("xywh"):
        c, d = a + c, b + d
    elif box_format.startswith("cxcywh"):
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return np.concatenate([np.stack([a, b, c, d], -1), boxes[..., 4:]], -1)


def _unit(box_format: str, kind: BatchKind) -> NDArray[np.float64]:
    """Cells per 1."""
    sizes = dict(zip(kind.layout, kind.shape(1)))
    return np.array([sizes["W"], sizes["H"]] * 2 if box_format.endswith("n") else [1.0] * 4)


def targets(kind: BatchKind, box_format: str, array: Any) -> list[dict[str, Any]]:
    """As detection data sets have them: a dict per row."""
    made = []
    for row, boxes in enumerate(tiles(kind)):
        boxes = boxes[boxes[:, 4] >= 0]
        sides = boxes[:, 2:4] - boxes[:, :2]
        made.append({
            "boxes": array(written(boxes, box_format, kind)[:, :4]),
            "labels": array(boxes[:, 4].astype(np.int64)),
            "area": array(sides.prod(1)),
            "iscrowd": array(np.zeros(len(boxes), np.int64)),
            "image_id": array(np.array([row])),
        })  # fmt: skip
    return made


def padded(rows: Sequence[Mapping[str, Any]], host: Any) -> NDArray[np.float64]:
    """[B, N, 5] of dicts with "boxes" [n, 4] and "labels" [n]; a ValueError where they are not."""
    found = []
    for row in rows:
        corners = np.asarray(host(row["boxes"]), np.float64).reshape(-1, 4)
        classes = np.asarray(host(row["labels"]), np.float64).reshape(-1, 1)
        found.append(np.concatenate([corners, classes], 1))
    made = np.full((len(found), max(map(len, found), default=0), 5), -1.0)
    for place, boxes in zip(made, found):
        place[: len(boxes)] = boxes
    return made


def wrong_boxes(
    kind: BatchKind, cells: NDArray[np.float64], boxes: NDArray[Any]
) -> tuple[list[tuple[int, str]], int]:
    """Row and words for each box that the pixels contradict, or that is missing; and all boxes."""
    shares, found, count = shares_on_plane(kind, cells), [], 0
    for row, (image, held) in enumerate(zip(shares, boxes.astype(np.float64))):
        alone, there = bool((image.min((0, 1)) > _ALONE).any()), set()
        for left, top, right, bottom, label in held[:, :5].tolist():
            if not (right > left and bottom > top):
                continue  # padding
            count += 1
            whose, at = int(label) if np.isfinite(label) else -1, (left, top, right, bottom)
            place = f"({', '.join(f'{v:.4g}' for v in at)})"
            if whose != label or not 0 <= whose < kind.batch:
                found.append((row, f"row {row}: a box of class {label:g}, which no row has"))
            elif not alone and not _inside(image[..., whose], at).any():
                found.append((row, f"row {row}: a box of row {whose} at {place}, where no "
                                   f"pixel of row {whose} shows"))  # fmt: skip
            there.add(whose)
        for whose in range(kind.batch):
            seen = float((image[..., whose] >= _STRONG).mean())
            if seen > _MUCH and whose not in there:
                found.append((row, f"row {row}: row {whose} shows in {seen:.0%} of the image, "
                                   "and none of its boxes is there"))  # fmt: skip
    return found, count


def shares_on_plane(kind: BatchKind, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, H, W, B]: the largest share of each row along time or depth, if there is any."""
    axes = [axis for axis in kind.layout if axis not in "NC"]
    sizes = dict(zip(kind.layout, kind.shape(1)))
    grid = cells.reshape(len(cells), *(sizes[axis] for axis in axes), -1)
    plane = np.moveaxis(grid, [1 + axes.index("H"), 1 + axes.index("W")], [-3, -2])
    return np.asarray(plane.max(tuple(range(1, plane.ndim - 3))))


def _inside(shares: NDArray[np.float64], box: tuple[float, ...]) -> NDArray[np.bool_]:
    """Where the row shows in the cells that a box touches."""
    (height, width), (left, top, right, bottom) = shares.shape, box
    x = slice(*(int(np.clip(v, 0, width)) for v in (np.floor(left), np.ceil(right))))
    y = slice(*(int(np.clip(v, 0, height)) for v in (np.floor(top), np.ceil(bottom))))
    return np.asarray(shares[y, x] > 0)
