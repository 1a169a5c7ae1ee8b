"""What mixing does to an image, to its mask of ids and to its soft mask, as one picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from photographs import photographs, shades, small

import batchmix as bm
from batchmix.cli.show.theme import Theme, drawn
from batchmix.fields import Ids
from batchmix.policies import ClassMix, CutMix, MixUp, Policy

_POLICIES: dict[str, tuple[Policy, int]] = {
    "CutMix": (CutMix(1.0), 7),
    "MixUp": (MixUp(1.0), 2),
    "ClassMix": (ClassMix(), 6),
}
_SIDES = ("image", 'Mask("NHW")', 'SoftMask(\n"NHW", 3,\nignore=255)')


def segmentation(theme: Theme) -> bytes:
    """A row, its partner and three mixes: pixels, ids, and weights of the classes."""
    x = photographs("coffee-1", "cat-0").x
    ids = shades(x)
    names = ["the row", "its partner", *_POLICIES]
    with drawn(theme):
        canvas = Figure(figsize=(8.8, 5.4), layout="constrained")
        grid = canvas.subplots(3, len(names))
        for column, name, parts in zip(grid.T, names, _columns(x, ids, theme)):
            column[0].set_title(name, fontsize=11)
            for axes, part in zip(column, parts):
                axes.imshow(part)
        for axes, side in zip(grid[:, 0], _SIDES):
            axes.set_ylabel(side, fontsize=9, rotation=0, ha="right", va="center")
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        made = io.BytesIO()
        canvas.savefig(made, format="png", dpi=90)
    return small(made.getvalue(), colours=64)


def _columns(x: NDArray[Any], ids: NDArray[Any], theme: Theme) -> list[list[NDArray[Any]]]:
    """The three pictures of each column. Cells are painted by whose they are, and by class."""
    painted = np.stack(
        [_painted(one, theme[whose], theme) for one, whose in zip(ids, ("own", "partner"))]
    )
    columns = [[x[k], painted[k], painted[k]] for k in (0, 1)]
    for policy, seed in _POLICIES.values():
        size = {"H": x.shape[1], "W": x.shape[2]}
        plan = bm.draw(policy, bm.Key(seed), 2, size, hints={"mask": ids})
        hard = Ids("NHWC")(painted, plan)
        columns.append([bm.mix(x, plan, "NHWC")[0], hard[0], bm.mix(painted, plan, "NHWC")[0]])
    return columns


def _painted(ids: NDArray[Any], colour: str, theme: Theme) -> NDArray[np.float32]:
    """[H, W, 3]: a tint for each class; where classes meet nothing is known, and nothing seen."""
    full, page, black = (np.array(to_rgb(c)) for c in (colour, theme["page"], "#000000"))
    tints = np.stack([0.45 * full + 0.55 * black, full, 0.45 * full + 0.55 * np.ones(3)])
    made: NDArray[np.float32] = tints[ids].astype(np.float32)
    edge = np.zeros(ids.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge |= np.roll(ids, step, axis) != ids
    made[edge] = page
    return made
