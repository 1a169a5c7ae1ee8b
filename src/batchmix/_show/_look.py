"""What of a batch is drawn: rows as pictures, sounds or strips, and what lies beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._drawing import on_host
from batchmix._errors import mix_error
from batchmix._labels import mix_labels
from batchmix._layers import check_known
from batchmix._mix import mix
from batchmix._parts import Part, parts_of
from batchmix._plan import Plan
from batchmix._show._marks import Marks, loose, marks
from batchmix.fields import BoundingBoxes, Field, Grid, Ids, Instances, Keypoints, Labels, Targets

_MOST = 32  # rows
_AXES: Mapping[frozenset[str], Literal["image", "wave", "table"]] = {
    frozenset("HW"): "image", frozenset("THW"): "image", frozenset("DHW"): "image",
    frozenset("T"): "wave", frozenset(): "table",
}  # fmt: skip


class Look(NamedTuple):
    """Rows before and after; images have channels last."""

    form: Literal["image", "wave", "table"]
    x: NDArray[Any]  # [B, H, W, C], [B, T, C], or of a table [B, C]
    mixed: NDArray[Any]
    opacity: NDArray[Any]  # of the partner: [B, H, W], [B, T], [B, C]
    ids: NDArray[Any]  # [B]
    soft: NDArray[np.float32]  # [B, classes]
    names: list[str]  # of the classes
    numbers: NDArray[Any] | None  # [B], of a regression
    masks: tuple[NDArray[Any], NDArray[Any]] | None = None  # [B, H, W] before and after
    marks: Sequence[tuple[list[Marks], list[Marks]]] = ()  # of each field, before and after
    box_names: Sequence[str] = ()


def look_of(
    batch: Any,
    plan: Plan,
    fields: str | Mapping[Any, Field],
    rows: int,
    classes: Sequence[str] | None,
) -> Look:
    """What of a batch is drawn; a MixError where nothing can be."""
    parts = _parts(batch, fields)
    check_known("bm.show()", plan)
    x, layout = np.asarray(on_host(parts[0].value)), parts[0].field.layout
    _check(x, layout, plan, rows)
    form = _AXES[frozenset(layout) - set("NC")]
    few = [1 if a == "C" and a not in plan.axes else n for a, n in zip(layout, x.shape)]
    nothing = np.zeros(few, np.float32)
    after, opacity = mix(x, plan, layout), mix(nothing, plan, layout, other=nothing + 1)
    numbers = _numbers(_first(parts, Targets), len(x))
    named = numbers if _first(parts, Labels) is None else None
    labels = _labels(_first(parts, Labels), plan, classes, named)
    if form == "table":
        x, after = (_columns(each, layout) for each in (x, after))
        opacity = np.broadcast_to(_columns(opacity, layout), x.shape)
        return Look(form, x, after, opacity, *labels, named)
    x, after, opacity = (plane(each, layout) for each in (x, after, opacity))
    masks = _masks(_first(parts, Ids), plan, x.shape)
    boxes = _marks(parts, plan, x.shape)
    names = () if _first(parts, Labels) else classes or ()
    return Look(form, x, after, opacity[..., 0], *labels, named, masks, boxes, names)


def _parts(batch: Any, fields: str | Mapping[Any, Field]) -> list[Part]:
    """The grid that is drawn, then what else there is."""
    if isinstance(fields, str):
        return [Part((), (), Grid(fields), batch)]
    parts = parts_of(batch, fields)
    grids = [part for part in parts if isinstance(part.field, Grid)]
    if not grids:
        raise mix_error(
            "bm.show()", f"got fields={fields!r}.", "A grid is drawn: an Image, Video or Audio.",
            "Pass the fields of the Mixer, or a layout such as 'NCHW'.",
        )  # fmt: skip
    return [grids[0], *parts]


def _first(parts: list[Part], kind: type) -> Part | None:
    return next((part for part in parts if isinstance(part.field, kind)), None)


def _check(x: NDArray[Any], layout: str, plan: Plan, rows: int) -> None:
    """That there is something to draw, and how much."""
    axes = frozenset(layout) - set("NC")
    if axes not in _AXES or (not axes and layout != "NC"):
        raise mix_error(
            "bm.show()", f"got the layout {layout!r}.",
            "Images, videos, volumes, sounds and tables are drawn: axes H and W, with T or D or "
            "without; T alone; or the columns C alone.",
            "For anything else look at the plan itself: it is a table in a notebook.",
        )  # fmt: skip
    count = len(x) if x.ndim else 0
    if not isinstance(rows, Integral) or not 1 <= rows <= _MOST or not len(plan) or not count:
        raise mix_error(
            "bm.show()", f"got rows={rows!r} of {count}.", f"1..{_MOST} rows are drawn.",
            "Pass a batch with rows, and for example rows=8.",
        )  # fmt: skip
    if plan.others is not None:
        raise mix_error(
            "bm.show()", "the plan takes its partners from a second batch.",
            "Partners are drawn from the batch itself.", "Draw the plan without `other`.",
        )  # fmt: skip


def _labels(
    part: Part | None, plan: Plan, classes: Sequence[str] | None, numbers: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[np.float32], list[str]]:
    """Ids [B], mixed labels [B, C], and names [C]; without labels each row is its own class."""
    if part is None:
        ids = np.arange(len(plan))
        named = [f"row {i}" for i in ids] if numbers is None else [f"{v:.4g}" for v in numbers]
        return ids, mix_labels(ids, plan, len(ids)), named
    given = np.asarray(on_host(part.value))
    soft = np.asarray(on_host(part.field(part.value, plan)))
    ids = given.argmax(1) if given.ndim > 1 else given
    names = [str(i) for i in range(soft.shape[1])] if classes is None else list(map(str, classes))
    if len(names) != soft.shape[1]:
        raise mix_error(
            "bm.show()", f"got {len(names)} names of classes.",
            f"The labels have {soft.shape[1]} classes.", "Name each of them, or leave them out.",
        )  # fmt: skip
    return ids, soft, names


def _numbers(part: Part | None, rows: int) -> NDArray[Any] | None:
    """[B]; None where a row has several, or none."""
    if part is None:
        return None
    values = np.asarray(on_host(part.value), np.float64)
    return values.reshape(rows) if values.size == rows else None


def _masks(
    part: Part | None, plan: Plan, shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Ids before and after, where they lie on the cells of the images that are drawn."""
    if part is None or len(shape) != 4 or sorted(plan.axes) != ["H", "W"]:
        return None
    layout = part.field.layout
    both = [np.asarray(on_host(each)) for each in (part.value, part.field(part.value, plan))]
    before, after = (plane(each, layout) for each in both)
    if before.shape[:3] != shape[:3] or before.shape[3] != 1:
        return None
    return before[..., 0].astype(np.int64), after[..., 0].astype(np.int64)


