"""Writes what was found on tables into the pages that show it: python docs/tables_page.py

A study is benchmarks/evidence/tables-MODEL.json, made by benchmarks/tables_evidence.py. A page
takes a part of it between `<!-- tables MODEL PART -->` and `<!-- end -->`; PART is `loss`,
`accuracy` or `verdict`. What is between them stays as it is until there is such a file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import t

from batchmix.cli.lab.findings.paired import Difference, corrected, difference

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "evidence"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PARTS = re.compile(r"(<!-- tables (\S+) (loss|accuracy|verdict) -->\n)(.*?)(<!-- end -->)", re.S)
NAMES = {"breast_cancer": "breast cancer", "friedman1": "Friedman 1"}
Study = Mapping[str, Any]


class Found(NamedTuple):
    """What one metric says: scores by set and arm, and the arms' differences to none."""

    scores: dict[str, dict[str, list[float]]]
    differences: dict[tuple[str, str], Difference]  # p is corrected, spread is not
    errors: dict[tuple[str, str], float]


def page(text: str, kept: Path = KEPT) -> str:
    """The text with each part as the kept studies have it."""

    def part(found: re.Match[str]) -> str:
        start, model, what, _, end = found.groups()
        path = kept / f"tables-{model}.json"
        if not path.exists():
            return found[0]
        study = json.loads(path.read_text(encoding="utf-8"))
        made = verdict(study) if what == "verdict" else table(found_of(study, what), what)
        return f"{start}\n{made}\n{end}"

    return PARTS.sub(part, text)


def found_of(study: Study, metric: str) -> Found:
    """All that is known of a metric; accuracy is in percent."""
    scores: dict[str, dict[str, list[float]]] = {}
    for run in sorted(study["runs"], key=lambda run: run["seed"]):
        if metric in run:
            value = run[metric] * (100 if metric == "accuracy" else 1)
            scores.setdefault(run["set"], {}).setdefault(run["arm"], []).append(value)
    shares = study["shares"]
    overlap = shares["test"] / (shares["train"] + shares["val"])
    differences, errors = {}, {}
    for name, arms in scores.items():
        for arm in arms.keys() - {"none"}:
            one = difference(arms[arm], arms["none"])
            # splits share rows, so that their scores are alike: Nadeau and Bengio's correction
            error = (one.spread or 0.0) * math.sqrt(1 / one.seeds + overlap)
            p = float(2 * t.sf(abs(one.mean) / error, one.seeds - 1)) if error else one.p
            differences[name, arm], errors[name, arm] = replace(one, p=p), error
    return Found(scores, corrected(differences), errors)


def table(found: Found, metric: str) -> str:
    """Arms against sets: the mean of none, then differences to it."""
    sets = list(found.scores)
    lines = [["arm", *(NAMES.get(name, name) for name in sets)], ["---", *["---:"] * len(sets)]]
    for arm in dict.fromkeys(arm for arms in found.scores.values() for arm in arms):
        cells = [_cell(found, name, arm, metric) for name in sets]
        lines.append(["none" if arm == "none" else f"`{arm}`", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(found: Found, name: str, arm: str, metric: str) -> str:
    """A mean, or a difference with its error and a star where it is beyond chance."""
    if arm not in found.scores[name]:
        return ""
    # a log-loss is below 1, a root mean square error of these sets is not
    digits = 1 if metric == "accuracy" else 3 if found.scores[name]["none"][0] < 1 else 2
    if arm == "none":
        values = found.scores[name][arm]
        return f"{sum(values) / len(values):.{digits}f}"
    one, error = found.differences[name, arm], found.errors[name, arm]
    return f"{one.mean:+.{digits}f} ± {error:.{digits}f}{'*' * one.real}"


def verdict(study: Study) -> str:
    """Which differences are beyond chance, in sentences."""
    lines = []
    for metric, title in (("loss", "Log-loss and RMSE"), ("accuracy", "Accuracy")):
        found, good = found_of(study, metric), 1 if metric == "accuracy" else -1
        real = {key: one for key, one in found.differences.items() if one.real}
        better = [key for key, one in real.items() if one.mean * good > 0]
        worse = [key for key in real if key not in better]
        lines.append(
            f"- **{title}**, {len(found.differences)} differences: better beyond chance "
            f"{_listed(better)}; worse beyond chance {_listed(worse)}.\n"
        )
    return "".join(lines)


def _listed(keys: list[tuple[str, str]]) -> str:
    """How many, and which, by set."""
    arms: dict[str, list[str]] = {}
    for name, arm in sorted(keys):
        arms.setdefault(NAMES.get(name, name), []).append(f"`{arm}`")
    listed = "; ".join(f"{name}: {', '.join(some)}" for name, some in arms.items())
    return f"{len(keys)} ({listed})" if keys else "none"


if __name__ == "__main__":
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (new := page(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(path)
