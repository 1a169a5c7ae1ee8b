"""The figures of `batchmix preview`. Blue is the row's own content, orange its partner's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from batchmix.cli._words import Entry
from batchmix.cli.show import panels, strips
from batchmix.cli.show.shown import Batch, Shown
from batchmix.cli.show.theme import LIGHT, Theme, drawn
from batchmix.policies import Switch

_ALPHAS = (0.2, 0.5, 1.0, 2.0, 8.0)
_EXAMPLES = 3  # soft labels drawn in full
_SIDES = {"image": 1.05, "wave": 1.45}  # inches
_MARKED = 1.75  # of an image with boxes, which have names, or with a mask
# the lines that show a plan; the soft label is under the last one
_LINES = {
    "image": [("{name}\nwhat is pasted", panels.pasted), ("mixed,\nand its label", panels.mixed)],
    "wave": [
        ("{name}\nwhat is pasted", panels.pasted),
        ("mixed", panels.mixed),
        ("spectrogram,\nand its label", panels.spectrogram),
    ],
}


def rows(
    title: str,
    shown: Sequence[Shown],
    theme: Theme = LIGHT,
    only_mixed: bool = False,
    first: int | None = None,
) -> bytes:
    """One column per row of the batch: itself, its partners, and for each plan what it does.

    `only_mixed` leaves out the lines between, such as what is pasted; `first` rows are drawn.
    """
    batch = shown[0].batch
    count = len(batch) if first is None else min(first, len(batch))
    if batch.source.form == "table":
        heads = [column.name for column in batch.source.data.columns]
        blocks = [strips.of_table(shown, i) for i in range(count)]
        with drawn(theme):
            return _png(strips.figure(title, heads, blocks, theme))
    partners = [p.partner for p in max((one.plan.layers for one in shown), key=len)]
    lines = [("{name}", panels.mixed)] if only_mixed else _LINES[batch.source.form]
    names = ["row", "partner", *(f"partner {k}" for k in range(2, len(partners) + 1))]
    above = len(names)
    for one in shown:
        names += [name.format(name=one.name) for name, _ in lines]
    last = [above - 1 + len(lines) * (k + 1) for k in range(len(shown))]
    with drawn(theme):
        canvas, grid = _grid(title, batch, names, theme, last, count)
        for i, column in enumerate(grid.T):
            panels.original(column[0], batch, i, "own", theme)
            for axes, partner in zip(column[1:], partners):
                panels.original(axes, batch, int(partner[i]), "partner", theme)
            for k, one in enumerate(shown):
                cells = column[above + len(lines) * k :]
                for axes, (_, draw) in zip(cells, lines):
                    draw(axes, one, i, theme)
                panels.label(cells[len(lines) - 1], one, i, theme)
        return _png(canvas)


def alphas(title: str, batch: Batch, entries: Sequence[Entry], theme: Theme = LIGHT) -> bytes:
    """One line per alpha: the same rows with the same partners, and the distribution of lam."""
    lines = [
        (f"{entry.name.partition(':')[0]}\nalpha {alpha:g}", _with_alpha(entry.policy, alpha))
        for entry in varied(entries)
        for alpha in _ALPHAS
    ]
    names = [name for name, _ in lines]
    with drawn(theme):
        canvas, grid = _grid(title, batch, names, theme, [len(lines) - 1], len(batch) + 1)
        for line, (name, policy) in zip(grid, lines):
            one = batch.apply(name, batch.draw(policy))
            for i, axes in enumerate(line[:-1]):
                panels.mixed(axes, one, i, theme)
            panels.spread(line[-1], batch.lam(policy), theme)
        for axes in grid[:-1, -1]:
            axes.tick_params(labelbottom=False)
        grid[-1, -1].set_xlabel("own share,\nof many rows", fontsize=8)
        return _png(canvas)


def labels(title: str, batch: Batch, entries: Sequence[Entry], theme: Theme = LIGHT) -> bytes:
    """One line per entry: how hard its labels are, and some of them in full."""
    with drawn(theme):
        engine = ConstrainedLayoutEngine(hspace=0.06, wspace=0.03)
        canvas = Figure(figsize=(9.4, 1.55 * len(entries) + 0.75), layout=engine)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=10)
        widths = [2.4] + [1] * min(_EXAMPLES, len(batch))
        grid = canvas.subplots(len(entries), len(widths), squeeze=False, width_ratios=widths)
        for line, entry in zip(grid, entries):
            panels.hardness(line[0], entry.name, batch.hardness(entry), theme)
            one = batch.show(entry)
            for i, axes in enumerate(line[1:]):
                panels.bars(axes, one, i, theme)
        grid[-1, 0].set_xlabel("largest probability of the soft label (% of rows)", fontsize=8)
        grid[-1, -1].set_xlabel(
            "soft labels of single rows, all classes", fontsize=8, ha="right", x=1
        )
        return _png(canvas)


def varied(entries: Sequence[Entry]) -> list[Entry]:
    """The entries whose policy has an alpha."""
    return [e for e in entries if _with_alpha(e.policy, 1.0) != _with_alpha(e.policy, 2.0)]


def _with_alpha(policy: Any, alpha: float) -> Any:
    """The same policy with another alpha, in all its parts."""
    if isinstance(policy, Switch):
        return replace(policy, policies=[_with_alpha(part, alpha) for part in policy.policies])
    has_one = getattr(policy, "alpha", None) is not None  # of Columns, prob may stand for it
    return replace(policy, alpha=alpha) if has_one else policy


def _grid(
    title: str,
    batch: Batch,
    names: Sequence[str],
    theme: Theme,
    labelled: Sequence[int],
    columns: int,
) -> tuple[Figure, Any]:
    """Panels for images [lines, columns], the name of each line on its left.

    Lines in `labelled` have room for a soft label underneath.
    """
    marked = bool(batch.beside.marks) or batch.beside.mask is not None
    side = _MARKED if marked else _SIDES[batch.source.form]
    if batch.source.form == "image" and batch.x.shape[2] > 2 * batch.x.shape[1]:
        side *= 2  # slices side by side
    shape = 0.5 if batch.source.form == "wave" else batch.x.shape[1] / batch.x.shape[2]
    heights = [side * shape + (0.5 if k in labelled else 0) for k in range(len(names))]
    figsize = (side * columns + 1.2, sum(heights) + 0.6)
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.05, hspace=0, wspace=0.02)
    canvas = Figure(figsize=figsize, layout=engine)
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10)
    grid = canvas.subplots(len(names), columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set_color(theme["frame"])
    for axes, name in zip(grid[:, 0], names):
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return canvas, grid


def _png(canvas: Figure) -> bytes:
    """The figure as a file's content."""
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()
