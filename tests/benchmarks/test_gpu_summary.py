"""From runs to the page: figures made by hand, and what the page says of them."""

import json
import math
import runpy
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy.stats import t

import batchmix as bm
import gpu_evidence
from cifar.runs import Run, Store, runs_of, seconds_of
from cifar.summary import report

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables():
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "evidence_tables.py")))


def line(run, accuracy, *, overrides=(), problem=None, data="d", **measures):
    """As the script keeps a run."""
    found = {"accuracy": accuracy, "nll": 0.2, "ece": 0.03}
    scaled = found | {"ece_scaled": 0.01, "temperature": 1.5, "memorised": 0.07}
    return {
        "run": asdict(run),
        "overrides": list(overrides),
        "data": data,
        "test": [accuracy - 0.1, accuracy + 0.01, accuracy],
        "held": [0.5, 0.6, 0.55] if run.noise else [],
        "best": {"epoch": 2, **scaled} | {"accuracy": accuracy + 0.01} if run.noise else {},
        "last": {} if problem else scaled if run.noise else found,
        "steps_ms": [9.0, 2.0, 2.0],
        "mix_ms": 0.25,
        "trained": 5.0,
        "seconds": 6.0,
        "images_per_s": 1000.0,
        "problem": problem,
        "device": "a GPU",
        "versions": {"torch": "2"},
        "revision": None,
        "sources": "abc",
        "settings": {"epochs": 3, "graph": True},
    } | measures


def arm_of(found, name, library="batchmix", recipe=None):
    (arm,) = [
        arm
        for arm in found["arms"]
        if (arm["arm"], arm["library"]) == (name, library)
        and arm["recipe"] == (recipe or arm["recipe"])
    ]
    return arm


def test_means_and_paired_differences():
    none, mixed = [0.94, 0.95, 0.96, 0.95], [0.95, 0.965, 0.97, 0.96]
    runs = [line(Run("resnet18", "resnet18", "none", s), a) for s, a in enumerate(none)]
    runs += [line(Run("resnet18", "resnet18", "mixup:1", s), a) for s, a in enumerate(mixed)]
    runs.append(line(Run("resnet18", "resnet18", "none", 9), 0.1))  # its pair is missing
    runs.append(line(Run("resnet18", "resnet18", "mixup:1", 8), 0.1, overrides=["limit=9"]))
    found = report(runs)
    last = arm_of(found, "none")["measures"]["last"]
    assert last["values"] == [94, 95, 96, 95, 10]
    assert last["mean"] == 78
    assert last["se"] == pytest.approx(last["sd"] / math.sqrt(5), rel=1e-5)
    arm = arm_of(found, "mixup:1")
    assert arm["measures"]["highest"]["values"] == [96, 97.5, 98, 97]
    assert arm["measures"]["step ms"]["mean"] == 2
    against = arm["against"]["last"]
    assert (against["seeds"], against["agree"], against["mean"]) == (4, 4, 1.125)
    half = t.ppf(0.975, 3) * 0.125  # differences 1, 1.5, 1, 1
    assert against["interval"] == pytest.approx([1.125 - half, 1.125 + half], rel=1e-5)
    assert against["real"]
    assert "against" not in arm_of(found, "none")
    assert found["hours"] == pytest.approx(9 * 6 / 3600, abs=0.01)


def test_runs_that_failed_are_counted_and_left_out():
    arms = ["none", "mixup:1"]
    runs = [line(Run("fast", "fast-x1", arm, s), 0.9 + s / 100) for arm in arms for s in range(3)]
    runs[4] = line(Run("fast", "fast-x1", "mixup:1", 1), 0.5, problem="the loss is nan in epoch 3")
    arm = arm_of(report(runs), "mixup:1")
    assert arm["seeds"] == [0, 2]
    assert arm["failed"] == ["seed 1: the loss is nan in epoch 3"]
    assert arm["measures"]["last"]["values"] == [90, 92]
    assert arm["against"]["last"]["seeds"] == 2


def test_libraries_are_compared_with_each_other():
    runs = [line(run, 0.9 + 0.01 * (run.library == "timm")) for run in runs_of("equal", 3)]
    found = report(runs)
    arm = arm_of(found, "cutmix:1", "batchmix.adapters.timm")
    assert arm["against"]["last"]["mean"] == pytest.approx(-1)
    assert (
        arm_of(found, "cutmix:1", "batchmix.adapters.torchvision")["against"]["last"]["mean"] == 0
    )
    assert "against" not in arm_of(found, "cutmix:1", "timm")


