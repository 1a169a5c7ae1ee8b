"""`batchmix train` in two real processes: what they share, and what happens where one is lost.

Every command has a time after which it counts as hung. It is over when all that hold its standard
error have ended, so that a process that is left over counts as hung too.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FILES = [
    "checkpoint.safetensors",
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "result.json",
]
OPTIONS = (
    *("train", "digits", "--limit-train", "99", "--epochs", "3", "--batch-size", "14"),
    *("--accelerator", "cpu", "--policy", "mixup:1", "--mix-on", "workers", "--workers", "1"),
    *("--save-minutes", "0"),
)
# batchmix with little patience, and a fault in one process after some step
START = """
import hashlib, json, os, signal, sys, time
from pathlib import Path

from batchmix.cli import main
from batchmix.cli.lab.engine import peers
from batchmix.cli.lab.run.resumable import _Course

peers.SILENCE = 6.0
rank, step, fault = json.loads(os.environ["FAULT"])
after, train = _Course._after_step, _Course.train


def after_step(course, done, *args):
    if course._fabric.global_rank == rank and course.steps_done + 1 == step:
        if fault == "slow":
            time.sleep(1.5 * peers.SILENCE)
        elif fault == "memory":
            import torch

            torch.empty(2**60)
        else:
            os.kill(os.getpid(), fault)
    after(course, done, *args)


def and_tell(course):
    train(course)
    weights = b"".join(w.detach().numpy().tobytes() for w in course._run.module.parameters())
    batch = course._feed._source.read(course._feed._places(0, 0)[0])
    said = {
        "weights": hashlib.sha256(weights).hexdigest(),
        "rows": [place.rows.tolist() for place in course._feed._places(0, 0)],
        "plan": str(course._run.mixer.draw((batch.x, batch.y), step=0, epoch=0).lam),
    }
    Path(f"{os.environ['SAID']}{course._fabric.global_rank}").write_text(json.dumps(said))


_Course._after_step, _Course.train = after_step, and_tell
main()
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "start.py"
    path.write_text(START)
    return path


def trained(start, out, fault=(0, 0, ""), launcher=(), devices=("--devices", "2")):
    """Exit code and standard error."""
    environ = {k: v for k, v in os.environ.items() if "RANK" not in k and "WORLD" not in k}
    environ |= {"FAULT": json.dumps(fault), "SAID": f"{out}-", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *launcher, str(start), *OPTIONS, *devices, "--out", str(out)],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        error = process.communicate(timeout=240)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"hung: {fault}\n{process.communicate()[1]}")
    return process.returncode, error


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """A run that nothing happens to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    code, error = trained(start, out)
    assert code == 0, error
    assert error.count("epoch 3/3") == 1
    return out


def test_what_the_processes_share(whole):
    one, two = (json.loads(Path(f"{whole}-{rank}").read_text()) for rank in (0, 1))
    assert one["weights"] == two["weights"]
    assert one["plan"] != two["plan"]
    rows = np.concatenate([np.concatenate(each["rows"]) for each in (one, two)])
    assert len(rows) == 100  # as many for each: one row comes twice
    assert sorted(set(rows.tolist())) == list(range(99))


def test_a_process_that_is_lost_ends_the_others_and_the_command_goes_on(start, whole, tmp_path):
    out = tmp_path / "run"
    for fault, code, says in (
        ((1, 2, signal.SIGTERM), 143, "stopped in epoch 1 of 3, after step 2 of 4"),
        ((1, 4, signal.SIGSTOP), 2, "process 1 gave no sign of life for 6 s; this one ends too"),
        ((0, 5, signal.SIGSTOP), -9, "process 0 gave no sign of life for 9 s; this one ends too"),
        ((1, 6, signal.SIGKILL), 2, "process 1 was ended by SIGKILL (out of memory?)"),
        ((0, 7, "memory"), 2, "there is not enough memory. Lower --batch-size"),
    ):
        found, error = trained(start, out, fault)
        assert (found, says in error, "Traceback" in error) == (code, True, False), (fault, error)
        assert "same command goes on" in error
        assert not (out / "result.json").exists()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", port]
    found, error = trained(start, out, (1, 8, "slow"), torchrun, devices=())
    assert found == 0, error
    assert "no sign of life" not in error
    assert sorted(p.name for p in out.iterdir()) == FILES
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
