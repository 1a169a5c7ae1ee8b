"""Writes what `batchmix compare` found into the pages that show it: python docs/compare_tables.py

Each report.json that is kept is benchmarks/evidence/NAME.json. A page takes a part of it between
`<!-- compare NAME NOISE PART -->` and `<!-- end -->`; NOISE is the share of wrong labels, PART is
`gains`, `others` or `verdict`. What is between them stays as it is until there is such a file.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from batchmix.cli.lab.findings.levels import Level
from batchmix.cli.show.record import of_json
from batchmix.cli.show.report import Report
from batchmix.cli.show.tables import gains, others

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "evidence"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARTS = re.compile(
    r"(<!-- compare (\S+) (\S+) (gains|others|verdict) -->\n)(.*?)(<!-- end -->)", re.S
)


@cache
def report(path: Path) -> Report:
    """The report in a file."""
    return of_json(json.loads(path.read_text(encoding="utf-8")))


def page(text: str, kept: Path = KEPT) -> str:
    """The text with each part as the kept reports have it."""

    def part(found: re.Match[str]) -> str:
        start, name, noise, what, _, end = found.groups()
        path = kept / f"{name}.json"
        return (
            f"{start}\n{_part(report(path), float(noise), what)}\n{end}"
            if path.exists()
            else found[0]
        )

    return PARTS.sub(part, text)


def _part(found: Report, noise: float, what: str) -> str:
    """One table, or the verdict, of one level of label noise."""
    k = [level.noise for level in found.levels].index(noise)
    if what == "verdict":
        return "\n>\n".join(f"> {sentence}" for sentence in found.verdicts[k]) + "\n"
    return _table(found.levels[k], what)


def _table(level: Level, what: str) -> str:
    """A Markdown table."""
    head, lines = gains(level) if what == "gains" else others(level)
    words = [" ".join(word.replace("-\n", "").split()) for word in head]
    rule = ["---", *["---:"] * (len(words) - 1)]
    return "".join(f"| {' | '.join(line).strip()} |\n" for line in (words, rule, *lines))


if __name__ == "__main__":
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (new := page(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(path)
