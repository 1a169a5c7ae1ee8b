"""How near to the memory's limit each release is: a line of ratios in history.jsonl.

    python benchmarks/history.py 0.1.0    the line of a release, from results.json

A ratio is a time of batchmix over that of a copy or an in-place scale of the same bytes, in the
same rounds: unlike milliseconds it can be compared between machines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from report import Report
from targets import TARGETS

HERE = Path(__file__).parent
RESULTS, HISTORY = HERE / "results.json", HERE / "history.jsonl"


def entry(version: str, report: Report) -> dict[str, Any]:
    """The line of a version; what was not measured is left out."""
    limits = [target for target in TARGETS if target.other and target.other.library == "limit"]
    measured = {target.says: target.measured(report) for target in limits}
    machine = report.head["machine"]
    return {
        "version": version,
        "measured": report.head["date"],
        "cpu": machine["cpu"],
        "kernel": machine["kernel"],
        "ratios": {says: round(ratio, 3) for says, ratio in measured.items() if ratio is not None},
    }


def added(lines: str, new: dict[str, Any]) -> str:
    """The history with one line more; that of the same version goes."""
    others = [line for line in lines.splitlines() if json.loads(line)["version"] != new["version"]]
    return "\n".join([*others, json.dumps(new)]) + "\n"


if __name__ == "__main__":
    before = HISTORY.read_text() if HISTORY.exists() else ""
    HISTORY.write_text(added(before, entry(sys.argv[1], Report.load(RESULTS))))
    print(HISTORY)
