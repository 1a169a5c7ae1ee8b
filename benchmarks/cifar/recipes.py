"""How long each network is trained, and at which rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum on crops and flips; bf16 by autocast on a GPU."""

    net: Literal["resnet18", "whitened"]
    epochs: int
    batch: int
    lr: float  # the highest
    schedule: Literal["cosine", "triangle"]
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def rate(self, done: float) -> float:
        """The learning rate after a share of the steps: a half cosine, or up for 0.2 and down."""
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * done)) / 2
        return self.lr * min(done / 0.2, (1 - done) / 0.8)


RECIPES = {
    "resnet18": Recipe("resnet18", 200, 128, 0.1, "cosine"),
    "resnet18-60": Recipe("resnet18", 60, 128, 0.1, "cosine"),
    "fast-x1": Recipe("whitened", 10, 512, 0.4, "triangle"),
    "fast-x4": Recipe("whitened", 40, 512, 0.4, "triangle"),
}
# seconds of an epoch with its test on an H100: a guess, until runs have been timed
GUESSED = {"resnet18": 5.0, "whitened": 0.6}
