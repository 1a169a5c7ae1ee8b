"""The page of detection shows the figures of the run that is kept."""

import json
import re

import numpy as np

from pages import DOCS, ROOT

PAGE = (DOCS / "kinds" / "detection.md").read_text()
KEPT = json.loads((ROOT / "benchmarks" / "evidence" / "detection.json").read_text())
ARMS = ("none", "cutmix", "deim", "yolo")


def scores(arm, name):
    """In points, seed by seed."""
    return np.array([100 * run[name] for run in KEPT["runs"] if run["arm"] == arm])


def row(arm):
    """A row of the table: means, standard deviations, and differences of the same seeds."""
    found = [scores(arm, name) for name in ("ap50", "ap75")]
    cells = [f"`{arm}`", *(f"{one.mean():.1f} ± {one.std(ddof=1):.1f}" for one in found)]
    more = scores(arm, "ap50") - scores("none", "ap50")
    seeds = f"{(more > 0).sum()} of {len(more)}"
    cells.append("" if arm == "none" else f"{more.mean():+.1f} ± {more.std(ddof=1):.1f}, {seeds}")
    return "| " + " | ".join(cells) + " |"


def test_the_table_is_that_of_the_run():
    assert [run["arm"] for run in KEPT["runs"]] == [*ARMS] * 3
    for arm in ARMS:
        assert row(arm).replace("|  |", "| |") in PAGE
    for said in (f"{KEPT['rows']} scenes", f"{KEPT['epochs']} epochs", f"{KEPT['tests']} others"):
        assert said in PAGE
    assert KEPT["command"] in PAGE


def test_every_rule_that_is_said_to_be_tested_is():
    for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file()
