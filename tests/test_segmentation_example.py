"""The example of segmentation as a user starts it, and the page that shows what it measured.

Once, in a file of its own: what is true of every framework runs again for each of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("words", [[], ["--volumes"]], ids=["scenes", "volumes"])
def test_the_example_trains_all_arms(words, tmp_path):
    found = tmp_path / "found.json"
    program = [sys.executable, "examples/segmentation.py", "--quick", *words, "--out", str(found)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    scores = json.loads(found.read_text())["mean_iou"]
    assert list(scores) == ["none", "cutmix", "mixup", "classmix"]
    assert all(len(one) == 1 and 0.23 < one[0] < 1 for one in scores.values())  # 0.23: nothing seen
    assert all(f"{name:9}" in done.stdout for name in scores)


def test_the_page_shows_what_was_measured():
    """Means over the seeds, and differences from no mixing with their standard errors."""
    page = (ROOT / "docs" / "kinds" / "segmentation.md").read_text()
    kept = json.loads((ROOT / "benchmarks" / "evidence" / "segmentation.json").read_text())
    assert len(kept) >= 2
    for name, run in kept.items():
        none, *others = (np.array(one) for one in run["mean_iou"].values())
        assert len(none) == 3
        gains = [one - none for one in others]
        cells = [f"{none.mean():.3f}"]
        cells += [f"{one.mean():+.3f} ± {one.std(ddof=1) / len(one) ** 0.5:.3f}" for one in gains]
        assert f"| {name} | {' | '.join(cells)} |" in page
