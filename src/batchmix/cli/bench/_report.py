"""The report as tables: on the terminal, and on the page benchmarks/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from batchmix.cli.bench import LARGE, SMALL
from batchmix.cli.bench._cases import LIMIT, PIXELS
from batchmix.cli.bench._limits import COPY, SCALE
from batchmix.cli.bench._targets import TARGETS

BEGIN, END = "<!-- written by batchmix bench -->", "<!-- end -->"
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


def printed(report: dict[str, Any]) -> list[Any]:
    """What the terminal shows."""
    parts: list[Any] = [_machine(report), ""]
    for grid in grids(report):
        parts += [grid.on_terminal(), ""]
    return [*parts, _NOTE, "", targets(report).on_terminal(), ""]


def page(before: str, report: dict[str, Any]) -> str:
    """`before` with the part between the two marks written anew; or a new page."""
    body = [
        _machine(report),
        targets(report).on_page(),
        "![Time against bytes](results.png)",
        _NOTE,
    ]
    body += [grid.on_page() for grid in grids(report)]
    written = "\n\n".join([BEGIN, *body, END])
    if BEGIN in before and END in before:
        return before.partition(BEGIN)[0] + written + before.partition(END)[2]
    return f"# Benchmarks\n\n{written}\n"


def _machine(report: dict[str, Any]) -> str:
    """Where and with what, and what is not there."""
    machine = report["machine"]
    there = [f"{k} {v['version']}" for k, v in report["libraries"].items() if not v["absent"]]
    absent = [f"Absent: {k} ({v['absent']})" for k, v in report["libraries"].items() if v["absent"]]
    first = (
        f"`{report['command']}`, {report['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}, NumPy {machine['numpy']}, PyTorch "
        f"{machine['torch']}, batchmix {machine['batchmix']} (kernel: {machine['kernel']}); "
        f"{', '.join(there) or 'no other library'}."
    )
    return "\n\n".join([first, *absent])


def grids(report: dict[str, Any]) -> list[Grid]:
    """A table per group and shape; of many shapes only the two that the targets name."""
    runs: dict[tuple[str, tuple[int, ...]], dict[tuple[int, str], Any]] = {}
    for run in report["runs"]:
        of = runs.setdefault((run["group"], tuple(run["shape"])), {})
        of[run["threads"], run["allocator"]] = run
    many = len({shape for _, shape in runs}) > 2
    return [
        _grid(f"{'x'.join(map(str, shape))}, {group}", settings)
        for (group, shape), settings in runs.items()
        if not many or shape in (LARGE, SMALL)
    ]


def _grid(title: str, settings: dict[tuple[int, str], Any]) -> Grid:
    """Lines of one work together, fastest first; the first setting in full, else the median."""
    order = sorted(settings, key=lambda s: (s[1] != "warm", s[0]))
    first = settings[order[0]]["cases"]
    copy, scale = (_limit(first, kind) for kind in (COPY, SCALE))
    works = list(dict.fromkeys(case["work"] for case in first))
    rows = []
    for case in sorted(first, key=lambda c: (works.index(c["work"]), _median(c))):
        limit = scale if case["how"].startswith("in place") else copy
        others = [_median(_same(settings[key]["cases"], case)) for key in order[1:]]
        rows.append(
            [
                *_names(case),
                _spread(case),
                f"{_median(case) / limit:.2f}" if limit and "ms" in case else "",
                _beside(case, first),
                *(_ms(value) for value in others),
                _check(case),
            ]
        )
    names = [f"{n} thread{'s' * (n > 1)}\n{kind}" for n, kind in order]
    headings = ["work", "library", "how", names[0], "x limit", "x batchmix", *names[1:], "check"]
    used = [any(row[at] for row in rows) for at in range(len(headings))]
    rows = [[cell for cell, keep in zip(row, used) if keep] for row in rows]
    return Grid(title, [heading for heading, keep in zip(headings, used) if keep], rows)


def _names(case: dict[str, Any]) -> list[str]:
    """The three columns of words."""
    return [case["work"], case["library"], case["how"]]


def _median(case: dict[str, Any] | None) -> float:
    """Infinite where there is none."""
    return float(case["ms"]["median"]) if case and "ms" in case else float("inf")


def _spread(case: dict[str, Any]) -> str:
    """Median and quartiles, such as 5.8 [5.7 6.1]."""
    if "ms" not in case:
        return "-"
    middle, low, high = (_ms(case["ms"][name]) for name in ("median", "q1", "q3"))
    return f"{middle} [{low} {high}]"


def _ms(value: float) -> str:
    """Three digits."""
    if value == float("inf"):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _limit(cases: list[dict[str, Any]], kind: str) -> float | None:
    """The faster way to copy or to scale."""
    found = [_median(c) for c in cases if c["work"] == LIMIT and c["how"].startswith(kind)]
    least = min(found, default=float("inf"))
    return None if least == float("inf") else least


def _same(cases: list[dict[str, Any]], case: dict[str, Any]) -> dict[str, Any] | None:
    """The same line in another run."""
    return next((c for c in cases if _names(c) == _names(case)), None)


def _beside(case: dict[str, Any], cases: list[dict[str, Any]]) -> str:
    """How many times faster batchmix does the same."""
    if case["library"] in ("batchmix", "limit"):
        return ""
    ours = [c for c in cases if c["library"] == "batchmix" and c["work"] == case["work"]]
    bare = PIXELS in case["how"]
    ours = [c for c in ours if "ms" in c and (PIXELS in c["how"]) == bare]
    how = case["how"].replace("new array", "out=")
    for wanted in (how, how.split(",")[0], ""):
        fit = [_median(c) for c in ours if c["how"].startswith(wanted)]
        if fit:
            return f"{_median(case) / fit[0]:.1f}"
    return ""


def _check(case: dict[str, Any]) -> str:
    """right, or by how much not, or why not at all."""
    if "failed" in case:
        return f"failed: {case['failed']}"
    found = case.get("check")
    if found is None:
        return ""
    if found["right"]:
        return "right"
    return f"wrong: pixels {found['pixels']:.2g}, labels {found['labels'] or 0:.2g}"


def targets(report: dict[str, Any]) -> Grid:
    """Hits and misses alike; a hit is one of the whole step."""
    rows = []
    for target in TARGETS:
        value, alone = target.measured(report), target.pixels_alone(report)
        goal = f"{'≤' if target.at_most else '≥'} {target.goal:g}"
        found = "not measured" if value is None else f"{value:.3g}"
        result = "" if value is None else "hit" if target.hit(value) else "missed"
        beside = "" if alone is None else f"{alone:.3g}"
        rows.append([target.says, goal, found, result, beside])
    hits = sum(row[3] == "hit" for row in rows)
    title = f"Targets: {hits} of {len(rows)} hit; one thread, warm allocator, medians of one run"
    return Grid(title, ["what", "target", "measured", "result", "pixels alone"], rows, words=1)
