"""Rows of a table as strips of cells: blue is the row's own, orange its partner's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from batchmix.cli.lab.rows import Column
from batchmix.cli.show.shown import Part, Shown
from batchmix.cli.show.theme import LIGHT, Theme

_MOST = 12  # columns
_TINT = 0.42  # of a colour over the page, below the words
_WIDE, _HIGH = 0.92, 0.24  # inches of a cell
_NAMES, _LABEL = 1.25, 2.3  # inches on the left, and at least on the right
_LETTER = 0.078  # inches of a label's letter, about
_LONG = 11  # letters of a cell


class Strip(NamedTuple):
    """One line: what it is called, its cells, whose each is, and what it is told to be."""

    name: str
    cells: list[str]
    shares: NDArray[Any]  # [C], of the partner
    label: Sequence[Part]
    value: str = ""  # in front of the label


def of_table(shown: Sequence[Shown], row: int) -> list[Strip]:
    """The strips of a row of a table: itself, its partners, and what each plan makes of it."""
    batch, columns = shown[0].batch, shown[0].batch.source.data.columns
    most = max((one.plan.layers for one in shown), key=len)

    def told(k: int, whose: str) -> list[Part]:
        return [Part(batch.name(k), 1.0, whose)]

    strips = [Strip("row", _words(batch.x[row], columns), np.zeros(len(columns)), told(row, "own"))]
    for k, layer in enumerate(most, 1):
        partner, name = int(layer.partner[row]), "partner" if k == 1 else f"partner {k}"
        cells = _words(batch.x[partner], columns)
        strips.append(Strip(name, cells, np.ones(len(columns)), told(partner, "partner")))
    for one in shown:
        value = "" if batch.numbers is None else f"{number(one.soft[row] @ batch.numbers)} = "
        cells, shares = _words(one.mixed[row], columns), one.opacity[row]
        strips.append(Strip(one.name, cells, shares, one.parts(row), value))
    return strips


def _words(row: NDArray[Any], columns: Sequence[Column]) -> list[str]:
    """The cells of a row: numbers, and of words the likeliest with its share."""
    found = []
    for cells, column in zip(row, columns):
        if column.words:
            best = int(cells[1:].argmax())
            share = float(cells[1 + best])
            told = f" {share:.0%}" if share < 0.995 else ""
            found.append(_short(column.words[best], _LONG - len(told)) + told)
        else:
            found.append(number(float(cells[0])))
    return found


def number(value: float) -> str:
    """As short as it stands in a cell."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def figure(
    title: str, heads: Sequence[str], blocks: Sequence[Sequence[Strip]], theme: Theme = LIGHT
) -> Figure:
    """A block of strips for each row, under the names of the columns."""
    heads = [*heads[:_MOST], *([f"{len(heads) - _MOST} more"] if len(heads) > _MOST else [])]
    lines = sum(len(block) + 1 for block in blocks) + 1
    labels = max(_label_width(strip) for block in blocks for strip in block)
    width, height = _NAMES + _WIDE * len(heads) + max(labels, _LABEL), _HIGH * lines + 0.4
    canvas = Figure(figsize=(width, height))
    canvas.text(0.1 / width, 1 - 0.1 / height, title, fontsize=10, va="top")
    axes = canvas.add_axes((0, 0, 1, 1 - 0.4 / height))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(lines, 0))
    for k, head in enumerate(heads):
        at = _NAMES + _WIDE * (k + 0.5)
        axes.text(
            at, 0.6, _short(head), ha="center", va="center", fontsize=7.5, color=theme["soft"]
        )
    top = 1.1
    for block in blocks:
        for strip in block:
            _draw(axes, strip, top, theme)
            top += 1
        top += 1
    return canvas


def _draw(axes: Any, strip: Strip, top: float, theme: Theme) -> None:
    """One strip, and its label on the right."""
    middle = top + 0.5
    axes.text(_NAMES - 0.1, middle, strip.name, ha="right", va="center", fontsize=8)
    cells = strip.cells if len(strip.cells) <= _MOST else [*strip.cells[:_MOST], "…"]
    own, partner, page = (np.array(to_rgb(theme[name])) for name in ("own", "partner", "page"))
    for k, cell in enumerate(cells):
        share = float(strip.shares[k] if k < _MOST else strip.shares[_MOST:].mean())
        colour = page + _TINT * (own + share * (partner - own) - page)
        corner = (_NAMES + _WIDE * k, top)
        axes.add_patch(Rectangle(corner, _WIDE, 1, fc=colour.clip(0, 1), ec=theme["page"], lw=1))
        axes.text(
            corner[0] + _WIDE / 2, middle, _short(cell), ha="center", va="center", fontsize=7.5
        )
    axes.annotate(
        strip.value, (_NAMES + _WIDE * len(cells) + 0.12, middle), va="center", fontsize=8
    )
    at = _NAMES + _WIDE * len(cells) + 0.12 + 0.075 * len(strip.value)
    for words, whose in _told(strip):
        axes.text(at, middle, words, va="center", fontsize=8, color=theme[whose])
        at += _LETTER * len(words) + 0.12


def _told(strip: Strip) -> list[tuple[str, str]]:
    """The two largest parts of a label in words, and whose each is."""
    parts = [part for part in strip.label[:2] if part.share >= 0.005]
    return [
        (part.name if part.share > 0.995 else f"{part.name} {part.share:.0%}", part.whose)
        for part in parts
    ]


def _label_width(strip: Strip) -> float:
    """Inches on the right of the cells."""
    words = sum(_LETTER * len(words) + 0.12 for words, _ in _told(strip))
    return 0.12 + 0.075 * len(strip.value) + words


def _short(text: str, long: int = _LONG) -> str:
    return text if len(text) <= long else text[: long - 1] + "…"
