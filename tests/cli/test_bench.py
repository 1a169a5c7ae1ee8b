"""`batchmix bench`, run for real on tiny batches. What it says is checked, not how fast it is."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchmix.cli.bench import LARGE, Setting, _figure, _processes, _report, peers
from batchmix.cli.bench._cases import (
    CUTMIX_ROWS,
    EAGER,
    JITTED,
    MIXUP,
    MIXUP_ROWS,
    PIXELS,
    Batch,
    Mixed,
    centred,
    own_share,
)
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
    monkeypatch.setitem(peers.MODULES, "absent", "no_such_module")
    assert peers.load("absent").startswith("ModuleNotFoundError: ")
    assert peers.version("absent") is None
    assert peers.version("timm") == importlib.metadata.version("timm")


def test_a_process_that_dies_is_told_of(monkeypatch):
    setting = Setting(1, "warm", [(4, 3, 8)], [], 0.0)  # a shape that no batch has
    found = _processes._run(setting, peers.MAIN, Path(sys.executable), lambda: None)
    assert "timm" in found["absent"]
    assert "ended with code 1" in found["absent"]["timm"]


def process(group):
    """The process of a group of tables."""
    return next(process for process in peers.PROCESSES if process.group == group)


def run_alone(group, python=sys.executable):
    """One process on a tiny batch."""
    setting = Setting(1, "warm", [], [(4, 3, 8, 8)], 0.0)
    return _processes._run(setting, process(group), Path(python), lambda: None)


@pytest.mark.parametrize("name", ["JAX", "TensorFlow"])
def test_a_framework_beside_the_formula_written_by_hand(name):
    pytest.importorskip(name.lower())
    found = run_alone(name)
    assert found["versions"][name] == importlib.import_module(name.lower()).__version__
    (run,) = found["runs"]
    assert (run["group"], run["shape"]) == (name, [4, 3, 8, 8])
    lines = {(line["library"], line["work"], line["how"]): line for line in run["cases"]}
    for work in (MIXUP_ROWS, CUTMIX_ROWS):
        assert ("batchmix", work, EAGER) in lines
        for library in ("batchmix", name):
            for how in (JITTED, PIXELS):
                line = lines[library, work, how]
                assert line["check"]["right"], line
                assert (line["check"]["labels"] is None) == (how == PIXELS)
                assert line["ms"]["samples"] >= 5


def test_a_framework_that_is_not_there_has_no_table(monkeypatch, tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run_alone("JAX")
    assert found["runs"] == []
    assert found["absent"]["JAX"] == "ImportError: broken"


def test_datarax_needs_its_own_python(run, tmp_path):
    setting = Setting(1, "warm", [], [(4, 3, 8, 8)], 0.0)
    found = _processes._run(setting, peers.DATARAX, None, lambda: None)
    assert "--datarax" in found["absent"]["Datarax"]
    found = run_alone(peers.DATARAX.group)  # a Python without it
    assert "datarax" in found["absent"]["Datarax"] or found["runs"]
    code, _, error = run("bench", "--datarax", tmp_path / "python", "--out", tmp_path / "out")
    assert code == 2
    assert "--datarax" in error


def test_targets_against_the_formula():
    """Ours over theirs; the other way round a slow line would be a hit."""
    target = next(t for t in TARGETS if t.ours.group == "JAX" and t.ours.shape == LARGE)
    report = report_of(13, 10)
    report["runs"][0] |= {"group": "JAX"}
    for line, library in zip(report["runs"][0]["cases"], ("batchmix", "JAX")):
        line |= {"library": library, "work": target.ours.work, "how": target.ours.how}
    assert target.measured(report) == 1.3
    assert not target.hit(1.3)
    assert target.hit(1.2)
    with_names = [t.says for t in TARGETS if t.ours.group in ("JAX", "TensorFlow")]
    assert len(set(with_names)) == 16


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
