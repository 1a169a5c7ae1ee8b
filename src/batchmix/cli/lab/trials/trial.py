"""One trial: train an arm once and measure it. A function of its arguments, in any process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchmix._errors import mix_error
from batchmix.cli._words import check_task, parse
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.engine.evaluation import Best, Parts, Watch, keep_model, last_and_best
from batchmix.cli.lab.engine.fabric import open_fabric
from batchmix.cli.lab.engine.optimizer import rate
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data, Task
from batchmix.cli.lab.run.logs import Logs
from batchmix.cli.lab.run.steps import Step, log_epoch, log_step
from batchmix.cli.lab.split import Splits, corrupt, split
from batchmix.cli.lab.training import Training

OnEpoch = Callable[[int, dict[str, float]], None]


def run_trial(
    trial: Trial,
    data: Data,
    training: Training,
    *,
    limit_train: int | None = None,
    on_epoch: OnEpoch | None = None,
    keep: Path | None = None,
    logs: Logs | None = None,
) -> Outcome:
    """Train and measure once.

    Sums depend on the number of threads of this process, which the caller sets.

    Args:
      on_epoch: called after each epoch with its number and what `Outcome.history` keeps of it; what
        it raises ends the trial.
      keep: folder for the model of the best epoch.
      logs: told of steps and epochs.
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
    history, best = _train(run, parts, on_epoch, logs)
    last, chosen = last_and_best(run, parts, best, training.epochs - 1)
    if keep:
        keep_model(keep, run, shape, chosen.get("temperature"), data.rate)
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
    """The parts of a split, a share of whose labels to learn and to choose from is wrong."""
    train, held_out = splits.train, splits.held_out
    if not trial.noise:
        return Parts(train, np.zeros(len(train), np.bool_), held_out, held_out.y, splits.test)
    if task.kind != "classes":
        raise mix_error(
            "--label-noise",
            f"got {trial.noise} for targets of the kind {task.kind!r}.",
            "A wrong label is another class, any of them equally likely.",
            "Leave it out.",
        )
    y, wrong = corrupt(train.y, trial.noise, task.outputs, trial.seed, 1)
    noisy, _ = corrupt(held_out.y, trial.noise, task.outputs, trial.seed, 2)
    return Parts(train.relabel(y), wrong, held_out, noisy, splits.test)


def _train(
    run: loop.Run, parts: Parts, on_epoch: OnEpoch | None, logs: Logs | None
) -> tuple[dict[str, list[float]], Best]:
    """Train to the end; what became of each epoch, and the best one."""
    mixer = run.mixer if run.training.mix_on == "workers" else None
    feed = Feed(parts.train, run.form, run.training, train=True, mixer=mixer)
    watch = Watch(run, parts)
    history = dict[str, list[float]]()
    told = partial(_tell_step, logs, run, feed.steps) if logs else None
    for epoch in range(run.training.epochs):
        on_step = partial(told, epoch) if told else None
        found = {"loss": loop.train_epoch(run, feed, epoch, on_step=on_step)}
        found["lr"] = rate(run.training, (epoch + 1) * feed.steps - 1, feed.steps)
        found |= watch.look(epoch)
        for name, value in found.items():
            history.setdefault(name, []).append(value)
        if logs:
            log_epoch(logs, run, epoch, feed.steps, found)
        if on_epoch:
            on_epoch(epoch, found)
    assert watch.best is not None  # there is an epoch
    return history, watch.best


def _tell_step(
    logs: Logs,
    run: loop.Run,
    steps: int,
    epoch: int,
    done: int,
    lr: float,
    loss: Tensor,
    batch: tuple[Tensor, Tensor],
) -> None:
    log_step(logs, run, Step(epoch, done - 1, steps, lr, loss, batch))
