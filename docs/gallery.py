"""The thumbnails of docs/gallery.md: a row, its partner, and what a policy makes of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from detection_pictures import things
from matplotlib.figure import Figure
from photographs import FIVE, Draw, instances, photographs, shades, shown, small

import batchmix as bm
from batchmix.cli.show import panels
from batchmix.cli.show.shown import Shown
from batchmix.cli.show.theme import Theme, drawn
from batchmix.policies import (
    Blend,
    ClassMix,
    Columns,
    CopyBlend,
    CopyPaste,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    PerBatch,
    Ramp,
    ReMix,
    ResizeMix,
    SaliencyMix,
    SmoothMix,
    Sometimes,
    Switch,
)

_SIDE = 1.15  # inches
_Panel = Callable[[Any, Theme], None]  # draws into axes


def gallery() -> dict[str, Draw]:
    """A strip per page of docs/policies, by the name of the page."""
    cut, pair = CutMix(1.0), photographs("flower-0", "astronaut-0")
    cup, cup_boxes = things("coffee-0", "astronaut-0")
    both = Switch([MixUp(0.8), cut])
    ramp = Ramp(MixUp(dominant=True), "alpha", 0.1, 8, last=90)
    rare = ReMix(MixUp(1.0), counts=[900, 100] * 4)
    fade = [shown(f"epoch {n}", ramp, bm.Key(3, epoch=n)) for n in (0, 45, 90)]
    one = {
        "mixup": shown("", MixUp(1.0), bm.Key(404)),
        "cutmix": shown("", cut, bm.Key(7)),
        "blend": shown("", Blend(), bm.Key(5)),
        "resizemix": shown("", ResizeMix(), bm.Key(5)),
        "fmix": shown("", FMix(), bm.Key(18)),
        "gridmix": shown("", GridMix(), bm.Key(7)),
        "smoothmix": shown("", SmoothMix(), bm.Key(5)),
        "mosaic": shown("", Mosaic(), bm.Key(5)),
        "columns": shown("", Columns(0.3), bm.Key(5)),
        "layers": shown("", Layers([MixUp(0.8), cut]), bm.Key(5)),
        "saliencymix": shown("", SaliencyMix(1.0), bm.Key(7), hints={"image": FIVE.x}),
        "classmix": shown("", ClassMix(), bm.Key(5), hints={"mask": shades(FIVE.x)}),
        "copypaste": shown(
            "", CopyPaste(1.0, min_area=300), bm.Key(5), batch=pair,
            hints={"instances": instances(pair.x)},
        ),
        "copyblend": shown(
            "", CopyBlend(1, low=0, high=0.4), bm.Key(5), batch=cup, hints={"boxes": cup_boxes},
        ),
        "remix": shown("", rare, bm.Key(404), hints={"label": FIVE.y}),
    }  # fmt: skip
    return {name: _strip(_before_and_after(each)) for name, each in one.items()} | {
        "switch": _strip(_mixed([shown("", both, bm.Key(18))] * 3, (0, 1, 2))),
        "sometimes": _strip(_mixed([shown("", Sometimes(cut, 0.5), bm.Key(5))] * 3, (0, 1, 2))),
        "per-batch-and-per-pair": _strip(
            _mixed([shown("", PerBatch(cut), bm.Key(14))] * 3, (0, 1, 2))
        ),
        "schedule": _strip(_mixed(fade, (0, 0, 0))),
    }


def _before_and_after(one: Shown, row: int = 0) -> list[_Panel]:
    """A row, its partners, and the mixed row."""
    whose = {row: "own"} | dict.fromkeys(one.partners(row), "partner")
    before = [
        lambda axes, theme, i=i: panels.original(axes, one.batch, i, whose[i], theme) for i in whose
    ]
    return [*before, *_mixed([one], (row,))]


def _mixed(several: Sequence[Shown], rows: Sequence[int]) -> list[_Panel]:
    """Mixed rows with their labels, each under the name of its plan."""

    def draw(axes: Any, theme: Theme, one: Shown, row: int) -> None:
        panels.mixed(axes, one, row, theme)
        panels.label(axes, one, row, theme)
        axes.set_title(one.name or "mixed", fontsize=8, pad=2)

    return [partial(draw, one=one, row=row) for one, row in zip(several, rows)]


def _strip(parts: Sequence[_Panel]) -> Draw:
    """Panels side by side."""

    def strip(theme: Theme) -> bytes:
        with drawn(theme):
            canvas = Figure(figsize=(_SIDE * len(parts), _SIDE + 0.62))
            grid = canvas.subplots(1, len(parts), squeeze=False)[0]
            canvas.subplots_adjust(0.01, 0.25, 0.99, 0.9, wspace=0.06)
            for axes, draw in zip(grid, parts):
                axes.set(xticks=[], yticks=[], anchor="N")
                axes.spines[:].set_color(theme["frame"])
                draw(axes, theme)
            content = io.BytesIO()
            canvas.savefig(content, format="png", dpi=115)
        return small(content.getvalue())

    return strip
