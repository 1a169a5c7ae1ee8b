"""Setting up, training for an epoch, and predicting: used by every command that trains."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import batchmix as bm
from batchmix._errors import MixError, mix_error
from batchmix.cli._words import Entry, check_mix_on
from batchmix.cli.lab.engine.fabric import Fabric
from batchmix.cli.lab.engine.models import build, head
from batchmix.cli.lab.engine.optimizer import average_of, optimizer_of, rate, spare_body
from batchmix.cli.lab.loading.feed import Batch, Feed, moments, prepare
from batchmix.cli.lab.loading.workers import ended
from batchmix.cli.lab.rows import Form, Kind, Rows, Task
from batchmix.cli.lab.training import Training
from batchmix.fields import Audio, Image, Labels
from batchmix.losses import soft_binary_cross_entropy, soft_cross_entropy

_LOSSES: dict[Kind, Callable[[Tensor, Tensor], Tensor]] = {
    "classes": soft_cross_entropy,
    "labels": soft_binary_cross_entropy,
    "numbers": nn.functional.mse_loss,
}


class Scale(NamedTuple):
    """What a model sees and gives is standardised by these."""

    mean: list[float]  # of rows, per channel
    std: list[float]
    center: Tensor  # of targets, [K] on the host: 0 and 1 but for numbers
    spread: Tensor


@dataclass
class Run:
    """A model in training, and all that decides what the next step does."""

    fabric: Fabric
    training: Training
    entry: Entry
    task: Task
    form: Form
    scale: Scale
    module: nn.Module  # holds the weights
    model: Any  # the same, set up by Fabric
    optimizer: Any  # torch.optim.Optimizer, set up by Fabric
    mixer: bm.Mixer
    average: AveragedModel | None
    total: Tensor  # sum of the losses of the steps of this epoch

    @property
    def measured(self) -> nn.Module:
        """The model that is measured and kept: the average where there is one."""
        return self.module if self.average is None else cast(nn.Module, self.average.module)


def scale_of(rows: Rows, task: Task, form: Form, training: Training) -> Scale:
    """The scale of training rows."""
    mean, std = moments(rows, form, training)
    center, spread = torch.zeros(task.outputs), torch.ones(task.outputs)
    if task.kind == "numbers":
        y = torch.from_numpy(np.asarray(rows.y, np.float64))
        center, spread = y.mean(0).float(), y.std(0, correction=0).clamp_min(1e-12).float()
    return Scale(mean, std, center, spread)


def shape_of(rows: Rows, form: Form, training: Training) -> tuple[int, ...]:
    """What a model sees of a row, channels first."""
    *size, channels = rows[0].shape
    if form == "image" and training.image_size:
        size = [training.image_size] * 2
    return (channels, *size)


def mixer_of(entry: Entry, form: Form, task: Task, training: Training, rank: int) -> bm.Mixer:
    """The mixer of an arm, for rows as they are where it mixes. T: time, or a table's columns."""
    device = {"image": "NCHW", "mel": "NCFT", "wave": "NCT", "table": "NCT"}
    workers = {"image": "NHWC", "mel": "NFTC", "wave": "NTC", "table": "NTC"}
    layout = (device if training.mix_on == "device" else workers)[form]
    classes = task.outputs if task.kind == "classes" else None
    return bm.Mixer(
        entry.policy,
        {
            0: Image(layout) if form == "image" else Audio(layout),
            1: Labels(classes, smoothing=entry.smoothing),
        },
        pairing=entry.pairing,
        seed=training.seed,
        rank=rank,
        axes="HW" if form == "image" else "T",
        inplace=training.mix_on == "device" and not entry.clean,
    )


def set_up(
    fabric: Fabric,
    training: Training,
    entry: Entry,
    task: Task,
    form: Form,
    shape: tuple[int, ...],
    scale: Scale,
) -> Run:
    """A new model, its optimizer and the mixer. Only mixer and loss depend on the entry."""
    check_mix_on([entry], training.mix_on)
    module = build(training.model, shape, task.outputs, training.seed, training.pretrained)
    if fabric.device.type == "cuda" and form in ("image", "mel"):
        module = module.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(module, training)
    average = None
    if training.ema:
        module = fabric.to_device(module)
        average = average_of(module, training.ema)
    model = torch.compile(module) if training.compile else module
    model, optimizer = fabric.setup(model, optimizer)
    mixer = mixer_of(entry, form, task, training, fabric.global_rank)
    total = torch.zeros((), device=fabric.device)
    return Run(
        fabric, training, entry, task, form, scale, module, model, optimizer, mixer, average, total
    )


