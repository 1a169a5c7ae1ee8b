"""`batchmix train`: modes, and a run that is interrupted and continued, bit for bit."""

import json
import subprocess
import sys

import pytest
import torch

from batchmix.cli.lab import checkpoint as checkpoints

RUN = ("train", "digits", "--limit-train", 100, "--epochs", 4, "--accelerator", "cpu")
MIXED = ("--mixup", 0.8, "--cutmix", 1.0, "--mixup-off-epoch", 3)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads of small models mostly wait for each other, above all beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_modes(run, tmp_path, mode):
    out = tmp_path / "out"
    code, text, _ = run(*RUN, *MIXED, "--mixup-mode", mode, "--model", "mlp", "--out", out)
    assert code == 0
    assert "epoch 4/4" in text
    assert "test accuracy" in text
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert {"loss", "accuracy", "nll", "brier", "ece"} < set(lines[0])
    assert lines[3]["loss"] < lines[0]["loss"]
    files = ["checkpoint.safetensors", "metrics.jsonl", "result.json"]
    assert sorted(p.name for p in out.iterdir()) == files


@pytest.mark.parametrize("model", ["mlp", "convnet", "resnet20"])
def test_a_resumed_run_is_the_same_bit_for_bit(run, tmp_path, monkeypatch, model):
    options = (*RUN, *MIXED, "--mixup-mode", "elem", "--model", model, "--out")
    assert run(*options, tmp_path / "whole")[0] == 0

    save, saved = checkpoints.save_run, []

    def power_cut(*args):
        save(*args)
        saved.append(args)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_run", power_cut)
    code, _, error = run(*options, tmp_path / "parts")
    assert (code, error) == (130, "")
    assert len((tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()) == 2
    monkeypatch.undo()

    code, text, _ = run(*options, tmp_path / "parts", "--resume")
    assert code == 0
    assert "epoch 3/4" in text
    assert "epoch 2/4" not in text
    for name in ("checkpoint.safetensors", "metrics.jsonl", "result.json"):
        whole, parts = ((tmp_path / p / name).read_bytes() for p in ("whole", "parts"))
        assert whole == parts, name


def test_a_run_is_neither_overwritten_nor_continued_as_another(run, tmp_path):
    options = (*RUN, "--model", "mlp", "--out", tmp_path)
    code, _, error = run(*options, "--resume")
    assert (code, "is not there or not a checkpoint" in error) == (2, True)
    assert run(*options)[0] == 0
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    code, _, error = run(*options)
    assert (code, "already holds a run" in error) == (2, True)
    code, _, error = run(*options, "--resume", "--lr", 0.3)
    assert (code, "--lr is 0.3, the checkpoint was made with 0.1" in error) == (2, True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    code, _, error = run(*options, "--resume")
    assert (code, "not a checkpoint" in error) == (2, True)


def test_a_diverged_run_says_so(run, tmp_path):
    code, _, error = run(*RUN, "--model", "mlp", "--lr", 1e30, "--out", tmp_path)
    assert code == 2
    assert "the loss is nan in epoch" in error
    assert "--lr 1e+29" in error
    assert list(tmp_path.iterdir()) == []


def test_two_processes_make_one_run(tmp_path):
    command = [sys.executable, "-m", "batchmix", *RUN, "--model", "mlp", "--devices", "2"]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 4/4") == 1
    files = ["checkpoint.safetensors", "metrics.jsonl", "result.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == files
