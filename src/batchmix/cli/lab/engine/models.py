"""Models by name, small enough to train without a GPU, and any of timm's."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchmix._errors import mix_error
from batchmix.cli.lab.engine.model_names import TIMM


def mlp(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """One hidden layer of 256."""
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, outputs))


def convnet(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The small network of the Keras MixUp example; padded, so that it also fits 8 x 8 images."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 128), nn.Linear(128, outputs),
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
        if self.more:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x)


def resnet20(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The 20-layer ResNet for CIFAR of He et al. 2015, 0.27 M parameters."""
    blocks = [
        _Block(inside if i == 0 else out, out, stride if i == 0 else 1)
        for inside, out, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for i in range(3)
    ]
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, outputs),
    )  # fmt: skip


def m5(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The five-layer network for raw waves of Dai et al. 2016, table 1, 0.56 M parameters."""

    def part(inside: int, out: int, width: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv1d(inside, out, width, stride, padding=width // 2, bias=False),
            nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(4, ceil_mode=True),
        ]  # fmt: skip

    sizes = ((shape[0], 128, 80, 4), (128, 128, 3, 1), (128, 256, 3, 1), (256, 512, 3, 1))
    layers = [layer for size in sizes for layer in part(*size)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(512, outputs))


_MODELS = {"mlp": mlp, "convnet": convnet, "resnet20": resnet20, "m5": m5}


def build(
    name: str, shape: tuple[int, ...], outputs: int, seed: int, pretrained: bool = False
) -> nn.Module:
    """A new model for rows of `shape`, channels first; the same seed gives the same weights."""
    torch.manual_seed(seed)
    if name.startswith(TIMM):
        return _of_timm(name.removeprefix(TIMM), shape, outputs, pretrained)
    return _MODELS[name](shape, outputs)


def head(model: nn.Module) -> nn.Module:
    """The layer that gives the outputs: timm's classifier, or the last linear one."""
    if hasattr(model, "get_classifier"):
        found = model.get_classifier()
        return nn.ModuleList(found) if isinstance(found, tuple) else found
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]


def not_decayed(model: nn.Module) -> set[str]:
    """The names of biases, scales of norms, and what a model of timm names as such."""
    own: set[str] = getattr(model, "no_weight_decay", set)()
    return {name for name, p in model.named_parameters() if p.ndim <= 1} | own


def _of_timm(name: str, shape: tuple[int, ...], outputs: int, pretrained: bool) -> nn.Module:
    timm = _timm()
    sizes: dict[str, Any] = {"in_chans": shape[0], "num_classes": outputs}
    try:
        try:
            return timm.create_model(name, pretrained, img_size=shape[1:], **sizes)
        except TypeError as error:  # a model without a size of its own, as convolutional ones
            if "img_size" not in str(error):
                raise
        return timm.create_model(name, pretrained, **sizes)
    except Exception as error:  # the Hub's client and the models raise a dozen kinds
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise mix_error(
            f"--model {TIMM}{name}",
            f"timm says: {said}.",
            "Weights that are trained already come from the Hugging Face Hub or its cache."
            if pretrained
            else "The model must fit the size and the channels of the rows.",
            "Check the network; without one, run the command once where there is one and copy the "
            "folder that HF_HOME names, or leave --pretrained out."
            if pretrained
            else "Try another --image-size, for example 224, or another model.",
        ) from None


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter by a broken torchvision
        raise mix_error(
            "--model",
            f"timm cannot be imported ({error}).",
            "Models named timm:NAME come from it.",
            "Install it, and the torchvision that fits this torch: pip install 'batchmix[timm]'",
        ) from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return timm
