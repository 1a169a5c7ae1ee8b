"""The named parts of a batch: looked up once, their sizes, and whether they may be written to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from batchmix._batch import shape_of
from batchmix._errors import MixError, mix_error
from batchmix._tree import Path, get_at, leaves, path_of
from batchmix.backends import backend_of
from batchmix.fields import Field


class Part(NamedTuple):
    """A named part of a batch, looked up once."""

    place: Any
    path: Path
    field: Any  # a Field; None of what is read only
    value: Any


def checked_fields(fields: Any) -> dict[Any, Field]:
    """What a Mixer is told of its batches: {place: field}."""
    if not isinstance(fields, Mapping):
        raise mix_error(
            "Mixer", f"got fields={fields!r}.", "They say where in a batch there is what.",
            "Pass Mixer(policy, {0: Image('NCHW'), 1: Labels(10)}).",
        )  # fmt: skip
    for place, field in fields.items():
        if isinstance(field, type) or not callable(field):
            raise mix_error(
                "Mixer", f"field {place!r} is {field!r}.",
                "A field is a value such as Image('NCHW'), called with a part of the batch.",
                "Pass for example {0: Image('NCHW'), 1: Labels(10)}.",
            )  # fmt: skip
    _check_apart([*fields])
    return dict(fields)


def _check_apart(places: list[Any]) -> None:
    """No field is a part of another: what is written last would undo what was written first."""
    for k, place in enumerate(places):
        for later in places[:k] + places[k + 1 :]:
            path = path_of(place)
            if path_of(later)[: len(path)] == path:
                raise mix_error(
                    "Mixer", f"field {later!r} is a part of field {place!r}, or the same.",
                    "Each field is mixed for itself, and put in its place.",
                    "Name parts that lie side by side; a dict of all boxes of a batch, say, in an "
                    "entry of its own.",
                )  # fmt: skip


def parts_of(batch: Any, fields: Mapping[Any, Field]) -> list[Part]:
    """Every part of `batch` that a field is named for."""
    parts = []
    for place, field in fields.items():
        path = path_of(place)
        parts.append(Part(place, path, field, get_at(batch, path)))
    return parts


def sizes_of(parts: list[Part], axes: str | None) -> tuple[int | None, dict[str, int], Any]:
    """Number of rows (None in a graph that does not know), cells of each axis, an array.

    `axes` are the letters that boxes lie on; None for those that all grids of the batch share.
    """
    first, shared = None, None
    sizes: dict[str, tuple[int, Any]] = {}
    for place, _, field, value in parts:
        layout = getattr(field, "layout", None)
        shape = shape_of(value, "Mixer") if hasattr(value, "shape") else ()
        if first is None and shape:
            first = value
        if layout is not None and isinstance(value, list | tuple):
            raise _unstacked(place, value)
        if layout is None or len(layout) != len(shape):
            continue  # the field itself says what does not fit
        for axis, n in zip(layout, shape):
            if n is None or (axis == "C" and "C" not in (axes or "")):
                continue  # channels of one grid need not be those of another
            if sizes.setdefault(axis, (n, place))[0] != n:
                raise _sizes_differ(axis, place, n, *sizes[axis])
        shared = [a for a in layout if a not in "NC" and (shared is None or a in shared)]
    if first is None:
        raise mix_error(
            "Mixer", f"none of the fields {[part.place for part in parts]} is an array.",
            "The number of rows is read from them.", "Name the images or the labels.",
        )  # fmt: skip
    if axes is None:
        axes = "".join(shared or ())
        axes = axes if axes == "T" else axes.replace("T", "")
    missing = [a for a in axes if a not in sizes]
    if missing:
        raise mix_error(
            "Mixer", f"got axes={axes!r}; no field has an axis {missing[0]!r} of known size.",
            "Boxes lie on axes of the batch, in cells that are counted before drawing.",
            f"Choose among {sorted(sizes)}, or resize first.",
        )  # fmt: skip
    return first.shape[0], {axis: sizes[axis][0] for axis in axes}, first


def with_own_memory(parts: list[Part], batch: Any, other: Any) -> list[Part]:
    """The parts that may be written to: by their field, in memory of which nothing else is part."""
    arrays = [x for x in leaves((batch, other)) if hasattr(x, "dtype")]
    found = []
    for part in parts:
        x = part.value
        if not (hasattr(part.field, "check") and hasattr(x, "dtype")):
            continue
        others = [y for y in arrays if y is not x]
        named = sum(p.value is x for p in parts)
        once = named == 1 and len(others) == len(arrays) - 1
        if once and backend_of(x, "Mixer").writable(x) and not any(_share(x, y) for y in others):
            found.append(part)
    return found


def _share(x: Any, y: Any) -> bool:
    """Whether two arrays share memory, of one framework or of two."""
    try:
        b, c = backend_of(x, "Mixer"), backend_of(y, "Mixer")
    except MixError:  # of an unknown array nobody can tell
        return True
    if b is c:
        return b.overlap(x, y) != "none"
    mine, theirs = b.on_host(x), c.on_host(y)
    return mine is not None and theirs is not None and np.may_share_memory(mine, theirs)


def _unstacked(place: Any, rows: Any) -> MixError:
    """Images in a list, as collate functions of detection leave them."""
    shapes = sorted({tuple(getattr(row, "shape", ())) for row in rows})
    return mix_error(
        "Mixer", f"field {place!r} is a {type(rows).__name__} of {len(rows)}, of the shapes "
        f"{', '.join(map(str, shapes[:4]))}.",
        "Rows are mixed cell by cell, in one array.",
        "Stack them in the collate function, for example with torch.stack; pad or resize images "
        "of different sizes, and their boxes, before." if len(shapes) > 1 else
        "Stack them in the collate function, for example with torch.stack.",
    )  # fmt: skip


def _sizes_differ(axis: str, place: Any, n: int, first: int, at: Any) -> MixError:
    return mix_error(
        "Mixer", f"field {place!r} has {axis}={n}, field {at!r} has {axis}={first}.",
        "One plan acts on all fields, cell by cell.", "Resize one of them before mixing.",
    )  # fmt: skip
