"""What an audit found, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from batchmix._audit._report import Audit, Finding
from batchmix.cli._output import shown

_COLOURS = {"found": "bold red", "ok": "green", "accepted": "yellow"}


def verdict(found: Audit, finding: Finding) -> str:
    """The verdict, in which an accepted finding is none."""
    accepted = finding.verdict == "found" and finding.name in found.accepted
    return "accepted" if accepted else finding.verdict


def document(found: Audit, files: Mapping[str, Path], pictures: Collection[Path]) -> dict[str, Any]:
    """Every check, for programs; `files` and `pictures` are those of the worst calls."""
    checks = []
    for f in found:
        file = files.get(f.name)
        picture = file.with_suffix(".png") if file else None
        checks.append({
            "check": f.name, "verdict": verdict(found, f), "number": f.number, "limit": f.limit,
            "where": f.where, "batch": f.kind.name if f.kind else None,
            "call": f.call if f.kind else None, "row": f.row,
            "file": file, "picture": picture if picture in pictures else None,
        })  # fmt: skip
    return {
        "found": [f.name for f in found.found],
        "accepted": list(found.accepted),
        "options": dict(found.options),
        "checks": checks,
    }


def print_findings(title: str, found: Audit, quiet: bool) -> None:
    """A line per check, findings in red, and under what is not in order where that was."""
    console = Console(highlight=False)
    console.print(Text(shown(title)))
    for finding in found:
        said = verdict(found, finding)
        if quiet and said != "found":
            continue
        line = f"{finding.name:<27}{said:<15}{finding.number_text:>9}"
        console.print(Text(line.rstrip(), _COLOURS.get(said, "dim")))
        if said in ("found", "accepted", "could not run") and finding.where:
            console.print(Padding(Text(shown(finding.where)), (0, 0, 0, 4), expand=False))
    print(f"\n{len(found.found)} found" if found.found else "\nnothing found")