def test_nothing_to_report_and_two_sets_of_data_are_refused():
    run = Run("fast", "fast-x1", "none", 0)
    with pytest.raises(bm.MixError, match="no run has finished"):
        report([line(run, 0.9, overrides=["epochs=1"])])
    with pytest.raises(bm.MixError, match="different data"):
        report([line(run, 0.9), line(run, 0.9, data="other")])
    with pytest.raises(bm.MixError, match="a run twice"):
        report([line(run, 0.9), line(run, 0.8)])


def test_time_to_go_is_told_by_what_was_timed():
    run = Run("fast", "fast-x4", "none", 0)
    assert seconds_of(run, []) == (40 * 0.6, True)
    other = line(Run("noise", "fast-x4", "none", 1, 0.4), 0.9)
    assert seconds_of(run, [other]) == (40 * 2.0, False)
    assert seconds_of(Run("resnet18", "resnet18", "none", 0), [other])[1]


def test_the_report_of_a_folder_is_written(tmp_path, capsys):
    store, kept = Store(tmp_path), tmp_path / "kept.json"
    store.add(line(Run("fast", "fast-x1", "none", 0), 0.9))
    assert gpu_evidence.main(["report", "--out", str(tmp_path), "--kept", str(kept)]) == 0
    assert capsys.readouterr().out == f"{kept}\n"
    assert json.loads(kept.read_text()) == report(store.lines)
    assert gpu_evidence.main(["status", "--out", str(tmp_path)]) == 0
    assert "fast: 1 of 160 runs done, about 133 minutes to go\n" in capsys.readouterr().out


def test_a_line_takes_its_place_at_once(tmp_path):
    store, run = Store(tmp_path), Run("fast", "fast-x1", "none", 0)
    store.add(line(run, 0.9))
    store.add(line(run, 0.8, overrides=["epochs=1"]))
    again = Store(tmp_path)
    assert again.lines == store.lines
    assert again.done(run, [], "d")
    assert again.done(run, ["epochs=1"], "d")
    assert not again.done(run, ["epochs=2"], "d")
    assert not again.done(run, [], "other data")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.jsonl"]


def test_the_page_is_what_the_script_writes(tables):
    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.page(text) == text, "run python docs/evidence_tables.py"
    parts = [found[2] for found in tables.PARTS.finditer(text)]
    assert sorted(parts) == ["equal", "fast", "machine", "noise", "resnet18"]


def test_a_page_without_figures_says_so(tables, tmp_path):
    text = tables.page("<!-- gpu resnet18 -->\nold\n<!-- end -->\n", tmp_path / "none.json")
    assert "**Not run yet.** 20 runs, about 5.6 hours" in text
    assert "gpu_evidence.py resnet18 --data" in text
    assert "old" not in text


def test_a_page_with_figures(tables, tmp_path):
    runs = [line(run, 0.9 + 0.01 * (run.arm == "mixup:1") + run.seed / 1000)
            for part in ("resnet18", "noise", "equal") for run in runs_of(part, 3)
            if run.arm != "switch:1,1" and run.library != "torchvision"]  # fmt: skip
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(report(runs)))
    marks = "".join(f"<!-- gpu {part} -->\n<!-- end -->\n" for part in
                    ("machine", "resnet18", "fast", "noise", "equal"))  # fmt: skip
    text = tables.page(marks, kept)
    assert "- a GPU: torch 2\n- sources abc, revision None\n" in text
    assert (
        "| resnet18 | none | 3 | 90.10 ± 0.10 |  | 90.10 ± 0.10 | 91.10 ± 0.10 | 0.200 | 3.0 |"
        in text
    )
    assert "| resnet18 | mixup:1 | 3 | 91.10 ± 0.10 | +1.00 [+1.00, +1.00]* |" in text
    assert "**Not run yet.** 160 runs" in text
    assert "| fast-x4 | mixup:1 | 3 | 92.10 ± 0.10 | +1.00 [+1.00, +1.00]* | 2 |" in text
    assert "| 7.0 / 7.0 | 3.0 / 1.0 | 3.0 / 1.0 |" in text
    equal = "| timm | mixup:1 | 3 / 3 | 91.10 ± 0.10 / 91.10 ± 0.10 | +0.00 [+0.00, +0.00] |"
    assert f"{equal} yes, yes | 0.250 / 0.250 | 2.000 / 2.000 |" in text
    assert "Not run: switch:1,1 (resnet18)." in text
    assert "mixup:1 (fast-x1, torchvision)" in text
    assert tables.page(text, kept) == text
