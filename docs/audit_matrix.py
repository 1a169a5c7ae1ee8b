"""docs/audit.json as pictures: which implementation fails which check, and by how much."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from photographs import Draw, small

from batchmix.cli.show.theme import Theme, drawn

AUDIT = Path(__file__).with_name("audit.json")
_OWN = "batchmix"
_KEY = (
    ("found", "found, and the worst error"),
    ("ok", "in order"),
    ("could not run", "raises an error"),
    ("not applicable", "nothing to check"),
)
_TOLD = {  # checks together, in the order of the small picture
    "label wrong,\nfloat images": r"label error, (even|small|float|bfloat).*",
    "label wrong,\n8-bit images": r"label error, uint8",
    "label wrong,\nvideo": r"label error, video",
    "label wrong,\nodd, or 1 row": r"label error, (odd batch|one row)",
    "row is its\nown partner": r"own partners",
    "your batch\nis changed": r"writes to inputs",
    "global seed\nis consumed": r"global generator",
    "other dtype\ncomes back": r"other dtype",
}


class Cell(NamedTuple):
    """What one or several findings come to."""

    verdict: str
    number: float | None = None


class Line(NamedTuple):
    """An implementation, or several together."""

    name: str
    cells: Sequence[Cell]


def matrices() -> dict[str, Draw]:
    """All rows and checks, and a small one: libraries' rows together, the most telling checks."""
    audited = [one for one in json.loads(AUDIT.read_text("utf-8")) if one.get("findings")]
    checks = list(dict.fromkeys(f["check"] for one in audited for f in one["findings"]))
    return {
        "audit-matrix": lambda theme: _drawn(full(audited, checks), checks, theme, (0.5, 0.26, 45)),
        "audit-matrix-small": lambda theme: _drawn(
            few(audited), list(_TOLD), theme, (0.86, 0.34, 0)
        ),
    }


def full(audited: Sequence[dict], checks: Sequence[str]) -> list[Line]:
    """A line for each that was audited; batchmix's own come last."""
    order = sorted(audited, key=lambda one: (one["name"].startswith(_OWN), one["name"].lower()))
    return [Line(one["name"], [_of([one], re.escape(check)) for check in checks]) for one in order]


def few(audited: Sequence[dict]) -> list[Line]:
    """All variants of an implementation in one line; of batchmix its Mixer."""
    together: dict[str, list[dict]] = {}
    for one in sorted(audited, key=lambda one: (one["name"].startswith(_OWN), one["name"].lower())):
        name = re.sub(r" (with masks|of videos)", "", one["name"].partition(",")[0])
        if not name.startswith(f"{_OWN} for "):
            together.setdefault(name, []).append(_of_videos(one))
    return [Line(n, [_of(ones, told) for told in _TOLD.values()]) for n, ones in together.items()]


def _of_videos(one: dict) -> dict:
    """Where every check was made with videos, its even batch is what it does to videos."""
    if " of videos" not in one["name"]:
        return one
    (even,) = [f for f in one["findings"] if f["check"] == "label error, even batch"]
    return {"findings": [even | {"check": "label error, video"}]}


def _of(ones: Sequence[dict], told: str) -> Cell:
    """Found if any is; else in order if any is, so that what one refuses another may take."""
    found = [f for one in ones for f in one["findings"] if re.fullmatch(told, f["check"])]
    numbers = [f["number"] for f in found if f["verdict"] == "found" and f.get("number")]
    for verdict in ("found", "ok", "could not run"):
        if any(f["verdict"] == verdict for f in found):
            return Cell(verdict, max(numbers, default=None) if verdict == "found" else None)
    return Cell("not applicable")


def _drawn(
    lines: Sequence[Line], heads: Sequence[str], theme: Theme, form: tuple[float, float, float]
) -> bytes:
    """A square per line and check; `form` is its width and height, and the turn of the heads."""
    wide, high, turn = form
    colours = {
        "found": theme["partner"], "ok": theme["ok"], "could not run": theme["frame"],
        "not applicable": theme["empty"],
    }  # fmt: skip
    left, top = 0.075 * max(len(line.name) for line in lines) + 0.15, 1.75 if turn else 0.5
    size = (left + wide * len(heads) + (0.7 if turn else 0.05), top + high * len(lines) + 0.35)
    with drawn(theme):
        canvas = Figure(figsize=size)
        axes = canvas.add_axes(
            (left / size[0], 0.35 / size[1], wide * len(heads) / size[0],
             high * len(lines) / size[1])
        )  # fmt: skip
        for y, line in enumerate(lines):
            for x, cell in enumerate(line.cells):
                axes.add_patch(Rectangle((x, y), 0.95, 0.9, fc=colours[cell.verdict], lw=0))
                if cell.number is not None:
                    axes.text(
                        x + 0.475, y + 0.47, _short(cell.number), ha="center", va="center",
                        fontsize=8, fontweight="bold", color=theme["page"],
                    )  # fmt: skip
        axes.set(xlim=(0, len(heads)), ylim=(len(lines), 0))
        names = [line.name for line in lines]
        axes.set_yticks([y + 0.45 for y in range(len(lines))], names, fontsize=9)
        at = [x + 0.475 for x in range(len(heads))]
        axes.set_xticks(at, heads, fontsize=8.5, rotation=turn, ha="left" if turn else "center")
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _key(canvas, colours, left)
        content = io.BytesIO()
        canvas.savefig(content, format="png", dpi=120)
    return small(content.getvalue(), colours=32)


def _short(number: float) -> str:
    """Two decimals, or one digit of what is smaller."""
    return f"{number:.2f}" if number >= 0.005 else f"{number:.1g}"


def _key(canvas: Figure, colours: dict[str, str], left: float) -> None:
    """What the colours say, under the squares."""
    wide, high = canvas.get_size_inches()
    x = left
    for verdict, words in _KEY:
        box = {"transform": canvas.dpi_scale_trans, "fc": colours[verdict], "lw": 0}
        canvas.add_artist(Rectangle((x, 0.12), 0.13, 0.13, **box))
        canvas.text((x + 0.18) / wide, 0.18 / high, words, fontsize=8.5, va="center")
        x += 0.42 + 0.07 * len(words)
