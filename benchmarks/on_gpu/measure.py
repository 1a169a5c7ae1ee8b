"""A table: its lines are checked, warmed up and timed in turn; one that fails says why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import cases as c
from check import check
from clock import interleave, summary
from on_gpu.batches import Rounding
from on_gpu.stopwatch import Plain, Queue, middle, turning

Run = dict[str, Any]  # a table: what stands in `report.Line`, and its cases
_CHECKED = 16  # rows


@dataclass(frozen=True)
class Setting:
    """What a run is told."""

    device: str  # cuda or cpu
    quick: bool
    seconds: float  # of each line
    clock: Queue | Plain
    out: Path | None = None  # for what is no table

    @property
    def cuda(self) -> bool:
        """Whether what is measured says anything about a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Absent:
    """What a table says instead of a line."""

    library: str
    why: str


@dataclass(frozen=True)
class Table:
    """Its name, the batch that lines are checked with, and the lines, each for every batch."""

    group: str
    shape: c.Shape
    bytes: int  # that a copy reads
    rounding: Rounding
    checked: c.Batch
    lines: Sequence[Sequence[c.Case] | Absent]


def lines_of(make: Any, batches: Sequence[c.Batch], *given: Any) -> list[Sequence[c.Case]]:
    """`make(batch, ...)` of every batch, line by line."""
    return list(zip(*[list(make(batch, *given)) for batch in batches]))


def copies(batch: c.Batch) -> Iterable[c.Case]:
    """The unit: as many bytes read, and as many written."""
    yield c.Case("limit", "limit", "copy: torch copy_", lambda: batch.out.copy_(batch.x))


def measured(setting: Setting, table: Table) -> Run:
    """The lines with their times."""
    found: list[dict[str, Any]] = []
    works: list[tuple[c.Case, dict[str, Any]]] = []
    rows = c.host(table.checked.x)
    for start, given in enumerate(table.lines):
        if isinstance(given, Absent):
            where = {"library": given.library, "work": "-", "how": "-", "failed": given.why}
            found.append(where)
            continue
        case = turning(given, start)
        line: dict[str, Any] = {"library": case.library, "work": case.work, "how": case.how}
        found.append(line)
        try:
            line |= _checked(table, case, rows)
            setting.clock.prepared(case)
            works.append((case, line))
        except Exception as problem:  # what is not supported, and what does not fit into memory
            line["failed"] = reason(problem)
            freed(setting)
    broken: dict[c.Case, str] = {}

    def once(case: c.Case) -> float:
        try:
            return setting.clock(case)
        except Exception as problem:  # a later batch can fail where the first did not
            broken[case] = reason(problem)
            return math.inf

    samples = interleave([case for case, _ in works], setting.seconds, False, once)
    for (case, line), times in zip(works, samples):
        if case in broken:
            line["failed"] = broken[case]
        else:
            line["ms"] = summary(times)
            line["host_ms"] = middle(setting.clock.host(case))
    freed(setting)
    place = {"threads": 1, "allocator": "warm", "group": table.group}
    return place | {"shape": list(table.shape), "bytes": table.bytes, "cases": found}


def _checked(table: Table, case: c.Case, rows: Any) -> dict[str, Any]:
    """How a line differs from the oracle, in the terms of its dtype."""
    if case.seen is None:
        return {}
    batch = table.checked
    if batch.work is not batch.x:
        batch.work.copy_(batch.x)
    mixed, rounding = case.seen(), table.rounding
    ours = case.library == "batchmix"
    allowed = rounding.ours if ours else max(mixed.tolerance, rounding.theirs)
    labels = mixed.label_tolerance if ours else rounding.labels
    mixed = replace(mixed, tolerance=allowed, label_tolerance=labels)
    return {"check": check(mixed, rows, batch.y, batch.layout, _CHECKED)._asdict()}


def reason(problem: BaseException) -> str:
    """In one line."""
    if isinstance(problem, ModuleNotFoundError):
        return f"not installed (no module {problem.name})"
    if isinstance(problem, torch.cuda.OutOfMemoryError):
        return "out of memory"
    return f"{type(problem).__name__}: {problem}".splitlines()[0][:200]


def freed(setting: Setting) -> None:
    """What the allocator keeps goes back, so that each table starts alike."""
    if setting.cuda:
        with suppress(RuntimeError):  # a device that failed once answers nothing more
            torch.cuda.empty_cache()
