"""Setting up, training for an epoch, and evaluating: used by every command that trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DistributedSampler

import batchmix as bm
from batchmix import metrics
from batchmix._errors import mix_error
from batchmix.cli._words import Entry
from batchmix.cli.lab.models import build
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.split import Splits
from batchmix.fields import Image, Labels
from batchmix.losses import soft_cross_entropy
from batchmix.pairing import Derangement, Pairing


@dataclass(frozen=True)
class Training:
    """How a model is trained; the same for every policy."""

    model: str
    epochs: int
    batch_size: int  # rows per device
    lr: float  # of the first step; a cosine takes it to 0
    seed: int  # of the weights, the order of rows, dropout and mixing

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise mix_error("--lr", f"got {self.lr}.", "It is a number > 0.", "Try --lr 0.1.")


class Tensors(NamedTuple):
    """Images and labels on the device."""

    x: Tensor  # float32 [N, C, H, W], normalised
    y: Tensor  # int64 [N]


class Parts(NamedTuple):
    """What a run trains on, fits the temperature on, and is measured on."""

    train: Tensors
    calibration: Tensors
    test: Tensors


class Run(NamedTuple):
    """Everything that changes while training, except the epoch."""

    model: Any  # nn.Module, set up by Fabric
    optimizer: Any  # torch.optim.Optimizer, set up by Fabric
    mixer: bm.Mixer


def open_fabric(**options: Any) -> Fabric:
    """A Lightning Fabric for the device, precision and processes."""
    try:
        return Fabric(**options)
    except Exception as error:  # Fabric raises ValueError, TypeError and its own kinds
        raise mix_error(
            ", ".join(f"--{name} {value}" for name, value in options.items()),
            f"Lightning Fabric says: {str(error).rstrip('.')}.",
            "The machine must have what is asked for.",
            "Try --accelerator cpu --devices 1.",
        ) from None


def to_device(fabric: Fabric, splits: Splits) -> Parts:
    """All rows as float NCHW, normalised by the training rows' mean and spread per channel."""

    def grid(x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(x.copy()).permute(0, 3, 1, 2).float()

    x = [np.stack([rows[i] for i in range(len(rows))]) for rows in vars(splits).values()]
    std, mean = torch.std_mean(grid(x[0]), (0, 2, 3), keepdim=True)
    return Parts(
        *(
            Tensors(
                fabric.to_device((grid(pixels) - mean) / std.clamp_min(1e-3)),
                fabric.to_device(torch.from_numpy(rows.y.copy())),
            )
            for pixels, rows in zip(x, vars(splits).values())
        )
    )


def set_up(
    fabric: Fabric, training: Training, entry: Entry, data: Data, pairing: Pairing | None = None
) -> Run:
    """A new model, its optimizer and the mixer. Only the mixer depends on the entry."""
    classes = len(data.task.names)
    assert data.shape is not None
    height, width, channels = data.shape
    model = build(training.model, (channels, height, width), classes, training.seed)
    optimizer = torch.optim.SGD(model.parameters(), training.lr, momentum=0.9)
    mixer = bm.Mixer(
        entry.policy,
        {0: Image("NCHW"), 1: Labels(classes, smoothing=entry.smoothing)},
        pairing=pairing or Derangement(),
        seed=training.seed,
        rank=fabric.global_rank,
    )
    model, optimizer = fabric.setup(model, optimizer)
    return Run(model, optimizer, mixer)


def train_epoch(fabric: Fabric, run: Run, training: Training, train: Tensors, epoch: int) -> float:
    """One pass over the training rows; the mean loss.

    A function of (training, epoch, rank) and the run's state, so that a resumed run repeats it.
    """
    order = DistributedSampler(
        range(len(train.y)),
        num_replicas=fabric.world_size,
        rank=fabric.global_rank,
        seed=training.seed,
    )
    order.set_epoch(epoch)
    batches = BatchSampler(order, training.batch_size, drop_last=False)
    address = np.random.SeedSequence([training.seed, epoch, fabric.global_rank])
    torch.manual_seed(int(address.generate_state(1)[0]))  # dropout
    run.model.train()
    total = torch.zeros((), device=fabric.device)
    for step, rows in enumerate(batches):
        done = (epoch + step / len(batches)) / training.epochs
        for group in run.optimizer.param_groups:
            group["lr"] = training.lr * (1 + math.cos(math.pi * done)) / 2
        x, target = run.mixer((train.x[rows], train.y[rows]), step=step, epoch=epoch)
        loss = soft_cross_entropy(run.model(x), target)
        run.optimizer.zero_grad()
        fabric.backward(loss)
        run.optimizer.step()
        total += loss.detach()
    mean = float(cast(Tensor, fabric.all_reduce(total / len(batches))))
    if not math.isfinite(mean):
        raise mix_error(
            "training",
            f"the loss is {mean} in epoch {epoch}.",
            "The learning rate is too high for this model and data.",
            f"Lower it, for example --lr {training.lr / 10:g}.",
        )
    return mean


def predict(run: Run, x: Tensor) -> Tensor:
    """Logits [N, C], float32 on the host."""
    run.model.eval()
    with torch.no_grad():
        return torch.cat([run.model(rows).float().cpu() for rows in x.split(512)])


def score(logits: Tensor, part: Tensors) -> dict[str, float]:
    """The metrics of the logits."""
    y = part.y.cpu()
    return {
        "accuracy": metrics.accuracy(logits, y),
        "nll": metrics.nll(logits, y),
        "brier": metrics.brier(logits, y),
        "ece": metrics.ece(logits, y),
    }


def evaluate(run: Run, parts: Parts) -> dict[str, float]:
    """Metrics on the test rows; the temperature is fitted on the calibration rows."""
    calibration, logits = predict(run, parts.calibration.x), predict(run, parts.test.x)
    temperature = metrics.fit_temperature(calibration, parts.calibration.y.cpu())
    scaled = score(logits / temperature, parts.test)
    return score(logits, parts.test) | {
        "temperature": temperature,
        "nll_scaled": scaled["nll"],
        "ece_scaled": scaled["ece"],
    }
