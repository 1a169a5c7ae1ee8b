"""A comparison as JSON, whole, and back."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from batchmix.cli._output import plain
from batchmix.cli.lab.findings.levels import Arm, At, Level
from batchmix.cli.lab.findings.paired import Difference
from batchmix.cli.lab.outcome import METRICS, Outcome
from batchmix.cli.lab.rows import Task

if TYPE_CHECKING:
    from batchmix.cli.show.report import Report

FORMAT = 1
# a list of numbers over several lines; no string holds a line break
_NUMBERS = re.compile(r"\[\n\s+([^\[\]{}\"]*)\n\s*\]")


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
    cleaned: dict[str, Any] = plain(found)
    return cleaned


def of_json(found: Mapping[str, Any]) -> Report:
    """The report that `as_json` made; the first mixed batch is not kept."""
    from batchmix.cli.show.report import Report

    task = Task(found["task"]["kind"], tuple(found["task"]["names"]))
    outcomes = [Outcome.of_json(one, task) for one in found["outcomes"]]
    return Report(found["config"], task, outcomes, found["trials"]["planned"], found["command"])


def dumps(found: Mapping[str, Any]) -> str:
    """JSON that can be read: an entry per line, a list of numbers on one."""
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return _NUMBERS.sub(lambda one: f"[{', '.join(one[1].replace(',', ' ').split())}]", text)


def versions() -> dict[str, str]:
    """Versions of what made the figures."""
    found = {"python": platform.python_version()}
    for name in ("batchmix", "numpy", "torch", "timm", "torchvision"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
