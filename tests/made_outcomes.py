"""Outcomes of trials that never ran, for tests of what is said of them."""

import numpy as np

from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Task

ARMS = ("none", "smooth:0.1", "mixup:8", "cutmix:1", "switch:0.8,1.0")
DIGITS = Task("classes", tuple("0123456789"))
# best accuracy with labels as given and with 40 % wrong, and what is lost to the last epoch
BEST = {"none": (0.969, 0.897), "smooth:0.1": (0.985, 0.898), "mixup:8": (0.978, 0.898),
        "cutmix:1": (0.982, 0.912), "switch:0.8,1.0": (0.981, 0.905)}  # fmt: skip
LOST = {"none": 0.243, "smooth:0.1": 0.255, "mixup:8": 0.143, "cutmix:1": 0.097,
        "switch:0.8,1.0": 0.131}  # fmt: skip


def classes(
    arms=ARMS, noises=(0.0, 0.4), seeds=5, epochs=150, task=DIGITS, gains=None, sharp=0.003
):
    """Of a classifier; `gains` replaces what an arm has over none, as a list with one per seed."""
    return [
        _classes(Trial(arm, noise, seed), epochs, task, (gains or {}).get(arm), sharp)
        for noise in noises
        for seed in range(seeds)
        for arm in arms
    ]


def _classes(trial, epochs, task, gains, sharp):
    shared = np.random.default_rng([7, trial.seed]).normal(0, 0.006)
    rng = np.random.default_rng([sum(trial.arm.encode()), int(100 * trial.noise), trial.seed])
    noisy = trial.noise > 0
    known = BEST.get(trial.arm, (0.975, 0.9))[noisy]
    best = known + shared + rng.normal(0, sharp)
    if gains is not None:
        best = BEST["none"][noisy] + shared + gains[trial.seed]
    lost = LOST.get(trial.arm, 0.1) if noisy else rng.normal(0.001, 0.001)
    peak = int({"none": 6, "smooth:0.1": 7}.get(trial.arm, 22) * (1 if noisy else 5))
    peak = min(peak + int(rng.integers(0, 4)), epochs - 1)
    t = np.arange(epochs)
    rise = best - 0.5 * np.exp(-3 * (t + 1) / max(peak, 1))
    fall = lost * np.clip((t - peak) / max(epochs - peak, 1), 0, 1) ** 0.5
    clean = np.clip(rise - fall + rng.normal(0, 0.006, epochs), 0, 1)
    recall = np.clip(best + rng.normal(0, 0.01, len(task.names)), 0, 1)
    if trial.arm.startswith("cutmix"):
        recall[1] -= 0.08
        recall[2] = min(1, recall[2] + 0.03)

    def metrics(accuracy, epoch, memorised):
        soft = 0.09 if trial.arm != "none" else 0.02
        return {
            "epoch": int(epoch), "accuracy": float(accuracy), "balanced": float(accuracy - 0.01),
            "nll": float(2.5 * (1 - accuracy) + 0.05), "brier": float(1 - accuracy),
            "ece": float(soft + rng.normal(0, 0.005)), "ece_scaled": 0.012, "nll_scaled": 0.1,
            "temperature": 0.7, "recall": [float(value) for value in recall],
            "reliability": _reliability(accuracy, soft),
            "reliability_scaled": _reliability(accuracy, 0.01),
            **({"memorised": float(memorised)} if noisy else {}),
        }  # fmt: skip

    held = clean * (1 - trial.noise) + trial.noise / len(task.names)
    return Outcome(
        trial,
        last=metrics(best - lost, epochs - 1, 1.0 if trial.arm in ("none", "smooth:0.1") else 0.76),
        best=metrics(best, peak, 0.1),
        history={
            "loss": [float(v) for v in np.exp(-t / epochs)], "lr": [0.1] * epochs,
            "held_out": [float(v) for v in held], "held_out_clean": [float(v) for v in clean],
        },
        rows={"train": 600, "held_out": 299, "test": 898},
        seconds=2.5,
    )  # fmt: skip


def _reliability(accuracy, soft):
    """15 bins, the last third of them filled."""
    confidence = [(k + 0.5) / 15 for k in range(15)]
    count = [0] * 5 + [3 * k * k for k in range(1, 11)]
    shown = [min(1.0, c + soft) if n else 0.0 for c, n in zip(confidence, count)]
    return {"confidence": confidence, "accuracy": shown, "count": count}


def others(kind, arms=ARMS, seeds=4, epochs=12):
    """Of a task with several labels per row, or with numbers."""
    names = ("height", "weight") if kind == "numbers" else ("cat", "dog", "sky")
    made = []
    for seed in range(seeds):
        for k, arm in enumerate(arms):
            rng = np.random.default_rng([k, seed])
            value = (0.5 - 0.03 * k if kind == "numbers" else 0.7 + 0.03 * k) + rng.normal(0, 0.004)
            metrics = (
                {"rmse": value, "mae": 0.8 * value, "r2": 1 - value}
                if kind == "numbers"
                else {"map": value}
            )
            curve = np.linspace(1.5, 1, epochs) * value if kind == "numbers" else (
                np.linspace(0.5, 1, epochs) * value
            )  # fmt: skip
            history = {"loss": [1.0] * epochs, "lr": [0.1] * epochs}
            history |= {name: curve.tolist() for name in ("held_out", "held_out_clean")}
            made.append(
                Outcome(
                    Trial(arm, 0.0, seed),
                    last=metrics | {"epoch": epochs - 1},
                    best=metrics | {"epoch": epochs - 2},
                    history=history,
                    rows={"train": 100, "held_out": 20, "test": 30},
                )
            )
    return Task(kind, names), made
