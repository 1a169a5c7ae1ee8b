"""Models by name, small enough to train without a GPU, and any of timm's."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchmix._errors import mix_error

_TIMM = "timm:"


def mlp(channels: int, size: int, classes: int) -> nn.Module:
    """One hidden layer of 256."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * size, 256), nn.ReLU(), nn.Linear(256, classes)
    )


def convnet(channels: int, size: int, classes: int) -> nn.Module:
    """The small network of the Keras MixUp example; padded, so that it also fits 8 x 8 images."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 128), nn.Linear(128, classes),
    )  # fmt: skip


class _Block(nn.Module):  # type: ignore[misc]
    """Two 3 x 3 convolutions beside a shortcut without parameters (He et al. 2015, option A)."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, (out - inside) // 2

    def forward(self, x: Tensor) -> Tensor:
        """[N, inside, H, W] -> [N, out, H / stride, W / stride]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + short)


def resnet20(channels: int, size: int, classes: int) -> nn.Module:
    """The 20-layer ResNet for CIFAR of He et al. 2015, 0.27 M parameters."""
    blocks = [
        _Block(inside if i == 0 else out, out, stride if i == 0 else 1)
        for inside, out, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for i in range(3)
    ]
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip


_MODELS = {"mlp": mlp, "convnet": convnet, "resnet20": resnet20}


def check_model(name: str) -> None:
    """The name is known, and timm is installed where it is needed."""
    known = [*_MODELS, f"{_TIMM}NAME"]
    if name.startswith(_TIMM):
        known = [_TIMM + other for other in _timm().list_models()]
    if name.partition(".")[0] not in known:  # timm:NAME.TAG is a set of weights, not used here
        near = difflib.get_close_matches(name, known, n=1)
        raise mix_error(
            "--model",
            f"got {name!r}.",
            f"It is one of {', '.join(_MODELS)} or {_TIMM}NAME.",
            f"Did you mean {near[0]!r}?" if near else "Leave it out for the default.",
        )


def build(name: str, image: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
    """A new model for images [C, H, W]; the same seed gives the same weights."""
    torch.manual_seed(seed)
    channels, height, width = image
    if name.startswith(_TIMM):
        model: nn.Module = _timm().create_model(
            name.removeprefix(_TIMM), in_chans=channels, num_classes=classes
        )
        return model
    return _MODELS[name](channels, height * width, classes)


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter by a broken torchvision
        raise mix_error(
            "--model",
            f"timm cannot be imported ({error}).",
            "Models named timm:NAME come from it.",
            "Install it, and the torchvision that fits this torch: pip install timm",
        ) from None
    return timm
