"""The example of a detector: it trains with every recipe, and measures as COCO does."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "detection.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(SCRIPT))


def test_it_runs_with_every_recipe(tmp_path):
    kept = tmp_path / "kept.json"
    words = [sys.executable, str(SCRIPT), "--quick", "--json", str(kept)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    runs = json.loads(kept.read_text())["runs"]
    assert [run["arm"] for run in runs] == ["none", "cutmix", "deim", "yolo"]
    assert all(0 <= run["ap75"] <= run["ap50"] <= 1 for run in runs)
    assert done.stdout.count("AP50") == 4 + 2 * 4


def test_scenes_are_a_function_of_the_seed_and_their_boxes_lie_inside(example):
    images, targets = example["scenes"](6, seed=3)
    again, _ = example["scenes"](6, seed=3)
    assert torch.equal(images, again)
    assert not torch.equal(images, example["scenes"](6, seed=4)[0])
    for target in targets:
        boxes = target["boxes"]
        assert len(boxes) == len(target["labels"]) > 0
        assert (boxes[:, 2:] - boxes[:, :2] >= 8).all()
        assert boxes.min() >= 0
        assert boxes.max() <= 64


class Told:
    """A detector that answers with given boxes."""

    def __init__(self, found):
        self.found = found

    def __call__(self, images):
        answer, self.found = self.found[: len(images)], self.found[len(images) :]
        return answer


def answers(targets, shift=0.0, wrong=False):
    return [
        {
            "boxes": t["boxes"] + shift,
            "labels": (t["labels"] + wrong) % 3,
            "scores": torch.linspace(0.9, 0.5, len(t["boxes"])),
        }
        for t in targets
    ]


def test_average_precision(example):
    rows = example["scenes"](40, seed=1)
    measure = example["average_precision"]
    assert measure(Told(answers(rows[1])), rows, 0.5) == pytest.approx(1)
    assert measure(Told(answers(rows[1], shift=40.0)), rows, 0.5) < 0.1
    twice = [
        {
            name: torch.cat([value, value * (0.1 if name == "scores" else 1)])
            for name, value in one.items()
        }
        for one in answers(rows[1])
    ]
    assert measure(Told(twice), rows, 0.5) == pytest.approx(1)  # found again, with less confidence
    few = [{name: value[:1] for name, value in one.items()} for one in answers(rows[1])]
    found = sum(len(t["boxes"]) for t in rows[1])
    assert measure(Told(few), rows, 0.5) == pytest.approx(40 / found, abs=0.1)


def test_what_meets_is_found_once(example):
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40]])
    kept = example["suppressed"](
        boxes, torch.tensor([0.5, 0.9, 0.7, 0.1]), torch.tensor([0, 0, 1, 0]), 0.5
    )
    assert sorted(kept.tolist()) == [1, 2, 3]
