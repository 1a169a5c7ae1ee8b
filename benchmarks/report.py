"""The report of a benchmark: its lines, found by what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of one table, in one setting."""

    threads: int
    allocator: str
    group: str
    shape: tuple[int, ...]
    bytes: int  # of the batch
    library: str
    work: str
    how: str
    ms: Mapping[str, float] | None = None  # median, q1, q3, min, samples
    check: Mapping[str, Any] | None = None
    failed: str | None = None
    host_ms: float | None = None  # until a call returns, where a device does the work

    @property
    def median(self) -> float:
        """Milliseconds; infinite where the line failed."""
        return float("inf") if self.ms is None else self.ms["median"]


@dataclass(frozen=True)
class Report:
    """Where and with what it was measured, and the lines."""

    head: Mapping[str, Any]  # command, date, machine, libraries
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Report:
        """From results.json, where lines stand by run."""
        lines = []
        for run in content["runs"]:
            where = {name: value for name, value in run.items() if name != "cases"}
            where["shape"] = tuple(run["shape"])
            lines += [Line(**where, **case) for case in run["cases"]]
        return cls({name: value for name, value in content.items() if name != "runs"}, tuple(lines))

    @classmethod
    def load(cls, path: Path) -> Report:
        """From a file."""
        return cls.of(json.loads(path.read_text()))

    def find(self, **wanted: Any) -> Report:
        """The lines whose fields are these; a string may end in * or be part of a pattern."""
        return replace(self, lines=tuple(line for line in self.lines if _fits(line, wanted)))

    def median(self, **wanted: Any) -> float | None:
        """Milliseconds of the fastest of the lines that fit; None if none was measured."""
        found = [line.median for line in self.find(**wanted).lines if line.ms is not None]
        return min(found, default=None)

    def ratio(self, over: Mapping[str, Any], under: Mapping[str, Any]) -> float | None:
        """The quotient of two medians; None if one of them was not measured."""
        top, bottom = self.median(**over), self.median(**under)
        return None if top is None or bottom is None else top / bottom


def _fits(line: Line, wanted: Mapping[str, Any]) -> bool:
    """Whether every field that is asked for is as asked."""
    return all(
        fnmatchcase(found, value) if isinstance(found, str) else found == value
        for found, value in ((getattr(line, name), value) for name, value in wanted.items())
    )
