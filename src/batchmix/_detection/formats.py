"""How four numbers are a bounding box, and which numbers cannot be meant."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._plan import Plan

IN_CELLS = ("xyxy", "yxyx", "xywh", "cxcywh")
NORMALISED = tuple(f"{name}n" for name in IN_CELLS)
_ELSEWHERE = {  # names of albumentations and of Keras
    "pascal_voc": "xyxy", "albumentations": "xyxyn", "coco": "xywh", "yolo": "cxcywhn",
    "center_xywh": "cxcywh", "rel_xyxy": "xyxyn", "rel_yxyx": "yxyxn", "rel_xywh": "xywhn",
}  # fmt: skip
_ROTATED = ("xyxyxyxy", "xyxyxyxyn", "xywhr", "cxcywhr", "xywha")
_NEAR, _FAR = 0.01, 2.0  # shares of a side: what detectors clip, and what no box reaches
_FEW = 8  # cells of a grid on which all boxes may lie in the first one

Corners = NDArray[np.float64]


def check_format(where: str, format: Any) -> None:
    """A known format; of the others, why they are not."""
    if format in IN_CELLS + NORMALISED:
        return
    if format in _ROTATED:
        raise mix_error(
            where, f"got format={format!r}, boxes that are rotated.",
            "What a paste leaves of a rotated box is no rotated box.",
            "Draw each as a mask: {'boxes': xyxy, 'masks': [k, H, W]}, and fit boxes to what is "
            "left of the masks.",
        )  # fmt: skip
    name = str(format).lower()
    told = _ELSEWHERE.get(name, name if name in IN_CELLS + NORMALISED else None)
    raise mix_error(
        where, f"got format={format!r}.",
        f"It is one of {', '.join(IN_CELLS)}, in cells, or {', '.join(NORMALISED)}, in shares of "
        "the image.", f"Say {told!r}." if told else "Convert other formats first.",
    )  # fmt: skip


def check_plan(where: str, plan: Plan) -> None:
    """Bounding boxes lie on H and W."""
    check_axes(where, plan.axes)


def check_axes(where: str, axes: str) -> None:
    """Those of a plan, or of a draw."""
    if sorted(axes) != ["H", "W"]:
        raise mix_error(
            where, f"the plan has the axes {axes!r}.",
            "Bounding boxes lie on H and W.",
            "Draw with size={'H': ..., 'W': ...}; of a Mixer say axes='HW'.",
        )  # fmt: skip


def check_dtype(where: str, dtype: str, format: str) -> None:
    """Coordinates are floats; whole cells may be signed integers."""
    if not re.fullmatch(r"b?(float|int)\d+", dtype):
        raise mix_error(
            where, f"boxes have dtype {dtype}.",
            "Coordinates are floats or signed integers: -1 marks places without a box.",
            "Convert them, for example to int64.",
        )  # fmt: skip
    if format in NORMALISED and "int" in dtype:
        raise mix_error(
            where, f"boxes have dtype {dtype}, and format={format!r}.",
            "Shares of an image are between 0 and 1.", f"For cells say {format[:-1]!r}.",
        )  # fmt: skip


def grid(plan: Plan) -> tuple[int, int]:
    """Height and width in cells."""
    sizes = dict(zip(plan.axes, plan.size))
    return sizes["H"], sizes["W"]


def corners(x: NDArray[Any], format: str, size: tuple[int, int]) -> Corners:
    """[..., 4] left, top, right, bottom in cells."""
    a, b, c, d = np.moveaxis(x[..., :4].astype(np.float64), -1, 0)
    if format.startswith("yxyx"):
        a, b, c, d = b, a, d, c
    elif format.startswith("xywh"):
        c, d = a + c, b + d
    elif format.startswith("cxcywh"):
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    found: Corners = np.stack([a, b, c, d], -1) * _unit(format, size)
    return found


def coordinates(corners: Corners, format: str, size: tuple[int, int]) -> Corners:
    """Left, top, right, bottom in cells as [..., 4] of a format."""
    a, b, c, d = np.moveaxis(corners / _unit(format, size), -1, 0)
    if format.startswith("yxyx"):
        a, b, c, d = b, a, d, c
    elif format.startswith("xywh"):
        c, d = c - a, d - b
    elif format.startswith("cxcywh"):
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return np.stack([a, b, c, d], -1)


def area(corners: Corners) -> NDArray[np.float64]:
    """[...]: 0 of what is no box."""
    sides = np.maximum(corners[..., 2:] - corners[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def check_values(
    where: str, x: NDArray[Any], format: str, size: tuple[int, int], integers: bool
) -> None:
    """Finite coordinates [B, N, 4], in the unit of their format as far as that can be seen."""
    broken = np.argwhere(~np.isfinite(x[..., :4].astype(np.float64)).all(-1))
    if len(broken):
        row, box = broken[0].tolist()
        raise mix_error(
            where, f"box {box} of row {row} is {x[row, box, :4].tolist()}.",
            "Coordinates are finite.", "Drop such boxes, or repair what makes them.",
        )  # fmt: skip
    given = x[..., :4].astype(np.float64)
    found = corners(given, format, (1, 1))
    _check_sides(where, given, found, format)
    real = area(found) > 0
    height, width = size
    shares = given if format in NORMALISED else found / (width, height, width, height)
    _check_far(where, given, real & (np.abs(shares) > _FAR).any(-1), format, size)
    if format not in NORMALISED and not integers and real.any() and max(size) >= _FEW:
        boxes = given[real]
        if boxes.min() >= -_NEAR and boxes.max() <= 1 + _NEAR:
            raise mix_error(
                where, f"all boxes lie between 0 and 1, format={format!r}, and the grid has "
                f"{size[0]} x {size[1]} cells.", f"Coordinates of {format!r} are cells.",
                f"For shares of the image say {format + 'n'!r}.",
            )  # fmt: skip


def _check_far(
    where: str, given: NDArray[np.float64], far: NDArray[np.bool_], format: str,
    size: tuple[int, int],
) -> None:  # fmt: skip
    """No box reaches as far outside as those of another unit, another size, or other axes do."""
    if not far.any():
        return
    row, box = np.argwhere(far)[0].tolist()
    got = f"box {box} of row {row} is {given[row, box].tolist()}, format={format!r}"
    if format in NORMALISED:
        raise mix_error(
            where, f"{got}.", "Shares of an image are between 0 and 1.",
            f"Coordinates in cells are {format[:-1]!r}.",
        )  # fmt: skip
    raise mix_error(
        where, f"{got}, and the grid has {size[0]} x {size[1]} cells (H x W).",
        "Boxes lie on the images of the batch, as they are there.",
        "Resize boxes with their images, clipped; or correct the images' layout, or the format.",
    )  # fmt: skip


def _check_sides(where: str, given: NDArray[np.float64], found: Corners, format: str) -> None:
    """No box ends before it begins; four equal numbers are padding."""
    turned = (found[..., 2:] < found[..., :2]).any(-1) & (given != given[..., :1]).any(-1)
    if turned.any():
        row, box = np.argwhere(turned)[0].tolist()
        raise mix_error(
            where, f"box {box} of row {row} is {given[row, box].tolist()}, format={format!r}: it "
            "ends before it begins.", "A box has sides >= 0; places without one are all -1.",
            "Say the format that they have, such as 'xywh'.",
        )  # fmt: skip


def _unit(format: str, size: tuple[int, int]) -> Any:
    height, width = size
    return np.array([width, height, width, height], float) if format in NORMALISED else 1.0
