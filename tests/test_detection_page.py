"""The page of detection shows the figures of the runs that are kept."""

import json
import re

import numpy as np
import pytest

from pages import DOCS, ROOT

PAGE = (DOCS / "kinds" / "detection.md").read_text()
FILES = ("detection", "detection-many")
KEPT = [
    json.loads((ROOT / "benchmarks" / "evidence" / f"{name}.json").read_text()) for name in FILES
]
ARMS = ("none", "cutmix", "deim", "yolo")


def scores(kept, arm, name):
    """In points, seed by seed."""
    return np.array([100 * run[name] for run in kept["runs"] if run["arm"] == arm])


def row(kept, arm):
    """A row of a table: means, standard deviations, and differences of the same seeds."""
    found = [scores(kept, arm, name) for name in ("ap50", "ap75")]
    cells = [f"`{arm}`", *(f"{one.mean():.1f} ± {one.std(ddof=1):.1f}" for one in found)]
    more = found[0] - scores(kept, "none", "ap50")
    seeds = f"{(more > 0).sum()} of {len(more)}"
    cells.append("" if arm == "none" else f"{more.mean():+.1f} ± {more.std(ddof=1):.1f}, {seeds}")
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


@pytest.mark.parametrize("kept", KEPT, ids=FILES)
def test_the_tables_are_those_of_the_runs(kept):
    assert [run["arm"] for run in kept["runs"]] == [*ARMS] * (len(kept["runs"]) // len(ARMS))
    assert "\n".join(row(kept, arm) for arm in ARMS) in PAGE
    for said in (f"{kept['rows']} scenes", f"{kept['epochs']} epochs", "300 others"):
        assert said in PAGE
    assert kept["tests"] == 300
    assert kept["command"] in PAGE


def test_every_rule_that_is_said_to_be_tested_is():
    for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file()
