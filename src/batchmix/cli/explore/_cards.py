"""The pictures of the page as HTML: one card per row, and the distribution of lam."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli.show.shown import Part, Shown
from batchmix.cli.show.sounds import player

_BINS = 24
_PARTNER = np.array([217, 138, 31])  # the colour of what is the partner's


def cards(one: Shown, own: Sequence[str]) -> str:
    """One card per row: itself, its partner, what is pasted, the mixed row, and its label.

    `own` are drawings of the rows before mixing.
    """
    form = one.batch.source.form
    found = []
    for row, partner in enumerate(one.plan.partner.tolist()):
        box = _box(one, row)
        mixed = drawing(one.mixed[row], one.batch.x, form)
        cells = (
            ("own", "row", own[row]),
            ("partner", "partner", own[partner] + box),
            ("pasted", "pasted", _pasted(one, row)),
            ("mixed", "mixed", mixed + box),
        )
        figures = "".join(
            f'<figure class="{kind}"><div class="cell">{inside}</div>'
            f"<figcaption>{name}</figcaption></figure>"
            for kind, name, inside in cells
        )
        audio = player(one.mixed[row], one.batch.source.data.rate) if form == "wave" else ""
        found.append(
            f'<article class="card" data-row="{row}"><div class="cells">{figures}</div>'
            f"{_label(one.parts(row))}{audio}</article>"
        )
    return f'<div class="cards {form}">{"".join(found)}</div>'


def spread(lam: NDArray[np.float32], plan: bm.Plan) -> str:
    """A histogram of lam over many steps; below it a mark for each row shown."""
    counts, _ = np.histogram(lam, _BINS, (0, 1))
    width, height = 600 / _BINS, 90 / max(1, counts.max())
    bars = "".join(
        f'<rect x="{i * width + 1:.1f}" y="{95 - n * height:.1f}" width="{width - 2:.1f}" '
        f'height="{n * height:.1f}"><title>{n / len(lam):.1%} of rows</title></rect>'
        for i, n in enumerate(counts.tolist())
    )
    marks = "".join(f'<line x1="{v * 600:.1f}" x2="{v * 600:.1f}" y1="98" y2="108"/>'
                    for v in plan.lam.tolist())  # fmt: skip
    numbers = "".join(
        f'<text x="{v * 600:.0f}" y="122" text-anchor="{where}">{v:g}</text>'
        for v, where in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"),
                         (1, "end"))
    )  # fmt: skip
    words = (
        f"Over many steps: mean {lam.mean():.2f}, {(lam == 1).mean():.0%} of rows unmixed. "
        f"The marks are the {len(plan)} rows shown."
    )
    return (
        f'<div class="spread"><div><h3>lam, the share of own content</h3><p>{words}</p></div>'
        f'<svg viewBox="-4 0 608 126" role="img" aria-label="distribution of lam: {words}">'
        f'<g class="bars">{bars}</g><line class="axis" x1="0" x2="600" y1="96" y2="96"/>'
        f'<g class="marks">{marks}</g><g class="numbers">{numbers}</g></svg></div>'
    )


def drawing(row: NDArray[Any], rows: NDArray[Any], form: str) -> str:
    """A row as an image, or as a wave on the scale of the loudest of `rows`."""
    return _wave(row, rows) if form == "wave" else _image(row)


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
    share = f"<span>{1 - one.plan.lam[row]:.0%}</span>"
    if one.plan.mask is None and not one.plan.above:
        style = f'fill-opacity="{float(one.plan.opacity[row]):.3f}"'
        return _region(one, one.plan.box[row], "region", style) + share
    opacity = np.atleast_2d(one.opacity[row])[..., None]
    return _image(np.rint(255 + (_PARTNER - 255) * opacity).astype(np.uint8)) + share


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
    return f'<div class="bar">{bar}</div><div class="words">{words}</div>'
