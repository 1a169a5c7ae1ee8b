"""The figures of `batchmix preview`. Blue is the row's own content, orange its partner's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from batchmix.cli._arms import Arm
from batchmix.cli._shown import Batch, Shown
from batchmix.policies import CutMix, MixUp, Policy, Switch

_COLOURS = {"own": "#2b6cb0", "partner": "#d98a1f", "others": "#aaaaaa"}
_INK = "#333333"
_PASTED = LinearSegmentedColormap.from_list("pasted", ["#f4f4f4", _COLOURS["partner"]])
_ALPHAS = (0.2, 0.5, 1.0, 2.0, 8.0)
_EXAMPLES = 3  # soft labels drawn in full
_SIDE = 1.05  # inches


def rows(title: str, shown: Sequence[Shown]) -> bytes:
    """One column per row of the batch: itself, its partner, and for each plan what it does."""
    batch, partner = shown[0].batch, shown[0].plan.partner
    names = ["row", "partner"]
    for one in shown:
        names += [f"{one.name}\nwhat is pasted", "mixed,\nand its label"]
    canvas, grid = _grid(title, batch, names, labelled=[3 + 2 * k for k in range(len(shown))])
    for i, column in enumerate(grid.T):
        for axes, row, whose in ((column[0], i, "own"), (column[1], int(partner[i]), "partner")):
            _image(axes, batch.rows.x[row])
            axes.set_title(batch.name(row), fontsize=8, color=_COLOURS[whose], pad=2)
        for k, one in enumerate(shown):
            pasted, mixed = column[2 + 2 * k : 4 + 2 * k]
            pasted.imshow(one.weight[i], cmap=_PASTED, vmin=0, vmax=1)
            _mixed(mixed, one, i)
            _label(mixed, one, i)
    return _png(canvas)


def alphas(title: str, batch: Batch, arms: Sequence[Arm]) -> bytes:
    """One line per alpha: the same rows with the same partners, and how own shares spread."""
    lines = [
        (f"{arm.name.partition(':')[0]}\nalpha {alpha:g}", _with_alpha(arm.policy, alpha))
        for arm in arms
        if arm.policy
        for alpha in _ALPHAS
    ]
    names = [name for name, _ in lines]
    canvas, grid = _grid(title, batch, names, labelled=[len(lines) - 1], beside=True)
    for line, (name, policy) in zip(grid, lines):
        one = batch.apply(name, batch.draw(policy))
        for i, axes in enumerate(line[:-1]):
            _mixed(axes, one, i)
        _spread(line[-1], batch.lam(policy))
    for axes in grid[:-1, -1]:
        axes.tick_params(labelbottom=False)
    grid[-1, -1].set_xlabel("own share,\nof many rows", fontsize=8, color=_INK)
    return _png(canvas)


def labels(title: str, batch: Batch, arms: Sequence[Arm]) -> bytes:
    """One line per arm: how hard its labels are, and some of them in full."""
    engine = ConstrainedLayoutEngine(hspace=0.06, wspace=0.03)
    canvas = Figure(figsize=(9.4, 1.55 * len(arms) + 0.75), layout=engine)
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10, color=_INK)
    widths = [2.4] + [1] * min(_EXAMPLES, len(batch.rows))
    grid = canvas.subplots(len(arms), len(widths), squeeze=False, width_ratios=widths)
    for line, arm in zip(grid, arms):
        _hardness(line[0], arm.name, batch.hardness(arm))
        one = batch.show(arm)
        for i, axes in enumerate(line[1:]):
            _bars(axes, one, i)
    grid[-1, 0].set_xlabel("largest probability of the soft label (% of rows)", fontsize=8)
    grid[-1, -1].set_xlabel("soft labels of single rows, all classes", fontsize=8, ha="right", x=1)
    return _png(canvas)


def _with_alpha(policy: Policy, alpha: float) -> Policy:
    """The same policy with another alpha, in all its parts."""
    if isinstance(policy, Switch):
        return replace(policy, policies=[_with_alpha(part, alpha) for part in policy.policies])
    return replace(policy, alpha=alpha) if isinstance(policy, MixUp | CutMix) else policy


def _grid(
    title: str,
    batch: Batch,
    names: Sequence[str],
    labelled: Sequence[int] = (),
    beside: bool = False,
) -> tuple[Figure, Any]:
    """Panels for images [lines, rows of the batch], the name of each line on its left.

    Lines in `labelled` have room for a soft label underneath; `beside` adds a column.
    """
    height, width = batch.rows.x.shape[1:3]
    columns = len(batch.rows) + beside
    heights = [_SIDE * height / width + (0.5 if k in labelled else 0) for k in range(len(names))]
    figsize = (_SIDE * columns + 1.2, sum(heights) + 0.6)
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.05, hspace=0, wspace=0.02)
    canvas = Figure(figsize=figsize, layout=engine)
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10, color=_INK)
    grid = canvas.subplots(len(names), columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set_color("#cccccc")
    for axes, name in zip(grid[:, 0], names):
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, color=_INK)
    return canvas, grid


def _image(axes: Any, image: Any) -> None:
    """An image in its own colours; few cells are shown as cells."""
    small = max(image.shape) <= 64
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.shape[-1] == 1 else {}
    axes.imshow(
        image.squeeze(-1) if grey else image, **grey, interpolation="nearest" if small else None
    )


def _mixed(axes: Any, one: Shown, row: int) -> None:
    """A mixed image, with a thin line around a region that was cut."""
    _image(axes, one.mixed[row])
    (top, bottom), (left, right) = one.plan.box[row].tolist()
    if one.plan.blend[row] and (bottom - top, right - left) != one.plan.size:
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5),
                right - left,
                bottom - top,
                fill=False,
                ec=_COLOURS["partner"],
                lw=1.2,
                clip_on=False,
            )
        )


def _label(axes: Any, one: Shown, row: int) -> None:
    """Under an image, its soft label: a bar of shares, and the two largest parts in words."""
    start = 0.0
    for part in one.parts(row):
        axes.add_patch(
            Rectangle(
                (start, -0.1),
                part.share,
                0.05,
                transform=axes.transAxes,
                clip_on=False,
                color=_COLOURS[part.whose],
                lw=0,
            )
        )
        start += part.share
    for k, part in enumerate(one.parts(row)[:2]):
        axes.annotate(
            f"{part.name} {part.share:.0%}", (0, -0.1), (0, -3 - 9.5 * k),
            "axes fraction", "offset points",
            va="top", fontsize=8, color=_COLOURS[part.whose],
        )  # fmt: skip


def _spread(axes: Any, lam: Any) -> None:
    """How shares of own content spread over 0..1."""
    counts, edges = np.histogram(lam, 16, (0, 1))
    axes.bar(edges[:-1], counts, 1 / 16, align="edge", color=_COLOURS["own"], lw=0)
    axes.set(xlim=(0, 1), box_aspect=1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _hardness(axes: Any, name: str, hardness: Any) -> None:
    """A histogram of largest probabilities; mean and share of hard labels in words."""
    counts, edges = np.histogram(hardness, 50, (0, 1 + 1e-6))
    axes.bar(edges[:-1], 100 * counts / len(hardness), 0.02, align="edge", color=_COLOURS["own"])
    words = f"{name}: mean {hardness.mean():.2f}, {(hardness > 0.99).mean():.0%} hard"
    axes.set_title(words, loc="left", fontsize=9, color=_INK)
    axes.set_xlim(min(0.4, hardness.min()), 1.01)
    _plain(axes)


def _bars(axes: Any, one: Shown, row: int) -> None:
    """A soft label in full; only the classes that are in the image are named."""
    soft, y, partner = one.soft[row], one.batch.rows.y, int(one.plan.partner[row])
    named = {int(y[partner]): "partner"} if one.plan.lam[row] < 1 else {}
    named |= {int(y[row]): "own"}
    axes.vlines(range(len(soft)), 0, soft, color=_COLOURS["others"], lw=4)
    for label, whose in named.items():
        axes.vlines(label, 0, soft[label], color=_COLOURS[whose], lw=4)
    axes.set(xlim=(-0.8, len(soft) - 0.2), ylim=(0, 1.02), yticks=[0, 0.5, 1])
    axes.set(xticks=[])
    axes.tick_params(labelleft=row == 0)
    for part, side in zip(one.parts(row)[:2], ("left", "right")):
        axes.set_title(part.name, loc=side, fontsize=8, color=_COLOURS[part.whose], pad=3)
    _plain(axes)


def _plain(axes: Any) -> None:
    """Small figures, no frame."""
    axes.tick_params(labelsize=8, length=2)
    axes.spines[["top", "right"]].set_visible(False)


def _png(canvas: Figure) -> bytes:
    """The figure as a file's content."""
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()
