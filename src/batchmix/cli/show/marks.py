"""Bounding boxes and masks drawn over an image. A box is in the colour of the row it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from batchmix.cli.show.beside import Beside, Seen
from batchmix.cli.show.theme import Theme

# of ids 1, 2, ... in turn: neither a row's blue nor its partner's orange
_IDS = (
    "#2ca02c", "#d62728", "#9467bd", "#17becf", "#e377c2", "#bcbd22", "#8c564b", "#00695c",
    "#f06292", "#7cb342", "#5e35b1", "#c0a000",
)  # fmt: skip
_OVER = 0.55  # how much of a mask is seen over the image
_LONG = 12  # letters of a class


def draw(axes: Any, beside: Beside, row: int, theme: Theme, whose: str | None = None) -> None:
    """What a row has; `whose` names one colour for all of it, else each box has its row's."""
    axes.autoscale(False)
    if beside.mask is not None:
        _mask(axes, beside.mask[row])
    for seen in beside.seen(row):
        colour = theme[whose or ("own" if seen.row == row else "partner")]
        if seen.mask is not None and seen.mask.any():
            axes.contour(seen.mask, [0.5], colors=[colour], linewidths=0.8, linestyles="--")
        if seen.points is not None:
            x, y = seen.points[_there(seen.points), :2].T - 0.5
            axes.plot(x, y, "o", ms=3, mec=theme["page"], mew=0.5, color=colour)
        if seen.corners:
            _box(axes, seen, colour, theme)


def _box(axes: Any, seen: Seen, colour: str, theme: Theme) -> None:
    """A box with the name of its class in a corner."""
    left, top, right, bottom = seen.corners
    corner, sides = (left - 0.5, top - 0.5), (right - left, bottom - top)
    axes.add_patch(Rectangle(corner, *sides, fill=False, ec=colour, lw=1.3))
    if seen.name:
        name = seen.name if len(seen.name) <= _LONG else seen.name[: _LONG - 1] + "…"
        axes.annotate(
            name, corner, (1.5, -1.5), "data", "offset points", va="top", fontsize=5.5,
            color=theme["page"], bbox={"fc": colour, "ec": "none", "pad": 0.8}, clip_on=True,
        )  # fmt: skip


def _there(points: Any) -> Any:
    """[P]: which points have a place; those of visibility 0, of 0, 0, and below 0 have none."""
    marked = points[:, 2] > 0 if points.shape[1] == 3 else points.any(1)
    return marked & (points[:, :2] >= 0).all(1)


def _mask(axes: Any, ids: Any) -> None:
    """Each id in its colour, the same in every picture; 0 is clear, 255 is grey."""
    colours = np.array([to_rgb(colour) for colour in _IDS])[(ids - 1) % len(_IDS)]
    colours[ids == 255] = 0.5
    shown = np.concatenate([colours, _OVER * (ids != 0)[..., None]], -1)
    axes.imshow(shown, interpolation="nearest")
