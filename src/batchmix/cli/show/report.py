"""What a comparison found: tables for the terminal, JSON, and the files."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchmix.cli._output import write
from batchmix.cli.lab.levels import Arm, At, Level, levels
from batchmix.cli.lab.outcome import METRICS, Outcome
from batchmix.cli.lab.paired import Difference
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.verdict import verdict

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1  # of report.json
_NARROWEST = 80  # columns
NOTE = (
    "best: at the epoch that was best on held-out rows, whose labels are as noisy as those "
    "trained on; last: at the last epoch, and what it has over the best one. "
    "±: spread over seeds; of differences, standard error. Against none: mean of the differences "
    "seed by seed, and how many seeds have its sign; * is beyond chance (p < 0.05 by Student's t, "
    "corrected for the number of arms by Holm). "
)
_EXPLAINED = {
    "ece": "ECE: gap between confidence and accuracy. ",
    "ece_scaled": "TS: temperature scaling, fitted on held-out rows. ",
    "memorised": "Memorised: share of the wrong training labels that the model predicts. ",
}


@dataclass(frozen=True)
class Report:
    """A comparison, finished or broken off.

    Of `config` are read, where they are there: "data", "arms", "class_counts" (test rows per
    class), and "model", "epochs" (also below "training").
    """

    config: Mapping[str, Any]
    task: Task
    outcomes: Sequence[Outcome]
    planned: int  # trials
    command: str
    first_batch: bytes | None = None  # PNG

    @cached_property
    def levels(self) -> list[Level]:
        return levels(self.task, self.outcomes, self.config)

    @cached_property
    def title(self) -> str:
        """Data, model, rows, epochs, seeds, in one line that is safe to print."""
        settings = {**self.config.get("training", {}), **self.config}
        parts = [str(settings[key]) for key in ("data", "model") if key in settings]
        if self.outcomes:
            parts.append(f"{self.outcomes[0].rows['train']:,} training rows")
        parts += [f"{settings['epochs']} epochs"] if "epochs" in settings else []
        seeds = max((len(level.seeds) for level in self.levels), default=0)
        return printable(", ".join([*parts, f"{seeds} seed{'' if seeds == 1 else 's'}"]))

    @cached_property
    def verdicts(self) -> list[list[str]]:
        """Sentences per level of label noise."""
        return [verdict(level, self.task) for level in self.levels]

    @property
    def unfinished(self) -> str:
        """Of how many trials it consists, where some are missing; else nothing."""
        if len(self.outcomes) >= self.planned:
            return ""
        used = sum(len(level.seeds) * len(level.arms) for level in self.levels)
        return (
            f"{len(self.outcomes)} of {self.planned} trials are there; what is said rests on "
            f"{used} of them, the seeds that all arms have."
        )


def print_report(report: Report, console: Console) -> None:
    """Tables and verdict, in 80 columns; nothing is ever cut off."""
    from batchmix.cli.show.tables import tables

    if console.width < _NARROWEST:
        console = type(console)(file=console.file, width=_NARROWEST)
    console.print(report.title, markup=False, highlight=False, soft_wrap=True)
    for level in report.levels:
        for table in tables(level):
            console.print()
            console.print(table)
    told = "".join(text for name, text in _EXPLAINED.items() if _shown(report, name))
    plain: dict[str, Any] = {"markup": False, "highlight": False}
    console.print(f"\n{NOTE}{told}".rstrip(), style="dim", **plain)
    for sentences in report.verdicts:
        console.print(f"\n{printable(' '.join(sentences))}", **plain)
    if report.unfinished:
        console.print(f"\n{report.unfinished}", **plain)


def write_report(out: Path, report: Report) -> list[Path]:
    """report.json first, whatever happens to the figures; then compare.png and report.html."""
    path = out / "report.json"
    write(path, dumps(as_json(report)).encode(errors="backslashreplace"))
    if not report.levels:
        return [path]
    from batchmix.cli.show.figure import figure
    from batchmix.cli.show.html import page

    write(out / "compare.png", figure(report))
    write(out / "report.html", page(report))
    return [path, out / "compare.png", out / "report.html"]


def as_json(report: Report) -> dict[str, Any]:
    """Everything; what is not a number is None."""
    used = sum(len(level.seeds) * len(level.arms) for level in report.levels)
    found: dict[str, Any] = {
        "format": FORMAT,
        "title": report.title,
        "verdict": [" ".join(sentences) for sentences in report.verdicts],
        "trials": {"planned": report.planned, "finished": len(report.outcomes), "used": used},
        "levels": [
            _level(level, report.task, sentences)
            for level, sentences in zip(report.levels, report.verdicts)
        ],
        "command": report.command,
        "config": dict(report.config),
        "task": {"kind": report.task.kind, "names": list(report.task.names)},
        "rows": dict(report.outcomes[0].rows) if report.outcomes else {},
        "versions": versions(),
        "outcomes": [one.as_json() for one in report.outcomes],
    }
    cleaned: dict[str, Any] = _plain(found)
    return cleaned


def of_json(found: Mapping[str, Any]) -> Report:
    """The report that `as_json` made; the first mixed batch is not kept."""
    task = Task(found["task"]["kind"], tuple(found["task"]["names"]))
    outcomes = [Outcome.of_json(one) for one in found["outcomes"]]
    return Report(found["config"], task, outcomes, found["trials"]["planned"], found["command"])


def dumps(found: Mapping[str, Any]) -> str:
    """JSON that can be read: an entry per line, a list of numbers on one."""
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    numbers = re.compile(r"\[\n\s+([^\[\]{}\"]*)\n\s*\]")  # no string holds a line break
    return numbers.sub(lambda one: f"[{re.sub(r',[ \n]+', ', ', one[1])}]", text)


def versions() -> dict[str, str]:
    """Versions of what made the figures."""
    found = {"python": platform.python_version()}
    for name in ("batchmix", "numpy", "torch", "timm", "torchvision"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def printable(text: str) -> str:
    """With control characters and broken text escaped: names come from files."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shown(report: Report, metric: str) -> bool:
    return any(arm.has(metric) for level in report.levels for arm in level.arms)


