"""Writes what was found on a GPU into evidence.md: python docs/evidence_tables.py

The page takes a part of benchmarks/gpu-evidence.json, which `gpu_evidence.py report` makes, between
`<!-- gpu PART -->` and `<!-- end -->`. While there is none it says so, with the command.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from cifar.mixing import OURS, RIVALS  # noqa: E402
from cifar.runs import runs_of, seconds_of  # noqa: E402

PAGE = ROOT / "docs" / "evidence.md"
KEPT = ROOT / "benchmarks" / "gpu-evidence.json"
PARTS = re.compile(r"(<!-- gpu (\w+) -->\n)(.*?)(<!-- end -->)", re.S)
Arm = Mapping[str, Any]
Column = tuple[str, Callable[[Arm], str]]


def page(text: str, kept: Path = KEPT) -> str:
    """The text with each part as the kept report has it."""
    report = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None

    def part(found: re.Match[str]) -> str:
        start, name, _, end = found.groups()
        return f"{start}\n{_part(report, name)}\n{end}"

    return PARTS.sub(part, text)


def _part(report: Mapping[str, Any] | None, name: str) -> str:
    """A table and what it rests on, or that there is none."""
    if name == "machine":
        return _machine(report) if report else "No run has been made.\n"
    arms = [arm for arm in report["arms"] if arm["part"] == name] if report else []
    if not arms:
        runs = runs_of(name)
        hours = sum(seconds_of(run, [])[0] for run in runs) / 3600
        return (
            f"**Not run yet.** {len(runs)} runs, about {hours:.1f} hours on an H100 (a guess): "
            f"`python benchmarks/gpu_evidence.py {name} --data cifar10-jpeg.tar.gz --out FOLDER`\n"
        )
    rows = _pairs(arms) if name == "equal" else [(arm,) for arm in arms]
    columns = _EQUAL if name == "equal" else _NOISE if name == "noise" else _ARMS
    lines = [[cell(*row) for _, cell in columns] for row in rows]
    head, rule = [title for title, _ in columns], ["---", "---", *["---:"] * (len(columns) - 2)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))
    return table + "".join(f"\n{note}\n" for note in _notes(name, arms))


def _machine(report: Mapping[str, Any]) -> str:
    """Where, with what, how long."""
    lines = [
        f"- {one['device']}: "
        + ", ".join(f"{name} {each}" for name, each in one["versions"].items())
        for one in report["machines"]
    ]
    lines += [
        f"- sources {one['sources']}, revision {one['revision']}" for one in report["sources"]
    ]
    return "\n".join([*lines, f"- {report['hours']} hours in all; data {report['data']}\n"])


def _notes(name: str, arms: Sequence[Arm]) -> list[str]:
    """Hours, what failed and what is not there."""
    notes = [f"{sum(arm['hours'] for arm in arms):.1f} hours."]
    for arm in arms:
        notes += [f"Failed: {arm['recipe']}, {arm['arm']}, {why}." for why in arm["failed"]]
    there = {(arm["recipe"], arm["arm"], arm["library"]) for arm in arms}
    wanted = dict.fromkeys((run.recipe, run.arm, run.library) for run in runs_of(name))
    missing = [f"{arm} ({recipe}{_by(library)})" for recipe, arm, library in wanted
               if (recipe, arm, library) not in there]  # fmt: skip
    return notes + ([f"Not run: {', '.join(missing)}."] if missing else [])


def _by(library: str) -> str:
    return "" if library == OURS else f", {library}"


def _pairs(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """(ours, theirs) of the same policy."""
    return [
        (ours, theirs)
        for ours in arms
        for theirs in arms
        if RIVALS.get(ours["library"]) == theirs["library"] and ours["arm"] == theirs["arm"]
    ]


def _value(name: str, digits: int = 2) -> Callable[[Arm], str]:
    """Mean and spread over seeds."""

    def cell(arm: Arm) -> str:
        found = arm["measures"].get(name)
        if not found:
            return "-"
        spread = "" if found["sd"] is None else f" ± {found['sd']:.{digits}f}"
        return f"{found['mean']:.{digits}f}{spread}"

    return cell


def _mean(name: str, digits: int) -> Callable[[Arm], str]:
    """Mean alone."""
    return lambda arm: _value(name, digits)(arm).partition(" ")[0]


def _against(name: str) -> Callable[..., str]:
    """The paired difference with its interval; a star where it is beyond chance."""

    def cell(arm: Arm, *_: Arm) -> str:
        found = arm.get("against", {}).get(name)
        if not found:
            return ""
        ends = found["interval"]
        interval = f" [{ends[0]:+.2f}, {ends[1]:+.2f}]" if ends else ""
        return f"{found['mean']:+.2f}{interval}{'*' * found['real']}"

    return cell


def _within(ours: Arm, theirs: Arm) -> str:
    """Whether the difference is below its standard error, and whether its interval holds 0."""
    found = ours.get("against", {}).get("last")
    if not found or found["se"] is None:
        return "-"
    low, high = found["interval"]
    return f"{_yes(abs(found['mean']) <= found['se'])}, {_yes(low <= 0 <= high)}"


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _both(cell: Callable[[Arm], str]) -> Callable[[Arm, Arm], str]:
    """Theirs, then ours."""
    return lambda ours, theirs: f"{cell(theirs)} / {cell(ours)}"


_FIRST: list[Column] = [
    ("recipe", lambda arm: arm["recipe"]),
    ("arm", lambda arm: arm["arm"]),
    ("seeds", lambda arm: str(len(arm["seeds"]))),
]
_ARMS: list[Column] = [
    *_FIRST,
    ("last epoch %", _value("last")),
    ("against none", _against("last")),
    ("median of last ten %", _value("median of last ten")),
    ("highest %", _value("highest")),
    ("NLL", _mean("last nll", 3)),
    ("ECE %", _mean("last ece", 1)),
    ("minutes", _mean("minutes", 1)),
]
_NOISE: list[Column] = [
    *_FIRST,
    ("best-stopped %", _value("best")),
    ("against none", _against("best")),
    ("best epoch", _mean("best epoch", 0)),
    ("last epoch %", _value("last")),
    ("against none", _against("last")),
    (
        "memorised %, best / last",
        lambda arm: f"{_mean('best memorised', 1)(arm)} / {_mean('last memorised', 1)(arm)}",
    ),
    ("best: ECE %, after TS", lambda arm: " / ".join(_ece(arm, "best"))),
    ("last: ECE %, after TS", lambda arm: " / ".join(_ece(arm, "last"))),
]
_EQUAL: list[tuple[str, Callable[..., str]]] = [
    ("library", lambda ours, theirs: theirs["library"]),
    ("arm", lambda ours, theirs: ours["arm"]),
    ("seeds", lambda ours, theirs: f"{len(theirs['seeds'])} / {len(ours['seeds'])}"),
    ("last epoch %, theirs / ours", _both(_value("last"))),
    ("ours - theirs", _against("last")),
    ("within the standard error, 0 in the interval", _within),
    ("mix ms, theirs / ours", _both(_mean("mix ms", 3))),
    ("step ms, theirs / ours", _both(_mean("step ms", 3))),
]


def _ece(arm: Arm, at: str) -> list[str]:
    return [_mean(f"{at} ece", 1)(arm), _mean(f"{at} ece scaled", 1)(arm)]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