@ended()
def train_epoch(
    run: Run,
    feed: Feed,
    epoch: int,
    start: int = 0,
    on_step: Callable[[int, float, Tensor, tuple[Tensor, Tensor]], None] | None = None,
) -> float:
    """One pass over the training rows, from batch `start` on; the mean loss.

    A function of (training, epoch, step, rank) and the run's state, so that a resumed run repeats
    it. `on_step(steps done, rate, loss, (x, target))` comes after each step of the optimizer.
    """
    steps = feed.steps
    alone = run.training.finetune and epoch == 0  # the head
    if not start:
        run.total.zero_()
    run.model.train(not alone)
    for step, batch in enumerate(feed.epoch(epoch, start), start):
        _seed_dropout(run, epoch, step)
        lr = rate(run.training, epoch * steps + step, steps)
        for group in run.optimizer.param_groups:
            group["lr"] = lr * group["times"]
        xs, targets = _mixed(run, batch, epoch, step)
        loss = _backward(run, xs, targets)
        if alone:
            spare_body(run.optimizer)
        run.optimizer.step()
        run.optimizer.zero_grad()
        if run.average is not None:
            run.average.update_parameters(run.module)
        run.total += loss
        if on_step:
            on_step(step + 1, lr, loss, (xs[-1], targets[-1]))
    return _mean(run, steps, epoch)


def _seed_dropout(run: Run, epoch: int, step: int) -> None:
    """Of this device alone: torch.manual_seed keeps a record of each call where there is no GPU."""
    address = np.random.SeedSequence([run.training.seed, epoch, step, run.fabric.global_rank])
    seed = int(address.generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if run.fabric.device.type in ("cuda", "mps"):
        getattr(torch, run.fabric.device.type).manual_seed(seed)


def _mean(run: Run, steps: int, epoch: int) -> float:
    mean = float(cast(Tensor, run.fabric.all_reduce(run.total / steps)))
    if math.isfinite(mean):
        return mean
    raise _diverged(run, f"the loss is {mean} in epoch {epoch + 1}")


def _diverged(run: Run, what: str) -> MixError:
    return mix_error(
        "training",
        f"{what}.",
        "The learning rate is too high for this model and data.",
        f"Lower it, for example --lr {min(run.training.lr / 10, 0.1):g}.",
    )


def inputs(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows and targets on the device, standardised."""
    x = prepare(run.fabric.to_device(batch.x), run.scale.mean, run.scale.std, run.form)
    y = run.fabric.to_device(torch.as_tensor(batch.y))
    if run.task.kind == "numbers":
        center, spread = (run.fabric.to_device(part) for part in run.scale[2:])
        y = (y - center) / spread
    return x, y


def _mixed(run: Run, batch: Batch, epoch: int, step: int) -> tuple[list[Tensor], list[Tensor]]:
    """The batches of which the step adds the losses: the mixed one, maybe the unmixed before it."""
    x, y = inputs(run, batch)
    if batch.mixed:
        return [x], [y]
    clean = [x], [run.mixer.fields[1](y, bm.Plan.identity(len(x)))] if run.entry.clean else []
    x, y = run.mixer((x, y), step=step, epoch=epoch)
    return ([*clean[0], x], [*clean[1], y]) if run.entry.clean else ([x], [y])


def _backward(run: Run, xs: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Gradients of the loss of the whole batch, in `accumulate` passes; the loss."""
    fabric, loss_of = run.fabric, run.entry.loss or _LOSSES[run.task.kind]
    rows, total = len(xs[0]), torch.zeros((), device=fabric.device)
    passes = list(zip(*(x.chunk(run.training.accumulate) for x in (*xs, *targets))))
    for i, parts in enumerate(passes):
        x, target = torch.cat(parts[: len(xs)]), torch.cat(parts[len(xs) :])
        with fabric.no_backward_sync(run.model, enabled=i + 1 < len(passes)):
            loss = loss_of(run.model(x).float(), target) * (len(x) / rows)
            fabric.backward(loss)
        total += loss.detach()
    return total


def in_units(run: Run) -> nn.Module:
    """The measured model, a copy that gives numbers in the units of the data."""
    model = copy.deepcopy(run.measured).cpu()
    if run.task.kind == "numbers":
        last = head(model)
        with torch.no_grad():
            last.weight.mul_(run.scale.spread[:, None])
            last.bias.mul_(run.scale.spread).add_(run.scale.center)
    return model


@ended()
def predict(run: Run, feed: Feed) -> Tensor:
    """What the measured model gives, float32 [N, K] on the host: logits, or numbers in units."""
    model = run.measured.eval()
    with torch.no_grad(), run.fabric.autocast():
        found = torch.cat([model(inputs(run, b)[0]).float().cpu() for b in feed.epoch(0)])
    if found.isfinite().all():
        return found * run.scale.spread + run.scale.center
    raise _diverged(run, "the model gives numbers that are not finite")
