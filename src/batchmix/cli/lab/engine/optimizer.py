"""How the weights move: the optimizer, its rate, and an average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from batchmix.cli.lab.engine.models import head, not_decayed
from batchmix.cli.lab.training import Training

_BODY = 0.1  # the rate of all but the head when fine-tuning, times that of the head


def optimizer_of(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, or AdamW. Biases and norms do not decay."""
    last = {id(p) for p in head(module).parameters()}
    plain = not_decayed(module)
    groups = dict[tuple[float, float], list[nn.Parameter]]()
    for name, weight in module.named_parameters():
        times = _BODY if training.finetune and id(weight) not in last else 1.0
        decay = 0.0 if name in plain else training.weight_decay
        groups.setdefault((times, decay), []).append(weight)
    params = [
        {"params": weights, "times": times, "weight_decay": decay}
        for (times, decay), weights in groups.items()
    ]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(params, training.lr)
    return torch.optim.SGD(params, training.lr, momentum=0.9)


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """An EMA whose decay rises as (1 + n) / (10 + n), as in timm; buffers are copied by torch."""

    def update(averages: list[Tensor], weights: list[Tensor], updates: Any) -> None:
        n = float(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(module, multi_avg_fn=update)


def rate(training: Training, step: int, steps: int) -> float:
    """Learning rate of a step of the run: a linear rise from 0, then half a cosine to 0."""
    warm, end = training.warmup * steps, training.epochs * steps
    if step + 1 <= warm:
        return training.lr * (step + 1) / warm
    return training.lr * (1 + math.cos(math.pi * (step - warm) / max(end - warm, 1))) / 2


def spare_body(optimizer: Any) -> None:
    """The next step moves the head alone."""
    for group in optimizer.param_groups:
        if group["times"] != 1:
            for weight in group["params"]:
                weight.grad = None
