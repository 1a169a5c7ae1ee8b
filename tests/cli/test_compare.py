"""`batchmix compare`, run for real on tiny settings."""

import json

import numpy as np

SMALL = ("--epochs", 2, "--limit-train", 100)


def report(out):
    return json.loads((out / "report.json").read_text())


def test_digits_clean_and_with_wrong_labels(run, tmp_path):
    out = tmp_path / "deep" / "out"
    code, text, _ = run("compare", *SMALL, "--seeds", 3, "--jobs", 1, "--out", out)
    assert code == 0
    for word in ("none", "smooth:0.1", "mixup:8", "cutmix:1", "switch:0.8,1.0", "memorised"):
        assert word in text
    assert "Labels as given, 2 epochs: " in text
    assert "40 % wrong labels, 2 epochs: " in text
    assert max(len(line) for line in text.splitlines() if str(out) not in line) <= 90
    assert sorted(p.name for p in out.iterdir()) == ["compare.png", "report.json"]
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    found = report(out)
    assert found["rows"] == {"train": 100, "calibration": 424, "test": 1273}
    assert found["config"]["seed"] == [0, 1, 2]
    assert set(found["versions"]) == {"python", "batchmix", "numpy", "torch"}
    assert [(r["label_noise"], r["policy"]) for r in found["results"]][5:7] == [
        (0.0, "switch:0.8,1.0"),
        (0.4, "none"),
    ]
    for result in found["results"]:
        runs = result["runs"]
        assert ("memorised" in runs) == (result["label_noise"] > 0)
        assert {len(values) for values in runs.values()} == {3}
        assert np.isclose(result["mean"]["nll"], np.mean(runs["nll"]))
        assert np.isclose(result["spread"]["ece"], np.std(runs["ece"], ddof=1))
        assert np.isfinite([value for values in runs.values() for value in values]).all()
    smooth, none = found["results"][1], found["results"][0]
    paired = np.subtract(smooth["runs"]["accuracy"], none["runs"]["accuracy"])
    assert np.isclose(smooth["against_none"]["accuracy"]["mean"], paired.mean())


def test_results_do_not_depend_on_jobs(run, tmp_path):
    options = (*SMALL, "--seeds", 2, "--policies", "none switch:1,1", "--label-noise", 0.3)
    for jobs in (1, 2):
        code, *_ = run("compare", *options, "--jobs", jobs, "--out", tmp_path / str(jobs))
        assert code == 0
    assert report(tmp_path / "1") == report(tmp_path / "2")


def test_results_do_not_depend_on_the_other_policies(run, tmp_path):
    for out, policies in (("a", "none cutmix:1"), ("b", "mixup:1 cutmix:1")):
        options = ("--seeds", 1, "--jobs", 1, "--policies", policies, "--label-noise", 0)
        assert run("compare", *SMALL, *options, "--out", tmp_path / out)[0] == 0
    a, b = (
        {r["policy"]: r["runs"] for r in report(tmp_path / out)["results"]} for out in ("a", "b")
    )
    assert a["none"] == b["none"]
    assert a["cutmix:1"] == b["cutmix:1"]


def test_a_folder_of_images(run, images, tmp_path):
    data, out = images("data"), tmp_path / "out"
    options = ("--epochs", 2, "--seeds", 1, "--jobs", 1, "--policies", "none mixup:1")
    code, text, _ = run("compare", data, *options, "--batch-size", 4, "--out", out)
    assert code == 0
    assert "convnet, 14 training rows" in text
    assert "one seed cannot tell" in " ".join(text.split())
    assert report(out)["config"]["label_noise"] == [0.0]
