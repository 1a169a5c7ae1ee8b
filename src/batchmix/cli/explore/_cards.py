"""The rows of the page as HTML: one card per row, with its partner, its mix and its soft label."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix.cli.show.shown import Part, Shown
from batchmix.cli.show.sounds import player

_PARTNER = np.array([217, 138, 31])  # the colour of what is the partner's


def cards(shown: Shown, versus: Shown | None = None) -> str:
    """One card per row: itself, its partner, what is pasted, the mixed row, and its label.

    Where two policies are compared, the mixed row of the other stands in place of what is pasted.
    """
    form = shown.batch.source.form
    x = shown.batch.x
    drawn = [_drawing(row, x) for row in x]
    found = "".join(_card(shown, versus, row, drawn) for row in range(len(x)))
    return f'<ol class="cards {form}{" two" if versus else ""}">{found}</ol>'


def legend(*policies: str) -> str:
    """What the pictures of every card are, from left to right."""
    row = '<span class="own">row</span>, <span class="partner">its partner</span>, '
    if len(policies) == 1:
        return f"Each card: a {row}what is pasted, the mixed row; below, its soft label."
    named = " and ".join(f"{side}: {escape(name)}" for side, name in zip("AB", policies))
    return f"Each card: a {row}the row mixed by {named}; below, both soft labels."


def _card(one: Shown, versus: Shown | None, row: int, drawn: Sequence[str]) -> str:
    """All that is shown of a row; `drawn` are the rows before mixing."""
    batch, partner = one.batch, int(one.plan.partner[row])
    own, theirs = _name(one, row), _name(one, partner)
    more = len(one.partners(row)) - 1
    box = _box(one, row)
    cells = [
        ("own", f"row {row + 1}, {own}", drawn[row], own),
        ("partner", f"its partner: row {partner + 1}, {theirs}",
         drawn[partner] + ("" if versus else box),
         theirs + (f" +{more}" if more > 0 else "")),
    ]  # fmt: skip
    if versus is None:
        share = f"{1 - one.plan.lam[row]:.0%}"
        cells.append(("pasted", f"pasted: {share}", _pasted(one, row), f"pasted {share}"))
        cells.append(("mixed", f"mixed: {_words(one, row)}", _mixed(one, row) + box, "mixed"))
        labels = _label(one.parts(row))
    else:
        labels = ""
        for side, each in (("A", one), ("B", versus)):
            words = f"mixed by {side}, {each.name}: {_words(each, row)}"
            cells.append(("mixed", words, _mixed(each, row) + _box(each, row), side))
            labels += f'<div class="side"><span>{side}</span>{_label(each.parts(row))}</div>'
    figures = "".join(
        f'<figure class="{kind}"><div class="cell" role="img" aria-label="{escape(alt)}">{inside}'
        f'</div><figcaption aria-hidden="true">{escape(name)}</figcaption></figure>'
        for kind, alt, inside, name in cells
    )
    audio = ""
    if batch.source.form == "wave":
        audio = "".join(player(each.mixed[row], batch.source.data.rate)
                        for each in (one, versus) if each)  # fmt: skip
    return (
        f'<li class="card" data-row="{row}"><button class="larger" aria-pressed="false" '
        f'aria-label="Show row {row + 1} larger" title="larger">&#x2922;</button>'
        f'<div class="cells">{figures}</div>{labels}{audio}</li>'
    )


def _name(one: Shown, row: int) -> str:
    return one.batch.name(row)


def _words(one: Shown, row: int) -> str:
    return ", ".join(f"{part.name} {part.share:.0%}" for part in one.parts(row))


def _mixed(one: Shown, row: int) -> str:
    return _drawing(one.mixed[row], one.batch.x)


def _drawing(row: NDArray[Any], rows: NDArray[Any]) -> str:
    """A row as an image, or as a wave on the scale of the loudest of `rows`."""
    return _image(row) if row.ndim == 3 else _wave(row, rows)


def _image(x: NDArray[np.uint8]) -> str:
    """A lossless image."""
    from PIL import Image

    content = io.BytesIO()
    image = Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x)
    image.save(content, "png", compress_level=1)  # twice as fast as the default
    small = ' class="small"' if max(x.shape) <= 64 else ""
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img{small} alt="" src="data:image/png;base64,{data}">'


def _wave(x: NDArray[Any], rows: NDArray[Any]) -> str:
    """A clip: the lowest and highest value in each of 120 columns."""
    top = max(1e-9, float(np.abs(rows.astype(np.float32)).max()))
    columns = np.array_split(x.astype(np.float32).mean(1) / top, min(120, len(x)))
    line = "".join(
        f"M{i + 0.5},{50 - 48 * c.max():.1f}V{50 - 48 * c.min() + 0.5:.1f}"
        for i, c in enumerate(columns)
    )
    return (
        f'<svg class="wave" viewBox="0 0 {len(columns)} 100" preserveAspectRatio="none">'
        f'<path d="{line}"/></svg>'
    )


def _box(one: Shown, row: int) -> str:
    """A line around each pasted region, unless it is the whole row."""
    return "".join(_region(one, box, "box", "") for box in one.cuts(row))


def _pasted(one: Shown, row: int) -> str:
    """Where partners are: the darker, the larger their opacity."""
    if one.plan.mask is None and not one.plan.above:
        style = f'fill-opacity="{float(one.plan.opacity[row]):.3f}"'
        return _region(one, one.plan.box[row], "region", style)
    opacity = np.atleast_2d(one.opacity[row])[..., None]
    return _image(np.rint(255 + (_PARTNER - 255) * opacity).astype(np.uint8))


def _region(one: Shown, box: Any, kind: str, style: str) -> str:
    """A box of a row, drawn over the picture; a sound has one axis only."""
    *rest, (left, right) = box.tolist()
    top, bottom = rest[0] if rest else (0, 1)
    height, width = (one.plan.size if rest else (1, *one.plan.size))[-2:]
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" {style}/></svg>'
    )


def _label(parts: list[Part]) -> str:
    """The soft label of a row: a bar of shares, and its parts in words."""
    bar = "".join(f'<i class="{p.whose}" style="width:{p.share:.2%}"></i>' for p in parts)
    words = "".join(f'<b class="{p.whose}">{escape(p.name)} {p.share:.0%}</b>' for p in parts)
    return f'<div class="bar" aria-hidden="true">{bar}</div><div class="words">{words}</div>'
