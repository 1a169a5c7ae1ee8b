"""A comparison as one HTML page that needs nothing else, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from batchmix.cli._output import shown
from batchmix.cli.lab.findings.levels import Level, noise_name
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.show import curves
from batchmix.cli.show.inline import svg
from batchmix.cli.show.page import document
from batchmix.cli.show.record import versions
from batchmix.cli.show.tables import gains, others
from batchmix.cli.show.theme import LIGHT, drawn

if TYPE_CHECKING:
    from batchmix.cli.show.report import Report

# colours of the panels become colours of the page, which follow its light or dark
_VARIABLES = {
    LIGHT[name]: f"--{name}" for name in ("none", "smooth", "mix", "ink", "soft", "line", "page")
}
_MORE = """
:root { --mix: #2b6cb0; --smooth: #d98a1f; --none: #555; }
@media (prefers-color-scheme: dark) { :root { --mix: #6fa8e6; --smooth: #eda94d; --none: #aaa; } }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
.verdict { color: var(--ink); border-left: 4px solid var(--mix); padding: .1rem 0 .1rem 1rem;
  max-width: 52rem; }
.verdict p { color: var(--soft); margin: .35rem 0; }
.verdict p:first-child { color: var(--ink); font-size: 1.1rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem .3rem 0; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; white-space: pre-line;
  border-bottom: 1px solid var(--line); }
tr.mix td:first-child { color: var(--mix); } tr.smooth td:first-child { color: var(--smooth); }
.panels { display: grid; gap: .4rem 1.2rem; margin: .6rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(11.5rem, 100%), 1fr)); }
.panels figure { margin: 0; } .one { max-width: 34rem; }
.panels figcaption, .one figcaption { color: var(--ink); font-size: .9rem; margin: 0; }
svg { width: 100%; height: auto; display: block; } svg text { font-family: inherit !important; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
"""
_Draw = Callable[[Any], None]


def page(report: Report) -> bytes:
    """The verdict in words first; then what it rests on."""
    from batchmix.cli.show.report import NOTE

    parts = [f"<h1>{escape(report.title)}</h1>"]
    parts += [f"<p>{escape(report.unfinished)}</p>"] if report.unfinished else []
    for level, sentences in zip(report.levels, report.verdicts):
        said = "".join(f"<p>{escape(shown(text))}</p>" for text in sentences)
        parts.append(f'<h2>{_title(level)}</h2><div class="verdict">{said}</div>')
        parts += [_table(level, *gains(level)), _table(level, *others(level))]
    parts.append(f"<p>{escape(NOTE)}</p>")
    for level in report.levels:
        parts += _figures(report, level)
    if report.first_batch is not None:
        content = base64.b64encode(report.first_batch).decode()
        parts.append(
            '<h2>The first mixed batch</h2><figure><img alt="rows of the first mixed batch" '
            f'src="data:image/png;base64,{content}"></figure>'
        )
    made = ", ".join(f"{name} {number}" for name, number in versions().items())
    settings = "\n".join(
        map(
            shown,
            json.dumps(dict(report.config), indent=1, ensure_ascii=False, default=str).split("\n"),
        )
    )
    parts.append(
        f"<h2>The same again</h2><pre>{escape(shown(report.command))}</pre>"
        f"<p>{escape(made)}. All numbers are in report.json.</p>"
        f"<details><summary>Every setting</summary><pre>{escape(settings)}</pre></details>"
    )
    return document(escape(report.title), _MORE, parts)


def _title(level: Level) -> str:
    name = noise_name(level.noise)
    return f"{name[0].upper()}{name[1:]}"


def _table(level: Level, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if len(head) < 2:
        return ""
    top = "".join(f'<th scope="col">{escape(word)}</th>' for word in head)
    body = "".join(
        f'<tr class="{arm.kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>"
        for arm, line in zip(level.arms, lines)
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _figures(report: Report, level: Level) -> list[str]:
    """Learning curves, reliability, classes of one level."""
    metric = "accuracy" if level.metric == "balanced" else level.metric
    shown, where = METRICS[metric], _title(level)
    parts: list[str] = []
    arms = [arm for arm in level.arms if arm.curves()]
    if arms:
        span = curves.limits(arms, metric)
        panels = [
            _panel(arm.name, partial(_learning, level=level, arm=arm, metric=metric, span=span))
            for arm in arms
        ]
        parts += _section(
            f"{where}: learning curves",
            f"Held-out {shown.heading}, labels as given, over epochs. Thin: a seed; thick: "
            "their mean; dot: the best epoch, chosen on labels as noisy as those trained on; "
            "dotted: none.", panels,
        )  # fmt: skip
    arms = [arm for arm in level.arms if arm.has("reliability")]
    if arms:
        parts += _section(
            f"{where}: reliability at the best epoch",
            "How often a prediction is right (up) against how sure it is (right), as trained"
            + (" (filled) and after temperature scaling (hollow)"
               if any(arm.has("reliability_scaled") for arm in arms) else "")
            + ". Under the dotted line: too sure; above: too shy. Bins of ten rows or more.",
            [_panel(arm.name, partial(curves.reliability, arm=arm), (2.1, 1.9)) for arm in arms],
        )  # fmt: skip
    best = level.best("mix")
    found = level.classes(best) if best is not None else {}
    if best is not None and len(found) > 1:
        names = report.task.names
        draw = partial(curves.classes, found=found, names=[_short(name) for name in names])
        size = (4.6, 0.5 + 0.24 * len(curves.ends(found)))
        parts += _section(
            f"{where}: gains and losses by class",
            f"Recall of {best.name} against none, best-stopped, in points, with 95 % intervals. "
            f"Full colour: beyond chance, corrected for {len(found)} classes.",
            [], _panel("", draw, size),
        )  # fmt: skip
    return parts


def _learning(axes: Any, level: Level, arm: Any, metric: str, span: tuple[float, float]) -> None:
    curves.learning(axes, level, arm, metric)
    axes.set_ylim(*span)


def _section(title: str, caption: str, panels: Sequence[str], one: str = "") -> list[str]:
    content = f'<div class="panels">{"".join(panels)}</div>' if panels else ""
    content += f'<div class="one">{one}</div>' if one else ""
    return [f"<h3>{escape(title)}</h3><p>{escape(caption)}</p>{content}"]


def _short(name: str) -> str:
    """A class beside a bar."""
    return name if len(name := shown(name)) <= 24 else name[:23] + "…"


def _panel(name: str, draw: _Draw, size: tuple[float, float] = (2.1, 1.5)) -> str:
    """A figure as SVG in the page, its colours those of the page."""
    with drawn(LIGHT):
        canvas = Figure(figsize=size, layout="constrained")
        draw(canvas.subplots())
        text = svg(canvas, _VARIABLES)
    return f"<figure><figcaption>{escape(name)}</figcaption>{text}</figure>"
