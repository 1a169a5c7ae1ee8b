"""The study of mixing on tables: its splits, its runs in short, and its tables, by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_rel

import tables_evidence as study
from tables_models import scores

ROOT = Path(__file__).parents[2]
KEPT = sorted((ROOT / "benchmarks" / "evidence").glob("tables-*.json"))


@pytest.fixture(scope="module")
def made():
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "tables_page.py")))


@pytest.mark.parametrize("model", ["mlp", "linear", "trees"])
def test_in_short_twice_alike(model, tmp_path, capsys):
    found = []
    for name in "ab":
        study.main([model, "--quick", "--out", str(tmp_path / name)])
        found.append(json.loads((tmp_path / name).read_text()))
    assert str(tmp_path) in capsys.readouterr().out
    assert found[0]["runs"] == found[1]["runs"]
    runs = found[0]["runs"]
    wanted = {(name, arm, seed) for name in ("iris", "diabetes") for seed in (0, 1)
              for arm in study.arms_of(name, model)}  # fmt: skip
    assert {(run["set"], run["arm"], run["seed"]) for run in runs} == wanted
    assert len({run["loss"] for run in runs}) > len(runs) // 2
    assert all(("accuracy" in run) == (run["set"] == "iris") for run in runs)


def test_quick_is_not_kept(capsys):
    with pytest.raises(SystemExit, match="2"):
        study.main(["mlp", "--quick"])
    assert "no evidence" in capsys.readouterr().err


@pytest.mark.parametrize("name", study.SETS)
def test_a_split(name):
    x, y = study.table(name)
    first, again, other = (study.split(name, seed) for seed in (0, 0, 1))
    parts = first[:3]
    assert [len(part.x) / len(x) for part in parts] == pytest.approx([0.6, 0.2, 0.2], abs=0.01)
    assert len(np.unique(np.concatenate([part.x for part in parts]), axis=0)) == len(
        np.unique(np.float32(x), axis=0)
    )
    assert np.allclose(parts[0].x.mean(0), 0, atol=1e-4)
    assert np.isin(parts[0].x.std(0).round(3), (0, 1)).all()
    assert np.array_equal(first.test.x, again.test.x)
    assert not np.array_equal(first.test.x, other.test.x)
    if first.classes:
        shares = [np.bincount(part.y, minlength=first.classes) / len(part.y) for part in parts]
        assert np.ptp(shares, axis=0).max() < 0.05
    else:
        assert first.scale == pytest.approx(y.std(), rel=0.1)


def test_scores():
    given = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    found = scores(given, np.array([0, 1, 1]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(-np.log([0.5, 0.75, 1e-12]).mean())
    assert scores(np.array([1.0, 2.0]), np.array([0.0, 2.0]), 10.0)["loss"] == pytest.approx(
        50**0.5
    )


def by_hand(differences):
    """A study of one set, whose arms differ from none by these numbers."""
    none = [0.5, 0.4, 0.3, 0.2]
    runs = [{"set": "wine", "arm": "none", "seed": k, "loss": x, "accuracy": 0.75}
            for k, x in enumerate(none)]  # fmt: skip
    for arm, each in differences.items():
        runs += [{"set": "wine", "arm": arm, "seed": k, "loss": none[k] + d, "accuracy": 0.5}
                 for k, d in enumerate(each)]  # fmt: skip
    runs.append({"set": "diabetes", "arm": "none", "seed": 0, "loss": 55.123})
    runs.sort(key=lambda run: -run["seed"])
    return {"runs": runs, "shares": {"train": 0.6, "val": 0.2, "test": 0.2}}


def test_differences_are_paired_corrected_and_their_errors_know_that_splits_share_rows(made):
    differences = {"far": [0.1, 0.11, 0.1, 0.09], "near": [0.01, -0.03, 0.02, 0.01]}
    found = made.found_of(by_hand(differences), "loss")
    for arm, each in differences.items():
        spread = np.std(each, ddof=1)
        assert found.errors["wine", arm] == pytest.approx(spread * (1 / 4 + 1 / 4) ** 0.5)
        plain = ttest_rel(np.array(each), np.zeros(4)).pvalue
        assert found.differences["wine", arm].p > plain
    assert found.differences["wine", "far"].real
    assert not found.differences["wine", "near"].real
    text = made.table(found, "loss")
    assert "| arm | wine | diabetes |" in text
    assert "| none | 0.350 | 55.12 |" in text
    assert "| `far` | +0.100 ± 0.006* |  |" in text
    assert "| `near` | +0.003 ± 0.016 |  |" in text


def test_the_verdict_tells_gains_and_losses(made):
    said = made.verdict(by_hand({"far": [0.1, 0.11, 0.1, 0.09], "low": [-0.1, -0.1, -0.11, -0.1]}))
    assert "2 differences: better beyond chance 1 (wine: `low`)" in said
    assert "worse beyond chance 1 (wine: `far`)" in said
    assert "better beyond chance none; worse beyond chance 2 (wine: `far`, `low`)" in said


def test_a_page_takes_its_parts(made, tmp_path):
    (tmp_path / "tables-mlp.json").write_text(json.dumps(by_hand({"far": [0.1, 0.2, 0.1, 0.1]})))
    text = (
        "a\n<!-- tables mlp loss -->\nold\n<!-- end -->\n<!-- tables no loss -->\nx\n<!-- end -->"
    )
    new = made.page(text, tmp_path)
    assert "old" not in new
    assert "| none | 0.350 | 55.12 |" in new
    assert new.endswith("<!-- tables no loss -->\nx\n<!-- end -->")
    assert made.page(new, tmp_path) == new


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_is_kept_is_whole(path):
    kept = json.loads(path.read_text())
    seeds = range(kept["seeds"])
    arms = {(name, arm) for name in kept["sets"] for arm in study.arms_of(name, kept["model"])}
    found = [(run["set"], run["arm"], run["seed"]) for run in kept["runs"]]
    assert sorted(found) == sorted((name, arm, seed) for name, arm in arms for seed in seeds)


def test_pages_show_what_is_kept(made):
    shown = [page for page in made.PAGES if made.PARTS.search(page.read_text(encoding="utf-8"))]
    assert shown
    for page in shown:
        text = page.read_text(encoding="utf-8")
        assert made.page(text) == text, f"{page.name}: run python docs/tables_page.py"