def _marks(
    parts: list[Part], plan: Plan, shape: tuple[int, ...]
) -> list[tuple[list[Marks], list[Marks]]]:
    """Boxes, instances and key points, where they lie in the images that are drawn."""
    if len(shape) != 4 or sorted(plan.axes) != ["H", "W"]:
        return []
    size = {"H": shape[1], "W": shape[2]}
    found = []
    for _, _, field, value in parts:
        if isinstance(field, BoundingBoxes):
            found.append(marks(field, value, plan, size))
        elif isinstance(field, Instances | Keypoints):
            found.append(loose(field, value, plan, size))
    return found


def _columns(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """[B, C]."""
    return x.transpose([layout.index(a) for a in "NC"])


def plane(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """[B, H, W, C] or [B, T, C]; of a video the middle frame, of a volume the middle slices."""
    if "C" not in layout:
        x, layout = x[..., None], layout + "C"
    order = "NDHWC" if "D" in layout else "NTHWC" if "H" in layout else "NTC"
    x = x.transpose([layout.index(a) for a in order if a in layout])
    if "D" in layout:
        return _slices(x)
    return x[:, x.shape[1] // 2] if x.ndim == 5 else x


def _slices(x: NDArray[Any]) -> NDArray[Any]:
    """[B, H, W, C] of [B, D, H, W, C]: across D, H and W side by side, with a line between."""
    middle = [x[:, x.shape[1] // 2], x[:, :, x.shape[2] // 2], x[:, :, :, x.shape[3] // 2]]
    height, gap = max(each.shape[1] for each in middle), max(1, max(x.shape[1:4]) // 24)
    wide = sum(each.shape[2] for each in middle) + 2 * gap
    made = np.zeros((len(x), height, wide, x.shape[4]), x.dtype)
    left = 0
    for each in middle:
        made[:, : each.shape[1], left : left + each.shape[2]] = each
        left += each.shape[2] + gap
    return made
