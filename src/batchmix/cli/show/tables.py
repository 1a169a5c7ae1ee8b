"""The tables of a comparison, each within 80 columns: what was gained, and how it was."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from batchmix.cli.lab.findings.levels import Arm, At, Level, noise_name
from batchmix.cli.lab.findings.verdict import amount
from batchmix.cli.lab.outcome import METRICS

_SECOND: tuple[tuple[str, At], ...] = (
    ("accuracy", "best"), ("nll", "best"), ("mae", "best"), ("r2", "best"), ("ece", "best"),
    ("ece_scaled", "best"), ("memorised", "best"),
    ("ece", "last"), ("ece_scaled", "last"), ("memorised", "last"),
)  # fmt: skip


def tables(level: Level) -> list[Table]:
    """The headline metric at best and last; then the other metrics, where there are any."""
    head, lines = gains(level)
    found = [_table(f"{noise_name(level.noise)}", head, lines)]
    head, lines = others(level)
    return [*found, _table(None, head, lines)] if len(head) > 1 else found


def gains(level: Level) -> tuple[list[str], list[list[str]]]:
    """Heading and lines: what each arm reaches, at its best epoch first."""
    shown = METRICS[level.metric]
    name = {"balanced": "bal. acc."}.get(level.metric, shown.heading)
    name = f"{name} %" if shown.unit else name
    head = [
        "policy", f"best:\n{name}", "against none,\nseeds agree", "best\nepoch",
        f"last:\n{name}", "last minus\nbest",
    ]  # fmt: skip
    against, cost = level.against_none(level.metric), level.cost(level.metric)
    lines = []
    for arm in level.arms:
        d, paid = against.get(arm.name), cost.get(arm.name)
        lines.append([
            arm.name,
            cell(arm, level.metric, "best"),
            f"{_close(level.metric, d.mean, d.error)} {d.agree}/{d.seeds}{'*' if d.real else ' '}"
            if d
            else "",
            epoch(arm),
            cell(arm, level.metric, "last"),
            _close(level.metric, paid.mean, paid.error) if paid else "",
        ])  # fmt: skip
    return head, lines


def others(level: Level) -> tuple[list[str], list[list[str]]]:
    """Heading and lines: the metrics that say how the predictions are."""
    columns = [
        (metric, at)
        for metric, at in _SECOND
        if metric != level.metric and all(arm.has(metric, at) for arm in level.arms)
    ]
    heads = {"ece": "ECE %", "ece_scaled": "after TS", "memorised": "memo-\nrised %"}
    head = ["policy"]
    for metric, at in columns:
        unit = " %" if METRICS[metric].unit else ""
        word = heads.get(metric, METRICS[metric].heading + unit)
        head.append(f"{at}:\n{word}")
    lines = [
        [arm.name, *(amount(m, arm.mean(m, at), sign="-") for m, at in columns)]
        for arm in level.arms
    ]
    return head, lines


def cell(arm: Arm, metric: str, at: At) -> str:
    """Mean and spread, such as 97.1±0.4."""
    if not arm.has(metric, at):
        return ""
    return _close(metric, arm.mean(metric, at), arm.spread(metric, at), sign="-")


def epoch(arm: Arm) -> str:
    """The median of the best epochs, counted from 1."""
    found = [one.best["epoch"] for one in arm.outcomes if "epoch" in one.best]
    return f"{statistics.median(found) + 1:.0f}" if found else ""


def _close(metric: str, value: float, error: float | None, sign: str = "+") -> str:
    return amount(metric, value, error, sign).replace(" ± ", "±")


def _table(title: str | None, head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    grid = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    grid.add_column(head[0], justify="left", overflow="fold", vertical="bottom")
    for heading in head[1:]:
        grid.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for line in lines:
        grid.add_row(*map(Text, line))
    return grid
