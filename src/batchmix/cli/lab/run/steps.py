"""What a log is told of a run in training, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

import batchmix as bm
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.outcome import headline
from batchmix.cli.lab.run.logs import Logs
from batchmix.policies._kinds import summary_of

_LOGGED = 10  # steps from one line of a log to the next
_HELD_OUT = ("held_out", "held_out_clean")


class Step(NamedTuple):
    """A step of the optimizer that was done."""

    epoch: int
    number: int  # in the epoch, from 0
    steps: int  # of an epoch
    lr: float
    loss: Tensor
    batch: tuple[Tensor, Tensor]  # as the model saw it


def log_step(logs: Logs, run: loop.Run, step: Step) -> None:
    """Loss, rate and shares of the mixes every so often, and the first mixed batch."""
    number = step.epoch * step.steps + step.number
    if number == 0:
        from batchmix.cli.show.batch import first_batch, pixels

        x, target = (part.float().cpu() for part in step.batch)
        if run.task.kind == "numbers":
            target = target * run.scale.spread + run.scale.center
        scale, task, form = run.scale, run.task, run.form
        picture = first_batch(x.numpy(), target.numpy(), task, form, scale.mean, scale.std)
        logs.image(0, "mix/first_batch", pixels(picture))
    if number % _LOGGED == 0:
        logs.values(
            number, {"train/loss": float(step.loss), "train/lr": step.lr} | _drawn(run, step)
        )


def log_epoch(
    logs: Logs, run: loop.Run, epoch: int, steps: int, found: Mapping[str, float]
) -> None:
    """Mean loss of an epoch, and the metric on held-out rows after it."""
    metric = headline(run.task.kind)
    values = {"train/epoch": epoch, "train/epoch_loss": found["loss"]}
    values |= {f"{part}/{metric}": found[part] for part in _HELD_OUT if part in found}
    logs.values((epoch + 1) * steps - 1, values)


def _drawn(run: loop.Run, step: Step) -> dict[str, float]:
    """Shares of the mixes of a step; its plan is drawn again."""
    mixer, x = run.mixer, step.batch[0]
    if mixer.policy is None or mixer.reads:  # what it read was the batch before it was mixed
        return {}
    key = bm.Key(run.training.seed, step.epoch, step.number, run.fabric.global_rank)
    axes = mixer.axes or ""
    size = dict(zip(axes, x.shape[-len(axes) :]))
    plan = bm.draw(mixer.policy, key, len(x), size, pairing=mixer.pairing)
    return summary_of(plan, mixer.policy)
