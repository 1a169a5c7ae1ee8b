"""How a model is trained; the same for every arm of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Augment = Literal["none", "light", "timm"]
Optimizer = Literal["sgd", "adamw"]
MixOn = Literal["device", "workers"]


@dataclass(frozen=True)
class Training:
    """Every choice that changes a result, and the few that change only where it is made.

    Read from the command line and from the data by `lab.defaults`; kept in checkpoints, stores and
    reports.
    """

    model: str
    epochs: int
    batch_size: int  # rows per device and step of the optimizer, divided by `accumulate`
    lr: float  # highest
    seed: int = 0  # of the weights, the order of rows, crops, dropout and mixing
    image_size: int | None = None  # side that a model sees; None: as the images are
    augment: Augment = "none"
    mix_on: MixOn = "device"
    optimizer: Optimizer = "sgd"
    weight_decay: float = 0.0
    warmup: float = 0.0  # epochs in which the rate rises
    ema: float = 0.0  # decay of averaged weights, 0: none
    accumulate: int = 1  # passes per step of the optimizer
    precision: str = "32-true"
    pretrained: bool = False
    finetune: bool = False  # train the head alone for the first epoch, then all, at a lower rate
    compile: bool = False
    workers: int = 0  # that decode; results do not depend on it
    accelerator: str = "cpu"
