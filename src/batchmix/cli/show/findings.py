"""What an audit found, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from batchmix._audit._report import Audit, Finding
from batchmix.cli._output import shown

_COLOURS = {"found": "bold red", "ok": "green", "accepted": "yellow"}


def _verdict(found: Audit, finding: Finding) -> str:
    """The verdict, in which an accepted finding is none."""
    accepted = finding.verdict == "found" and finding.name in found.accepted
    return "accepted" if accepted else finding.verdict


def document(found: Audit, files: Mapping[str, Path]) -> dict[str, Any]:
    """Every check, for programs."""
    checks = [
        {"check": f.name, "verdict": _verdict(found, f), "number": f.number, "limit": f.limit,
         "where": f.where, "file": files.get(f.name)}
        for f in found
    ]  # fmt: skip
    return {"found": [f.name for f in found.found], "checks": checks}


def print_findings(title: str, found: Audit, quiet: bool) -> None:
    """A line per check, findings in red, and under what is not in order where that was."""
    console = Console(highlight=False)
    console.print(Text(shown(title)))
    for finding in found:
        verdict = _verdict(found, finding)
        if quiet and verdict != "found":
            continue
        line = f"{finding.name:<27}{verdict:<15}{finding.number_text:>9}"
        console.print(Text(line.rstrip(), _COLOURS.get(verdict, "dim")))
        if verdict in ("found", "accepted", "could not run") and finding.where:
            console.print(Padding(Text(shown(finding.where)), (0, 0, 0, 4)))
    print(f"\n{len(found.found)} found" if found.found else "\nnothing found")
