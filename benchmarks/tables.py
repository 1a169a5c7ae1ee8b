"""The report as tables: on the terminal, and on the page benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

import cases as c
from report import Line, Report
from targets import TARGETS, Target, times

BEGIN, END = "<!-- written by run.py -->", "<!-- end -->"
_NOTE = (
    "Milliseconds per batch: median, and quartiles in brackets. x limit: time over that of the "
    "fastest in-place scale (in place) or copy (all else). x batchmix: time over that of batchmix "
    "at the same work, in place against in place, else out= against a new array; below 1 batchmix "
    "is the slower one. warm: the allocator hands freed memory out again; shipped: as it comes."
)


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn; columns of numbers are aligned to the right."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    words: int = 3  # leading columns that hold words

    def on_terminal(self) -> Table:
        """With rich."""
        table = Table(
            title=self.title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False,
            pad_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for i, heading in enumerate(self.headings):
            words = i < self.words or heading == "check"
            table.add_column(heading, justify="left" if words else "right", no_wrap=i < 6)
        for row in self.rows:
            table.add_row(*row)
        return table

    def on_page(self) -> str:
        """In Markdown."""
        rule = ["---" if i < self.words else "---:" for i in range(len(self.headings))]
        lines = [[heading.replace("\n", ", ") for heading in self.headings], rule, *self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{body}\n"


def printed(report: Report, goals: Sequence[Target]) -> list[Any]:
    """What the terminal shows."""
    parts: list[Any] = [_machine(report), ""]
    for grid in grids(report):
        parts += [grid.on_terminal(), ""]
    parts += [_NOTE, ""]
    return [*parts, targets(report, goals).on_terminal(), ""] if goals else parts


def page(before: str, report: Report) -> str:
    """`before` with the part between the two marks written anew; or a new page."""
    body = [
        _machine(report),
        targets(report, TARGETS).on_page(),
        "![Time against bytes](results.png)",
        _NOTE,
    ]
    body += [grid.on_page() for grid in grids(report)]
    written = "\n\n".join([BEGIN, *body, END])
    if BEGIN in before and END in before:
        return before.partition(BEGIN)[0] + written + before.partition(END)[2]
    return f"# Benchmarks\n\n{written}\n"


def _machine(report: Report) -> str:
    """Where and with what, and what is not there."""
    machine, libraries = report.head["machine"], report.head["libraries"]
    there = [f"{name} {v['version']}" for name, v in libraries.items() if not v["absent"]]
    absent = [f"Absent: {name} ({v['absent']})" for name, v in libraries.items() if v["absent"]]
    first = (
        f"`{report.head['command']}`, {report.head['date']}: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['system']}, Python {machine['python']}, NumPy {machine['numpy']}, "
        f"PyTorch {machine['torch']}, batchmix {machine['batchmix']} (kernel: "
        f"{machine['kernel']}); {', '.join(there) or 'no other library'}."
    )
    return "\n\n".join([first, *absent])


def grids(report: Report) -> list[Grid]:
    """A table per group and shape; of many shapes of float32 only the two that targets name."""
    tables = dict.fromkeys((line.group, line.shape) for line in report.lines)
    many = sum(group == "float32" for group, _ in tables) > 2
    return [
        _grid(f"{times(shape)}, {group}", report.find(group=group, shape=shape))
        for group, shape in tables
        if not (many and group == "float32") or shape in (c.LARGE, c.SMALL)
    ]


def _grid(title: str, table: Report) -> Grid:
    """Lines of one work together, fastest first; the first setting in full, else the median."""
    settings = {(line.threads, line.allocator) for line in table.lines}
    order = sorted(settings, key=lambda setting: (setting[1] != "warm", setting[0]))
    first, *others = (table.find(threads=n, allocator=kind) for n, kind in order)
    works = list(dict.fromkeys(line.work for line in first.lines))
    rows = []
    for line in sorted(first.lines, key=lambda line: (works.index(line.work), line.median)):
        names = {"work": line.work, "library": line.library, "how": line.how}
        rows.append(
            [
                *names.values(),
                spread(line),
                _beside_limit(line, first),
                beside_ours(line, first),
                *(milliseconds(other.median(**names)) for other in others),
                verdict(line),
            ]
        )
    heads = [f"{n} thread{'s' * (n > 1)}\n{kind}" for n, kind in order]
    headings = ["work", "library", "how", heads[0], "x limit", "x batchmix", *heads[1:], "check"]
    used = [any(row[at] for row in rows) for at in range(len(headings))]
    rows = [[cell for cell, keep in zip(row, used) if keep] for row in rows]
    return Grid(title, [heading for heading, keep in zip(headings, used) if keep], rows)


def spread(line: Line) -> str:
    """Median and quartiles, such as 5.8 [5.7 6.1]."""
    if line.ms is None:
        return "-"
    middle, low, high = (milliseconds(line.ms[name]) for name in ("median", "q1", "q3"))
    return f"{middle} [{low} {high}]"


def milliseconds(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _beside_limit(line: Line, table: Report) -> str:
    """Over the fastest way to scale, where a line writes into its batch; else to copy."""
    kind = "scale" if line.how.startswith("in place") else "copy"
    limit = table.median(library="limit", how=f"{kind}: *")
    return f"{line.median / limit:.2f}" if limit and line.ms else ""


def beside_ours(line: Line, table: Report) -> str:
    """How many times faster batchmix does the same."""
    if line.library in ("batchmix", "limit"):
        return ""
    bare = "pixels only" in line.how
    ours = table.find(library="batchmix", work=line.work).lines
    times = [(o.how, o.median) for o in ours if o.ms and ("pixels only" in o.how) == bare]
    how = line.how.replace("new array", "out=")
    for wanted in (how, how.split(",")[0], line.how.split(",")[0], ""):
        fit = [median for name, median in times if name.startswith(wanted)]
        if fit:
            return f"{line.median / fit[0]:.1f}"
    return ""


def verdict(line: Line) -> str:
    """right, or by how much not, or why not at all."""
    if line.failed:
        return f"failed: {line.failed}"
    if line.check is None or line.check["right"]:
        return "" if line.check is None else "right"
    return f"wrong: pixels {line.check['pixels']:.2g}, labels {line.check['labels'] or 0:.2g}"


def targets(
    report: Report, goals: Sequence[Target], how: str = "one thread, warm allocator"
) -> Grid:
    """Hits and misses alike; a hit is one of the whole step."""
    rows = []
    for target in goals:
        value, alone = target.measured(report), target.pixels_alone(report)
        goal = f"{'≤' if target.at_most else '≥'} {target.goal:g}"
        found = "not measured" if value is None else f"{value:.3g}"
        result = "" if value is None else "hit" if target.hit(value) else "missed"
        beside = "" if alone is None else f"{alone:.3g}"
        rows.append([target.says, goal, found, result, beside])
    hits = sum(row[3] == "hit" for row in rows)
    title = f"Targets: {hits} of {len(rows)} hit; {how}, medians of one run"
    return Grid(title, ["what", "target", "measured", "result", "pixels alone"], rows, words=1)