def _level(level: Level, task: Task, sentences: Sequence[str]) -> dict[str, Any]:
    against = {at: _by_metric(level, at) for at in ("best", "last")}
    smoothing = {name: _difference(d) for name, d in level.against_smoothing().items()}
    return {
        "label_noise": level.noise,
        "metric": level.metric,
        "seeds": list(level.seeds),
        "left_out": list(level.left_out),
        "can_see": level.can_see(),
        "verdict": list(sentences),
        "mixing_against_smoothing": smoothing,
        "arms": [
            {"policy": arm.name, "kind": arm.kind}
            | {at: _metrics(arm, at, against[at]) for at in ("best", "last")}
            | {"last_minus_best": _cost(level, arm)}
            | {"recall_against_none": _classes(level, arm, task)}
            for arm in level.arms
        ],
    }


def _by_metric(level: Level, at: Any) -> dict[str, dict[str, Difference]]:
    return {metric: level.against_none(metric, at) for metric in METRICS}


def _metrics(arm: Arm, at: At, against: Mapping[str, Mapping[str, Difference]]) -> dict[str, Any]:
    found: dict[str, Any] = {"epoch": [getattr(one, at).get("epoch") for one in arm.outcomes]}
    for metric in METRICS:
        if arm.has(metric, at):
            found[metric] = {
                "values": arm.values(metric, at),
                "mean": arm.mean(metric, at),
                "spread": arm.spread(metric, at),
            }
            if arm.name in against[metric]:
                found[metric]["against_none"] = _difference(against[metric][arm.name])
    return found


def _cost(level: Level, arm: Arm) -> dict[str, Any]:
    costs = {metric: level.cost(metric) for metric in METRICS}
    return {m: _difference(found[arm.name]) for m, found in costs.items() if arm.name in found}


def _classes(level: Level, arm: Arm, task: Task) -> dict[str, Any]:
    return {task.names[k]: _difference(d) for k, d in level.classes(arm).items()}


def _difference(d: Difference) -> dict[str, Any]:
    return {
        "mean": d.mean,
        "standard_error": d.error,
        "interval": d.interval(),
        "seeds_agree": d.agree,
        "p": d.p,
        "beyond_chance": d.real,
    }


def _plain(found: Any) -> Any:
    """The same as JSON knows it."""
    if isinstance(found, Mapping):
        return {str(key): _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(value) for value in found]
    if isinstance(found, Path):
        return str(found)
    if hasattr(found, "tolist"):
        return _plain(found.tolist())
    return None if isinstance(found, float) and not math.isfinite(found) else found
