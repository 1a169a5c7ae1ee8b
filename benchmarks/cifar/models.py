"""The two networks: ResNet-18 for 32 x 32 pixels, and a small one whose first layer whitens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cifar.data import MEAN, STD

Tensor = Any


def build(net: str, classes: int) -> Any:
    """A network with new weights, from torch's generator."""
    return resnet18(classes) if net == "resnet18" else Whitened(classes)


class Block(nn.Module):  # type: ignore[misc]
    """Two 3 x 3 convolutions beside a shortcut: He et al. 2016, section 3."""

    def __init__(self, wide_in: int, wide: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        same = stride == 1 and wide_in == wide
        self.shortcut = nn.Sequential() if same else nn.Sequential(
            nn.Conv2d(wide_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18(classes: int) -> nn.Sequential:
    """ResNet-18 with the stem for small images: one 3 x 3 convolution, no pooling."""
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    strides = [1, 1, 2, 1, 2, 1, 2, 1]
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        *(Block(a, b, s) for a, b, s in zip(widths, widths[1:], strides)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


class Whitened(nn.Module):  # type: ignore[misc]
    """Fixed whitening of 3 x 3 patches, then three stages of two convolutions, with GELU."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 54, 3, padding=1, bias=False).requires_grad_(False)
        self.stages = nn.Sequential(_stage(54, 64), _stage(64, 256), _stage(256, 256))
        self.head = nn.Linear(256, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(nn.functional.gelu(self.whiten(x)))
        return self.head(x.amax((2, 3))) / 8  # small logits: the first steps are gentle


def _stage(wide_in: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide_in, wide, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(wide),
        nn.GELU(),
        nn.Conv2d(wide, wide, 3, padding=1, bias=False),
        nn.BatchNorm2d(wide),
        nn.GELU(),
    )


def whitening(x: NDArray[np.uint8], rows: int = 400) -> Tensor:
    """The 27 principal directions of 3 x 3 patches, each of unit variance, and their negatives.

    Args:
      x: images uint8 [N, H, W, 3].
      rows: how many of them are looked at, spread evenly.
    """
    chosen = x[np.linspace(0, len(x) - 1, min(rows, len(x))).astype(int)]
    values = ((chosen / 255 - np.array(MEAN)) / np.array(STD)).astype(np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(values, (3, 3), (1, 2)).reshape(-1, 27)
    strengths, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / np.sqrt(strengths + 1e-3)).T.reshape(27, 3, 3, 3)
    return torch.from_numpy(np.concatenate([filters, -filters])).float()
