"""A row of a table, its partner, and what policies make of them, from plans drawn by seed."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import batchmix as bm
from batchmix.cli.show.theme import Theme, drawn
from batchmix.policies import Columns, MixUp, Policy

NAMES = ("age", "income", "hours", "city", "single", "married", "widowed")
CITIES = {3: "3 Oslo", 7: "7 Lima"}
TABLE = np.array([[34.0, 41, 38, 3, 1, 0, 0], [62, 25, 10, 7, 0, 0, 1]])
CATEGORICAL = [3, (4, 5, 6)]
LINES: list[tuple[str, Policy, int]] = [
    ("MixUp(1.0)", MixUp(1.0), 24),
    ("Columns(0.4)", Columns(0.4), 9),
    ("Columns(categorical=\n[3, (4, 5, 6)], alpha=1)", Columns(0.3, CATEGORICAL, 1.0), 24),
]  # fmt: skip


def strip(theme: Theme) -> Figure:
    """Each cell by whose it is: left the row's share, right the partner's."""
    canvas = Figure(figsize=(9.2, 3.3))
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-2.75, 9.3), ylim=(5.75, -0.75))
    axes.set_axis_off()
    for column, name in enumerate(NAMES):
        axes.text(column + 0.5, -0.25, name, ha="center", fontsize=10, color=theme["soft"])
    axes.text(8.25, -0.25, "label", ha="center", fontsize=10, color=theme["soft"])
    for line, (name, share) in enumerate((("the row", 0.0), ("its partner", 1.0))):
        _line(axes, theme, line, name, TABLE[line], np.full(len(NAMES), share))
    for line, (name, policy, seed) in enumerate(LINES):
        plan = bm.draw(policy, bm.Key(seed), 2, {"C": len(NAMES)})
        mixed = bm.mix(TABLE, plan, "NC")[0]
        mask = np.ones(len(NAMES)) if plan.mask is None else plan.mask[0]
        mask = mask / 255 if mask.dtype == np.uint8 else mask
        share = plan.opacity[0] * mask
        assert np.isclose(1 - share.mean(), plan.lam[0])
        _line(axes, theme, line + 2.4, name, mixed, share)
    return canvas


def _line(
    axes: Axes, theme: Theme, y: float, name: str, values: np.ndarray, share: np.ndarray
) -> None:
    """A row of the table: its name, its cells, and its label."""
    axes.text(-0.15, y + 0.4, name, ha="right", va="center", fontsize=10, color=theme["ink"])
    for column, (value, part) in enumerate(zip(values, share)):
        _shares(axes, theme, column, y, 0.94, float(part))
        number = f"{value:.2f}".rstrip("0").rstrip(".")
        text = CITIES.get(value, number) if column == 3 else number
        axes.text(column + 0.47, y + 0.4, text, ha="center", va="center", fontsize=10,
                  color=theme["page"], fontweight="bold")  # fmt: skip
    own = 1 - float(share.mean())
    _shares(axes, theme, 7.3, y, 1.9, 1 - own)
    for at, part, align in ((7.38, own, "left"), (9.12, 1 - own, "right")):
        if part > 0.1:
            axes.text(at, y + 0.4, f"{part:.2f}", ha=align, va="center", fontsize=10,
                      color=theme["page"], fontweight="bold")  # fmt: skip


def _shares(axes: Axes, theme: Theme, x: float, y: float, width: float, part: float) -> None:
    """A bar, left in blue and from its share on in orange."""
    own = width * (1 - part)
    axes.add_patch(Rectangle((x, y), own, 0.8, color=theme["own"], lw=0))
    axes.add_patch(Rectangle((x + own, y), width - own, 0.8, color=theme["partner"], lw=0))


def table(theme: Theme) -> bytes:
    """As PNG."""
    with drawn(theme):
        made, canvas = io.BytesIO(), strip(theme)
        canvas.savefig(made, format="png", dpi=160)
    return made.getvalue()
