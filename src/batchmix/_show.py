"""A batch and what a plan does to it, as one picture for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._drawing import on_host
from batchmix._errors import mix_error
from batchmix._labels import mix_labels
from batchmix._layers import check_known
from batchmix._mix import mix
from batchmix._parts import Part, parts_of
from batchmix._plan import Plan
from batchmix.fields import Field, Grid, Labels

_MOST = 32  # rows


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG: a notebook shows it, `save` writes it."""

    png: bytes

    def __repr__(self) -> str:
        return f"Picture(PNG of {len(self.png):,} bytes; save(path) writes it)"

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> None:
        """Write it as a PNG file."""
        Path(path).write_bytes(self.png)


def show(
    batch: Any,
    plan: Plan,
    fields: str | Mapping[Any, Field],
    *,
    rows: int = 8,
    classes: Sequence[str] | None = None,
) -> Picture:
    r"""Draw the first rows of a batch: each row, its partners, what is pasted, and the mixed row.

    Under each mixed row is its label as a bar: blue is the row's own part, orange its partners'.
    Needs matplotlib and typer.

    Args:
      batch: as it is before it is mixed: an array [B, ...] of any framework; or all of the batch,
        of which `fields` says what is where. Of a video the middle frame is drawn.
      plan: of this batch, as `draw` or `Mixer.draw` gave it.
      fields: a layout of the array, such as "NCHW"; or those of the Mixer, such as
        ``{0: Image("NCHW"), 1: Labels(10)}``, of which the first grid is drawn, and the first
        Labels are named.
      rows: how many are drawn at most, 1..32.
      classes: names of the classes; left out, their numbers.

    Returns:
      A `Picture`: a notebook shows it, ``picture.save("batch.png")`` writes it. Floats that are
      not in 0..1 are scaled: the batch's smallest value is black, its largest white. Of other than
      1 or 3 channels the mean is drawn.

    Raises:
      MixError: what is not an image, a video or a sound; a plan that is not of this batch, or takes
        partners from a second one; matplotlib or typer is missing.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> x = np.random.default_rng(0).random((8, 3, 16, 16), np.float32)
      >>> plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 8, {"H": 16, "W": 16})
      >>> bm.show(x, plan, "NCHW").png[:4]
      b'\x89PNG'

    Differs from: other libraries draw mixed images alone, without partner, box and label.
    """
    _check_kinds(plan, fields)
    grid, labels = _parts(batch, fields)
    check_known("bm.show()", plan)
    x, layout = np.asarray(on_host(grid.value)), grid.field.layout
    _check(x, layout, plan, rows)
    ids, soft, names = _labels(labels, plan, classes)
    nothing = np.zeros([1 if a == "C" else n for a, n in zip(layout, x.shape)], np.float32)
    after, opacity = mix(x, plan, layout), mix(nothing, plan, layout, other=nothing + 1)
    planes = [_plane(each, layout) for each in (x, after, opacity)]
    try:
        from batchmix.cli.show.one_batch import drawn
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise mix_error(
            "bm.show()", f"{package} is not installed.",
            "matplotlib draws the picture, with a part of the command line.",
            "pip install matplotlib typer",
        ) from None  # fmt: skip
    return Picture(drawn(*planes, plan=plan, ids=ids, soft=soft, names=names, rows=rows))


def _check_kinds(plan: Any, fields: Any) -> None:
    """That the arguments are in their order."""
    if not isinstance(plan, Plan) or not isinstance(fields, str | Mapping):
        raise mix_error(
            "bm.show()", f"got a {type(plan).__name__} and a {type(fields).__name__}.",
            "After the batch come its plan, and a layout or the fields of the Mixer.",
            "Call it for example as bm.show(x, plan, 'NCHW').",
        )  # fmt: skip


def _parts(batch: Any, fields: str | Mapping[Any, Field]) -> tuple[Part, Part | None]:
    """What is drawn, and the labels if there are any."""
    if isinstance(fields, str):
        return Part((), (), Grid(fields), batch), None
    parts = parts_of(batch, fields)
    grids = [part for part in parts if isinstance(part.field, Grid)]
    labels = [part for part in parts if isinstance(part.field, Labels)]
    if not grids:
        raise mix_error(
            "bm.show()", f"got fields={fields!r}.", "A grid is drawn: an Image, Video or Audio.",
            "Pass the fields of the Mixer, or a layout such as 'NCHW'.",
        )  # fmt: skip
    return grids[0], labels[0] if labels else None


def _check(x: NDArray[Any], layout: str, plan: Plan, rows: int) -> None:
    """That there is something to draw, and how much."""
    if set(layout) - set("NC") not in ({"H", "W"}, {"T", "H", "W"}, {"T"}):
        raise mix_error(
            "bm.show()", f"got the layout {layout!r}.",
            "Images, videos and sounds are drawn: axes H and W, with T or without, or T alone.",
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
    part: Part | None, plan: Plan, classes: Sequence[str] | None
) -> tuple[NDArray[Any], NDArray[np.float32], list[str]]:
    """Ids [B], mixed labels [B, C], and names [C]; without labels each row is its own class."""
    if part is None:
        ids = np.arange(len(plan))
        return ids, mix_labels(ids, plan, len(ids)), [f"row {i}" for i in ids]
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


def _plane(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """[B, H, W, C] or [B, T, C]; of a video the middle frame."""
    if "C" not in layout:
        x, layout = x[..., None], layout + "C"
    last = [a for a in ("NTHWC" if "H" in layout else "NTC") if a in layout]
    x = x.transpose([layout.index(a) for a in last])
    return x[:, x.shape[1] // 2] if len(last) == 5 else x
