"""Stand-ins for `run_trial`, for tests of what runs trials. No torch; importable in any process."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

from batchmix._errors import mix_error
from batchmix.cli.lab.outcome import Outcome
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.lab.training import Training

TRAINING = Training("mlp", epochs=2, batch_size=4, lr=0.1)


def first_byte(i):
    return np.full((8, 8, 1), i, np.uint8)


def data(rows=8, fingerprint="abc"):
    names = [f"{i}.png" for i in range(rows)]
    part = Rows(names, np.arange(rows) % 2, first_byte)
    task = Task("classes", ("cat", "dog"))
    return Data("things", "", "image", task, part, shape=(8, 8, 1), fingerprint=fingerprint)


def outcome(trial, epochs=2, classes=2, **notes):
    """Figures that are a function of the trial."""
    level = 0.5 + 0.01 * trial.seed + 0.1 * (trial.arm != "none") - trial.noise / 4
    scores = {"accuracy": level, "nll": 1.0 - level, "brier": 0.1, "ece": 0.1, "ece_scaled": 0.05}
    scores |= {
        "balanced": level,
        "nll_scaled": 0.5,
        "temperature": 1.5,
        "recall": [level] * classes,
    }
    scores |= {"reliability": {"confidence": [0.5] * 15, "accuracy": [0.5] * 15, "count": [8] * 15}}
    history = {name: [level] * epochs for name in ("loss", "lr", "held_out", "held_out_clean")}
    rows = {"train": 4, "held_out": 2, "test": 2}
    best = scores | {"epoch": 0}
    return Outcome(trial, scores | {"epoch": epochs - 1}, best, history, rows, 0.5, notes)


def run_trial(trial, data, training, *, limit_train=None, on_epoch=None, keep=None):
    """As the real one, without training."""
    for epoch in range(training.epochs):
        if on_epoch:
            on_epoch(epoch, {"loss": 1.0, "lr": 0.1, "held_out": 0.5, "held_out_clean": 0.5})
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "model.safetensors").write_text(f"{trial.arm} {trial.seed}")
    return outcome(trial, training.epochs, len(data.task.names), pid=os.getpid())


def slow(trial, data, training, **options):
    """With a process of its own beside it, as a loader's worker."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("a line that nobody should see on the terminal", flush=True)
    if trial.seed >= 1:
        options["on_epoch"](0, {})
        time.sleep(600)
    return run_trial(trial, data, training, **options)


def killed(trial, data, training, **options):
    """Seed 1 is always killed; seed 2 the first time (which leaves a file named by its arm)."""
    if trial.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.seed == 2 and not os.path.exists(trial.arm):  # noqa: PTH110
        open(trial.arm, "w").close()  # noqa: PTH123
        os.kill(os.getpid(), signal.SIGKILL)
    return run_trial(trial, data, training, **options)


def wrong(trial, data, training, **options):
    """Seed 1 ends in a MixError, seed 2 in a traceback."""
    if trial.seed == 1:
        raise mix_error("training", "the loss is nan.", "It is a number.", "Lower --lr.")
    if trial.seed == 2:
        raise RuntimeError("out of\nmemory")
    return run_trial(trial, data, training, **options)


def diverges(trial, data, training, **options):
    """As with a rate that is too high."""
    raise mix_error("training", "the loss is nan.", "It is a number.", "Lower --lr.")
