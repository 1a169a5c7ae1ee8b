"""Photographs with bounding boxes, for the figures of detection: own blue, of partners orange."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from photographs import Draw, instances, photographs, shown, small

import batchmix as bm
from batchmix.cli.show.shown import Batch, Shown
from batchmix.cli.show.theme import Theme, drawn
from batchmix.fields import BoundingBoxes
from batchmix.policies import Blend, CopyBlend, CopyPaste, CutMix, Mosaic

# left, top, right, bottom in cells of 192 x 192, by hand
_THINGS: Mapping[str, list[list[float]]] = {
    "cat-0": [[36, 52, 83, 97], [138, 66, 172, 106], [100, 140, 142, 170]],
    "astronaut-0": [[58, 6, 144, 118]],
    "flower-0": [[22, 36, 156, 170], [82, 177, 154, 192]],
    "coffee-0": [[29, 6, 150, 102], [102, 114, 144, 156], [40, 108, 70, 146]],
}
_MOST = max(map(len, _THINGS.values()))


def things(*names: str) -> tuple[Batch, NDArray[np.float64]]:
    """Photographs, and their bounding boxes [B, N, 4], -1 where there is none."""
    boxes = np.full((len(names), _MOST, 4), -1.0)
    for row, name in zip(boxes, names):
        row[: len(_THINGS[name])] = _THINGS[name]
    return photographs(*names), boxes


THINGS, BOXES = things(*_THINGS)


def what_happens_to_boxes(theme: Theme) -> bytes:
    """A row and its partner, and the boxes of both after several policies."""
    hints = {"boxes": BOXES, "instances": instances(THINGS.x)}
    policies = {
        "CutMix": (CutMix(1.0), 2), "Blend": (Blend(), 0), "Mosaic": (Mosaic(), 1),
        "CopyPaste": (CopyPaste(1.0, min_area=300), 0),
        "CopyBlend": (CopyBlend(2, expand=(0.1, 0.25)), 14),
        "CopyBlend, opaque": (CopyBlend(2, low=0, high=0), 14),
    }  # fmt: skip
    made = [
        shown(name, policy, bm.Key(key), batch=THINGS, hints=hints)
        for name, (policy, key) in policies.items()
    ]
    row = len(THINGS) - 1
    with drawn(theme):
        canvas, grid = _panels(2, theme)
        for axes, i, whose in ((grid[0], row, "own"), (grid[1], row - 1, "partner")):
            axes.imshow(THINGS.x[i])
            axes.set_title({"own": "row"}.get(whose, whose), fontsize=8, pad=3, color=theme[whose])
            boxes(axes, BOXES[i], theme[whose])
        for axes, one in zip(grid[2:], made):
            mixed(axes, one, row, theme)
        return _png(canvas)


def copyblend(theme: Theme) -> bytes:
    """Four rows, and the same with objects of the others."""
    policy = CopyBlend(2, low=0.3, high=0.6, expand=(0.1, 0.25))
    one = shown("", policy, bm.Key(14), batch=THINGS, hints={"boxes": BOXES})
    with drawn(theme):
        canvas, grid = _panels(2, theme)
        for i in range(len(THINGS)):
            grid[i].imshow(THINGS.x[i])
            boxes(grid[i], BOXES[i], theme["own"])
            mixed(grid[4 + i], one, i, theme)
        for axes, title in ((grid[0], "rows"), (grid[4], "mixed")):
            axes.set_title(title, fontsize=8, pad=3, loc="left")
        return _png(canvas)


def _panels(lines: int, theme: Theme) -> tuple[Figure, Any]:
    """A figure of four panels in each line."""
    canvas = Figure(figsize=(6.0, 1.7 * lines))
    grid = canvas.subplots(lines, 4).ravel()
    canvas.subplots_adjust(0.005, 0.005, 0.995, 0.93, wspace=0.04, hspace=0.16)
    for axes in grid:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(theme["frame"])
    return canvas, grid


def _png(canvas: Figure) -> bytes:
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=110)
    return small(content.getvalue(), 0.95, 64)


def mixed(axes: Any, one: Shown, row: int, theme: Theme) -> None:
    """A mixed row with the boxes that it has."""
    axes.imshow(one.mixed[row])
    axes.set_title(one.name, fontsize=8, pad=3)
    found = BoundingBoxes()(BOXES, one.plan)[row]
    boxes(axes, found[_MOST:], theme["partner"])
    boxes(axes, found[:_MOST], theme["own"])


def boxes(axes: Any, found: NDArray[np.float64], colour: str) -> None:
    """Bounding boxes in one colour; -1 is none."""
    for left, top, right, bottom in found[found[:, 0] >= 0].tolist():
        corner = (left - 0.5, top - 0.5)
        for line, ink in ((2.6, "white"), (1.5, colour)):
            axes.add_patch(
                Rectangle(corner, right - left, bottom - top, fill=False, ec=ink, lw=line)
            )


FIGURES: Mapping[str, Draw] = {"detection": what_happens_to_boxes, "copyblend": copyblend}
