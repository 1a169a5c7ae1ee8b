"""One trial: train an arm once and measure it. A function of its arguments, in any process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.cli._words import check_task, parse
from batchmix.cli.lab import loop, score
from batchmix.cli.lab.engine import open_fabric
from batchmix.cli.lab.feed import Feed
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.lab.split import Splits, corrupt, split
from batchmix.cli.lab.training import Training
from batchmix.metrics import fit_temperature

OnEpoch = Callable[[int, dict[str, float]], None]


class Parts(NamedTuple):
    """What a trial trains on and is measured on, in the labels that it is shown."""

    train: Rows  # with wrong labels
    wrong: NDArray[np.bool_]  # [N] which of them
    held_out: Rows  # as given; the temperature is fitted on them
    noisy: NDArray[Any]  # their labels, as noisy as the training rows'; they choose the epoch
    test: Rows


def run_trial(
    trial: Trial,
    data: Data,
    training: Training,
    *,
    limit_train: int | None = None,
    on_epoch: OnEpoch | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Train and measure once.

    The best epoch is the one with the best headline metric on the held-out rows, whose labels are
    as noisy as the training rows'; of equals the one with the lower NLL there, then the earlier.
    Sums depend on the number of threads of this process, which the caller sets.

    Args:
      on_epoch: called after each epoch with its number and what `Outcome.history` keeps of it; what
        it raises ends the trial.
      keep: folder for the model of the best epoch.
    """
    began = time.perf_counter()
    (entry,) = parse(trial.arm)
    check_task([entry], data.task.kind)
    training = replace(training, seed=trial.seed)
    parts = noisy_parts(split(data, trial.seed, limit_train), data.task, trial)
    fabric = open_fabric(accelerator=training.accelerator, devices=1, precision=training.precision)
    scale = loop.scale_of(parts.train, data.task, data.form, training)
    shape = loop.shape_of(parts.train, data.form, training)
    run = loop.set_up(fabric, training, entry, data.task, data.form, shape, scale)
    history, best = _train(run, parts, on_epoch)
    last = measure(run, parts) | {"epoch": training.epochs - 1}
    if best.epoch != training.epochs - 1:
        run.measured.load_state_dict(best.weights)
    chosen = (last if best.epoch == last["epoch"] else measure(run, parts)) | {"epoch": best.epoch}
    if keep:
        keep_model(keep, run, shape, chosen.get("temperature"))
    return Outcome(
        trial,
        last,
        chosen,
        history,
        {"train": len(parts.train), "held_out": len(parts.held_out), "test": len(parts.test)},
        time.perf_counter() - began,
        {"device": str(fabric.device), "threads": torch.get_num_threads()},
    )


def noisy_parts(splits: Splits, task: Task, trial: Trial) -> Parts:
    """The parts of a split, a share of whose labels to learn from is wrong."""
    if trial.noise and task.kind != "classes":
        raise mix_error(
            "--label-noise",
            f"got {trial.noise} for targets of the kind {task.kind!r}.",
            "A wrong label is another class, any of them equally likely.",
            "Leave it out.",
        )
    train, held_out = splits.train, splits.held_out
    wrong, noisy = np.zeros(len(train), np.bool_), held_out.y
    if trial.noise:
        y, wrong = corrupt(train.y, trial.noise, task.outputs, trial.seed, 1)
        train = train.relabel(y)
        noisy, _ = corrupt(held_out.y, trial.noise, task.outputs, trial.seed, 2)
    return Parts(train, wrong, held_out, noisy, splits.test)


class Best(NamedTuple):
    """The epoch that was best on held-out rows, and its weights on the host."""

    epoch: int
    rank: tuple[float, float]
    weights: dict[str, torch.Tensor]


def _train(
    run: loop.Run, parts: Parts, on_epoch: OnEpoch | None
) -> tuple[dict[str, list[float]], Best]:
    """Train to the end; what became of each epoch, and the best one."""
    training = run.training
    mixer = run.mixer if training.mix_on == "workers" else None
    feed = Feed(parts.train, run.form, training, train=True, mixer=mixer)
    held = Feed(parts.held_out, run.form, training, train=False)
    history = dict[str, list[float]]()
    best: Best | None = None
    for epoch in range(training.epochs):
        loss = loop.train_epoch(run, feed, epoch)
        logits = loop.predict(run, held)
        noisy = score.held_out(run.task, logits, parts.noisy)
        clean = score.held_out(run.task, logits, parts.held_out.y) if parts.wrong.any() else noisy
        found = {
            "loss": loss,
            "lr": loop.rate(training, (epoch + 1) * feed.steps - 1, feed.steps),
            "held_out": noisy[0],
            "held_out_clean": clean[0],
        }
        for name, value in found.items():
            history.setdefault(name, []).append(value)
        ranked = score.rank(run.task.kind, noisy)
        if best is None or ranked > best.rank:
            state = run.measured.state_dict()
            best = Best(epoch, ranked, {k: v.cpu().clone() for k, v in state.items()})
        if on_epoch:
            on_epoch(epoch, found)
    assert best is not None  # there is an epoch
    return history, best


def measure(run: loop.Run, parts: Parts) -> dict[str, Any]:
    """Metrics of the weights as they are, on the test rows."""
    logits = loop.predict(run, Feed(parts.test, run.form, run.training, train=False))
    found = score.scores(run.task, logits, parts.test.y)
    if run.task.kind == "classes":
        held = loop.predict(run, Feed(parts.held_out, run.form, run.training, train=False))
        temperature = fit_temperature(held, parts.held_out.y)
        found |= score.scaled(logits, parts.test.y, temperature)
    if parts.wrong.any():
        own = loop.predict(run, Feed(parts.train, run.form, run.training, train=False))
        found["memorised"] = score.memorised(own, parts.train.y, parts.wrong)
    return found


def keep_model(
    folder: Path, run: loop.Run, shape: tuple[int, ...], temperature: float | None
) -> None:
    """Write the measured model where `predict` and timm read it."""
    from batchmix.cli.lab.export import save_model

    save_model(
        folder,
        loop.in_units(run),
        training=run.training,
        task=run.task,
        form=run.form,
        shape=shape,
        mean=run.scale.mean,
        std=run.scale.std,
        temperature=temperature,
    )
