"""What a comparison found: tables for the terminal, JSON, and the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchmix.cli._output import shown, write
from batchmix.cli.lab.findings.levels import Level, levels
from batchmix.cli.lab.findings.verdict import verdict
from batchmix.cli.lab.outcome import Outcome
from batchmix.cli.lab.rows import Task
from batchmix.cli.show.record import as_json as as_json
from batchmix.cli.show.record import dumps

if TYPE_CHECKING:
    from rich.console import Console

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
        return shown(", ".join([*parts, f"{seeds} seed{'' if seeds == 1 else 's'}"]))

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
        console.print(f"\n{shown(' '.join(sentences))}", **plain)
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


def _shown(report: Report, metric: str) -> bool:
    return any(arm.has(metric) for level in report.levels for arm in level.arms)
