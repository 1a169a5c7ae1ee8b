"""Trials of a comparison as tasks of a real Ray on this machine."""

import json

import pytest

from batchmix.cli import main

OPTIONS = ["compare", "digits", "--epochs", 1, "--limit-train", 100, "--policies", "none"]
OPTIONS += ["--label-noise", 0, "--on", "ray"]


def call(*more):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in (*OPTIONS, *more)])
    return stop.value.code


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_trials_on_ray_are_kept_and_done_once(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert call("--seeds", 2, "--out", tmp_path) == 0
    text, told = capsys.readouterr()
    assert "training: 0 of 2 trials" in told
    assert "none, seed 1: accuracy" in told
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["trial"]["seed"] for line in lines[1:]] in ([0, 1], [1, 0])
    assert call("--seeds", 2, "--out", tmp_path) == 0
    again, told = capsys.readouterr()
    assert "training: 2 of 2 trials" in told
    assert "tried once more" not in told
    assert again == text
    assert (tmp_path / "trials.jsonl").read_text().splitlines() == lines
