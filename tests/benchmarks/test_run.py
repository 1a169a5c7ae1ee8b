"""`benchmarks/run.py` for real, on tiny batches. What it says is checked, not how fast it is."""

import importlib
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image

import cases as c
import child
import ours
import peers
import processes
import run
from batchmix import backends
from check import check
from report import Report
from targets import FRONT_DOOR, TARGETS

TINY = (4, 3, 8, 8)


def setting(**shapes):
    """One thread and five samples."""
    given = {"shapes": [], "headline": [], "doors": [], **shapes}
    return processes.Setting(threads=1, allocator="warm", seconds=0.0, **given)


def alone(group, python=sys.executable, **shapes):
    """One process on a tiny batch."""
    (process,) = (process for process in peers.PROCESSES if process.group == group)
    return processes._run(setting(**shapes), process, Path(python), lambda: None)


@pytest.fixture
def here(monkeypatch):
    """The libraries that this process has, measured in this process, at one call a sample."""

    def measured(setting, process, python, advance):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return child.run(processes.specification(setting, process))

    threads = torch.get_num_threads()
    monkeypatch.setattr(child, "_CALLS", 1)
    monkeypatch.setattr(processes, "_run", measured)
    monkeypatch.setattr(peers, "PROCESSES", (peers.MAIN, peers.FRONT_DOOR))
    yield
    torch.set_num_threads(threads)
    backends.set_threads(None)


def test_a_tiny_run(here, tmp_path, capsys):
    run.bench(shape=["4x3x8x8"], threads=[1], allocator="warm", seconds=0.0, out=tmp_path)
    text = capsys.readouterr().out
    assert f" of {len(TARGETS)} hit" in text
    content = json.loads((tmp_path / "results.json").read_text())
    assert str(tmp_path) not in json.dumps(content)
    command = "benchmarks/run.py --shape 4x3x8x8 --threads 1 --allocator warm --seconds 0"
    assert content["command"] == command
    report = Report.load(tmp_path / "results.json")
    measured = {line.library for line in report.lines}
    for name, library in content["libraries"].items():
        assert name in text
        assert (name in measured) != bool(library["absent"])
        assert (library["version"] is None) == bool(library["absent"])
    for line in report.lines:
        assert line.failed is None, line
        assert line.ms["min"] <= line.median
        if line.library == "batchmix" and line.check:
            assert line.check["right"], line
    with Image.open(tmp_path / "results.png") as image:
        image.verify()
    assert "### Targets" in (tmp_path / "README.md").read_text()
    every_target_names_lines_that_there_are(report)


def every_target_names_lines_that_there_are(report):
    """A slip in a name would be a target that is never measured."""
    groups = {line.group for line in report.lines}
    libraries = {line.library for line in report.lines}
    for target in TARGETS:
        for find in filter(None, (target.ours, target.other)):
            if find.group in groups and find.library in libraries:
                names = find.wanted
                del names["shape"]
                assert report.median(**names), target.says


def test_a_part_is_printed_and_not_written(here, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "HERE", tmp_path)
    run.bench(only="front-door", shape=["4x3x8x8"], seconds=0.0)
    assert f" of {len(FRONT_DOOR)} hit" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_library_that_is_not_there_is_told_of(monkeypatch):
    monkeypatch.setitem(peers.MODULES, "absent", "no_such_module")
    assert peers.load("absent").startswith("ModuleNotFoundError: ")
    assert peers.version("absent") is None


def test_a_process_that_dies_is_told_of(monkeypatch, tmp_path):
    broken = tmp_path / "child.py"
    broken.write_text("raise MemoryError('no room')")
    monkeypatch.setattr(processes, "_CHILD", broken)
    found = alone(peers.MAIN.group, shapes=[TINY])
    assert found["absent"]["timm"] == "its process ended with code 1: MemoryError: no room"


@pytest.mark.parametrize("name", ["JAX", "TensorFlow"])
def test_a_framework_beside_the_formula_written_by_hand(name):
    pytest.importorskip(name.lower())
    found = alone(name, headline=[TINY])
    assert found["versions"][name] == importlib.import_module(name.lower()).__version__
    (table,) = found["runs"]
    assert (table["group"], table["shape"]) == (name, list(TINY))
    lines = {(line["library"], line["work"], line["how"]): line for line in table["cases"]}
    for work in (c.MIXUP_ROWS, c.CUTMIX_ROWS):
        assert ("batchmix", work, "whole step, eager") in lines
        for library in ("batchmix", name):
            for how in ("whole step, jitted", "pixels only"):
                line = lines[library, work, how]
                assert line["check"]["right"], line
                assert (line["check"]["labels"] is None) == (how == "pixels only")
                assert line["ms"]["samples"] >= 5


def test_a_framework_that_is_not_there_has_no_table(monkeypatch, tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    found = alone("JAX", headline=[TINY])
    assert found["runs"] == []
    assert found["absent"]["JAX"] == "ImportError: broken"


def test_datarax_needs_its_own_python():
    found = processes._run(setting(headline=[TINY]), peers.DATARAX, None, lambda: None)
    assert "--datarax" in found["absent"]["Datarax"]
    found = alone(peers.DATARAX.group, headline=[TINY])  # a Python without it
    assert "datarax" in found["absent"]["Datarax"] or found["runs"]


@pytest.mark.parametrize("shape", ["256", "3x3x8x8", "4x1x8x8", "axbxcxd"])
def test_a_shape_that_is_none(shape):
    with pytest.raises(typer.BadParameter, match="a shape is ROWSx3xHEIGHTxWIDTH"):
        run.bench(shape=[shape])


def test_the_oracle_agrees_and_disagrees():
    batch = c.Batch.random(TINY)
    case = next(case for case in ours.cases(batch) if case.how == "out=")
    mixed = case.seen()
    assert check(mixed, batch.x, batch.y).right
    for wrong in (
        c.Mixed(mixed.pixels + 1e-3, mixed.plan, mixed.labels),
        c.Mixed(mixed.pixels, mixed.plan, mixed.labels * 0.99),
    ):
        assert not check(wrong, batch.x, batch.y).right


def test_the_fixed_box_is_half_of_the_image():
    size = {"H": 224, "W": 224}
    assert c.own_share(c.centred(size), size) == pytest.approx(0.5, abs=0.01)
