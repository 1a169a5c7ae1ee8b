"""`batchmix bench`, run for real on tiny batches. What it says is checked, not how fast it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from batchmix.cli.bench import LARGE, _figure, _processes, _report, peers
from batchmix.cli.bench._cases import MIXUP, Batch, Mixed, centred, own_share
from batchmix.cli.bench._oracle import check
from batchmix.cli.bench._ours import cases
from batchmix.cli.bench._targets import TARGETS, median

LIBRARIES = [name for name in peers.MODULES if name != "formula"]


def test_a_tiny_run(run, tmp_path):
    options = ["--shape", "4x3x8x8", "--threads", 1, "--allocator", "warm", "--seconds", 0]
    code, text, error = run("bench", *options, "--out", tmp_path)
    assert code == 0, error
    assert "Targets: 0 of" in text
    report = json.loads((tmp_path / "results.json").read_text())
    assert list(report["libraries"]) == LIBRARIES
    assert str(tmp_path) not in json.dumps(report)
    assert report["command"] == "batchmix bench " + " ".join(map(str, options))
    measured = {case["library"] for run in report["runs"] for case in run["cases"]}
    for name, library in report["libraries"].items():
        assert name in text
        assert (name in measured) != bool(library["absent"])
    for line in (case for run in report["runs"] for case in run["cases"]):
        assert "failed" not in line, line
        assert line["ms"]["min"] <= line["ms"]["median"]
        if line["library"] == "batchmix" and "check" in line:
            assert line["check"]["right"], line
    with Image.open(tmp_path / "results.png") as image:
        image.verify()
    assert "### Targets" in (tmp_path / "README.md").read_text()


def test_a_library_that_is_not_there_is_told_of(monkeypatch):
    monkeypatch.setitem(peers.MODULES, "absent", ("no_such_module", "no-such-distribution"))
    assert peers.load("absent").startswith("ModuleNotFoundError: ")
    assert peers.version("absent") is None


def test_a_process_that_dies_is_told_of(monkeypatch):
    from batchmix.cli.bench import Setting

    setting = Setting(1, "warm", [(4, 3, 8)], [], 0.0)  # a shape that no batch has
    found = _processes._run(setting, False, lambda: None)
    assert "timm" in found["absent"]
    assert "ended with code 1" in found["absent"]["timm"]


@pytest.mark.parametrize("shape", ["256", "3x3x8x8", "4x1x8x8", "axbxcxd"])
def test_a_shape_that_is_none(run, tmp_path, shape):
    code, _, error = run("bench", "--shape", shape, "--out", tmp_path / "out")
    assert code == 2
    assert "--shape" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_oracle_agrees_and_disagrees():
    batch = Batch.random((4, 3, 8, 8))
    case = next(c for c in cases(batch) if c.how == "out=")
    mixed = case.seen()
    assert check(mixed, batch.x, batch.y).right
    for wrong in (
        Mixed(mixed.pixels + 1e-3, mixed.plan, mixed.labels),
        Mixed(mixed.pixels, mixed.plan, mixed.labels * 0.99),
    ):
        assert not check(wrong, batch.x, batch.y).right


def test_the_fixed_box_is_half_of_the_image():
    size = {"H": 224, "W": 224}
    assert own_share(centred(size), size) == pytest.approx(0.5, abs=0.01)


def report_of(ours, theirs):
    """A report with one line of batchmix and one of timm."""
    where = {"group": "float32", "threads": 1, "allocator": "warm", "shape": list(LARGE)}
    how = {"work": MIXUP, "how": "in place"}
    times = {"batchmix": ours, "timm": theirs}
    lines = [
        {"library": name, **how, "ms": {"median": t, "q1": t, "q3": t, "min": t, "samples": 5}}
        for name, t in times.items()
    ]
    keys = ("cpu", "cores", "system", "python", "numpy", "torch", "batchmix", "kernel")
    libraries = {
        "timm": {"version": "1", "absent": None},
        "Keras": {"version": None, "absent": "?"},
    }
    return {
        "command": "batchmix bench",
        "date": "2000-01-01",
        "machine": dict.fromkeys(keys, "?"),
        "libraries": libraries,
        "runs": [{**where, "bytes": 4 * int(np.prod(LARGE)), "cases": lines}],
    }


def test_targets_are_hit_and_missed():
    target = TARGETS[0]
    assert target.measured(report_of(10, 60)) == 6
    assert target.hit(6)
    assert not target.hit(4.9)
    assert median(report_of(10, 60), target.ours) == 10
    grid = _report.targets(report_of(10, 40))
    assert grid.rows[0][1:] == ["≥ 5", "4", "missed", ""]
    assert {row[2] for row in grid.rows[1:]} == {"not measured"}


def test_a_target_counts_the_whole_step():
    report = report_of(10, 60)
    lines = report["runs"][0]["cases"]
    lines.append(lines[0] | {"how": "in place, pixels only", "ms": {"median": 5}})
    assert TARGETS[0].measured(report) == 6
    assert TARGETS[0].pixels_alone(report) == 12


def test_the_page_keeps_what_was_written_by_hand():
    report = report_of(10, 60)
    first = _report.page("", report)
    by_hand = first.replace("# Benchmarks\n", "# By hand\n") + "after\n"
    again = _report.page(by_hand, report_of(20, 60))
    assert again.startswith("# By hand\n")
    assert again.endswith("after\n")
    assert "| 3.0 |" in again
    assert "Absent: Keras (?)" in again
    assert again.count(_report.BEGIN) == 1


def test_a_figure_of_what_there_is():
    report = report_of(10, 60)
    report["runs"][0]["cases"][0]["library"] = "limit"
    assert _figure.figure(report_of(1, 2)).startswith(b"\x89PNG")
