"""An audit as one HTML page that needs nothing else, light and dark, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from batchmix._audit._checks import CHECKS
from batchmix._audit._report import Audit, Finding, file_of
from batchmix.cli._output import plain, shown
from batchmix.cli.show import worst
from batchmix.cli.show.findings import verdict
from batchmix.cli.show.inline import svg
from batchmix.cli.show.page import document

_MOST = 2000  # characters of a stranger's words that are shown
_MORE = """
:root { --own: #2b6cb0; --partner: #b06d10; --wrong: #b00020; --right: #22703c; }
@media (prefers-color-scheme: dark) {
  :root { --own: #6fa8e6; --partner: #eda94d; --wrong: #ff8a80; --right: #7fc796; }
}
h1, h2, p, li, td { overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; }
p { max-width: 46rem; margin: .4rem 0; }
.verdict { color: var(--ink); font-size: 1.1rem; border-left: 4px solid var(--right);
  padding-left: 1rem; }
.verdict.found { border-color: var(--wrong); }
.own { color: var(--own); } .partner { color: var(--partner); }
b.own, b.partner { font-weight: 600; }
figure { max-width: 34rem; margin: 1rem 0; } svg { width: 100%; height: auto; display: block; }
svg text { font-family: inherit !important; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; vertical-align: top; font-weight: 400; }
thead th { color: var(--soft); border-bottom: 1px solid var(--line); }
.number { text-align: right; } .where { color: var(--soft); max-width: 34rem; }
.is-found { color: var(--wrong); font-weight: 600; } .is-ok { color: var(--right); }
a { color: inherit; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .checks thead { display: none; } .checks tr { display: block; padding: .5rem 0;
    border-bottom: 1px solid var(--line); }
  .checks th, .checks td { display: inline-block; padding: 0 .6rem 0 0; }
  .checks .where { display: block; } .limit:not(:empty)::before { content: "at most "; }
}
"""
_HOW = (
    "Image i of each batch is 1 in channel i and 0 in all others, and its class is i. So a mixed "
    "image shows whose pixels it holds, cell by cell, and its label has to say the same."
)


class Drawn(NamedTuple):
    """What a finding has on the page: the figure, its rows, and the command that repeats it."""

    svg: str
    weights: Sequence[tuple[int, float | None, float]]
    replay: str


def page(title: str, command: str, found: Audit, drawn: Mapping[str, Drawn]) -> bytes:
    """Verdicts first, then the worst call of each finding, then every check."""
    wrong = [f for f in found if f.verdict == "found"]
    parts = [f"<main>\n<h1>{_told(title)}</h1>", _summary(found)]
    if wrong:
        parts.append(
            f"<p>{_HOW} In the pictures <b class='own'>blue</b> is the row's own content and "
            "<b class='partner'>orange</b> its partner's; grey is of other rows, and red is wrong."
            "</p>"
        )
    parts += [_section(found, finding, drawn.get(finding.name)) for finding in wrong]
    parts += ["<h2>Every check</h2>", _table(found), "<h2>The same again</h2>"]
    options = json.dumps(plain(dict(found.options)), indent=1)
    parts.append(
        f"<pre>{_told(command)}</pre>\n<details><summary>Every option</summary>"
        f"<pre>{escape(options)}</pre></details>\n</main>"
    )
    return document(_told(title), _MORE, parts)


def _told(text: str) -> str:
    """What strangers named or said, as text and nothing else."""
    text = shown(text)
    return escape(text if len(text) <= _MOST else f"{text[:_MOST]}…")


def _summary(found: Audit) -> str:
    names = [f'<a href="#{_anchor(f)}">{escape(f.name)}</a>' for f in found.found]
    words = "Nothing was found."
    if names:
        one = len(names) == 1
        words = f"{len(names)} check{'' if one else 's'} found something: {'; '.join(names)}."
    if found.accepted:
        words += f" Accepted: {escape('; '.join(found.accepted))}."
    count = sum(f.verdict == "could not run" for f in found)
    more = f" {count} could not run: the code refused that kind of batch." if count else ""
    return f'<p class="verdict{" found" if names else ""}">{words}{more}</p>'


def _section(found: Audit, finding: Finding, drawn: Drawn | None) -> str:
    accepted = " (accepted)" if verdict(found, finding) == "accepted" else ""
    parts = [
        f'<section id="{_anchor(finding)}">\n<h2>{escape(finding.headline)}{accepted}</h2>',
        f"<p>{escape(CHECKS[finding.name].means)}</p>",
        f"<p>The worst call: {_told(finding.where)}</p>" if finding.where else "",
    ]
    if drawn is not None:
        picture = f"<figure>{drawn.svg}</figure>{_weights(drawn.weights)}" if drawn.svg else ""
        parts += [picture, f"<p>Run this call again:</p>\n<pre>{_told(drawn.replay)}</pre>"]
    return "\n".join([*filter(None, parts), "</section>"])


def _weights(weights: Sequence[tuple[int, float | None, float]]) -> str:
    """The two bars of the figure as numbers."""
    lines = ""
    for k, (row, label, pixels) in enumerate(weights):
        whose = ("row {}, its own", "row {}, its partner")[k] if k < 2 else "row {}"
        cells = [worst.number(pixels)]
        if label is not None:
            apart = worst.number(label - pixels)
            cells = [worst.number(label), *cells, f"+{apart}" if label > pixels else apart]
        kind = ("own", "partner", "")[min(k, 2)]
        lines += f'<tr><th scope="row" class="{kind}">{whose.format(row)}</th>'
        lines += "".join(f'<td class="number">{cell}</td>' for cell in cells) + "</tr>\n"
    told = weights[0][1] is not None
    heads = ["whose", "label says", "pixels are", "label too high by"] if told else [
        "whose", "pixels are",
    ]  # fmt: skip
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    table = f"<table><thead><tr>{top}</tr></thead><tbody>\n{lines}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _table(found: Audit) -> str:
    heads = ("check", "verdict", "worst", "at most", "where, or why")
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    lines = ""
    for f in found:
        said, limit = verdict(found, f), f"{f.limit:g}" if f.number_text else ""
        link = f'<a href="#{_anchor(f)}">{escape(f.name)}</a>'
        lines += (
            f'<tr><th scope="row">{link if f.verdict == "found" else escape(f.name)}</th>'
            f'<td class="is-{said.replace(" ", "-")}">{said}</td>'
            f'<td class="number">{f.number_text}</td><td class="number limit">{limit}</td>'
            f'<td class="where">{_told(f.where) if said != "ok" else ""}</td></tr>\n'
        )
    return (
        f'<div class="wide"><table class="checks"><thead><tr>{top}</tr></thead><tbody>\n{lines}'
        "</tbody></table></div>"
    )


def _anchor(finding: Finding) -> str:
    return finding.name.replace(",", "").replace(" ", "-")


def drawings(
    out: Path, title: str, command: str, found: Audit, replay: Callable[[Path], str]
) -> dict[str, bytes]:
    """Each picture by its name, and report.html; `replay` is the command for a saved call."""
    files: dict[str, bytes] = {}
    drawn: dict[str, Drawn] = {}
    for finding in (f for f in found if f.verdict == "found"):
        path = file_of(out, finding.name)
        drawn[finding.name] = Drawn("", (), replay(path))
        if worst.can_be_drawn(finding):
            canvas = worst.worst(finding)
            files[path.with_suffix(".png").name] = worst.png(canvas)
            untitled = worst.worst(finding, titled=False)
            inside = svg(untitled, worst.VARIABLES, f"{finding.name}: {finding.where}")
            drawn[finding.name] = Drawn(inside, worst.weights_of(finding), replay(path))
    return files | {"report.html": page(title, command, found, drawn)}
