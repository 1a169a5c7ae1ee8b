"""Mixing as published recipes set it: which policy, who is paired, what smoothing, which loss.

Each recipe is a value, such as `recipes.deit`. Model, optimizer, epochs and other augmentation are
left to the training script. For detection a function makes the policy: ``yolo_policy(epochs=100)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from batchmix.losses import soft_binary_cross_entropy, soft_cross_entropy
from batchmix.pairing import Pairing, Permutation, Reverse, Roll
from batchmix.policies import CutMix, MixUp, PerBatch, Policy, Sometimes, Switch
from batchmix.recipes._detection import copy_paste_policy, deim_policy, yolo_policy
from batchmix.recipes._timm import timm_policy

__all__ = [
    "Recipe", "convnext", "copy_paste_policy", "cutmix_cifar", "cutmix_imagenet", "deim_policy",
    "deit", "deit3", "mae_finetune", "mixup_cifar10", "mixup_imagenet", "rsb_a1", "rsb_a2",
    "rsb_a3", "timm_policy", "torchvision_resnet", "yolo_policy",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What a source says about mixing.

    Args:
      policy: how much is pasted and where.
      pairing: who is whose partner.
      smoothing: share of the label that is spread over all classes, for `fields.Labels`.
      loss: callable (logits [B, C], soft target [B, C]) -> scalar, made of `batchmix.losses`; for
        all batches, mixed or not.
      source: where the numbers are from; it does not count in comparisons.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> recipe = deit
      >>> fields = {0: bm.fields.Image("NCHW"), 1: bm.fields.Labels(10, recipe.smoothing)}
      >>> mixer = bm.Mixer(recipe.policy, fields, pairing=recipe.pairing, seed=0)
      >>> x, target = mixer((np.zeros((4, 3, 8, 8), np.float32), np.arange(4)))
      >>> round(float(recipe.loss(np.zeros((4, 10)), target)), 3)
      2.303

    Differs from: DeiT's script at first chose the loss by `mixup > 0`, so that CutMix alone gave
    soft targets to a loss for ids. Here one loss fits every batch.
    """

    policy: Policy
    pairing: Pairing
    smoothing: float = 0.0
    loss: Callable[[Any, Any], Any] = soft_cross_entropy
    source: str = field(default="", compare=False)


def _both(mixup: float) -> Policy:
    """One draw per batch; a fair coin decides between MixUp and CutMix."""
    return PerBatch(Switch([MixUp(mixup), CutMix(1.0)]))


_ABOVE_0 = partial(soft_binary_cross_entropy, threshold=0.0)
_ABOVE_A_FIFTH = partial(soft_binary_cross_entropy, threshold=0.2)
_RSB = "Wightman et al., 2021, table 2, https://arxiv.org/abs/2110.00476"
_CUTMIX = (
    "Yun et al., 2019, https://arxiv.org/abs/1905.04899; the commands of "
    "https://github.com/clovaai/CutMix-PyTorch"
)

deit = Recipe(
    _both(0.8), Reverse(), smoothing=0.1,
    source="Touvron et al., 2021, https://arxiv.org/abs/2012.12877; main.py of "
    "https://github.com/facebookresearch/deit",
)  # fmt: skip
"""DeiT: MixUp 0.8 or CutMix 1.0, smoothing 0.1, soft cross-entropy."""

deit3 = Recipe(
    _both(0.8), Reverse(), loss=_ABOVE_0,
    source="Touvron et al., 2022, https://arxiv.org/abs/2204.07118; README_revenge.md and "
    "engine.py (`targets.gt(0.0)`) of https://github.com/facebookresearch/deit",
)  # fmt: skip
"""DeiT III on ImageNet-1k: as DeiT, no smoothing, BCE; every label above 0 counts as 1."""

rsb_a1 = Recipe(_both(0.2), Reverse(), smoothing=0.1, loss=_ABOVE_A_FIFTH, source=_RSB)
"""ResNet strikes back, A1, 600 epochs: MixUp 0.2 or CutMix 1.0, smoothing 0.1, BCE.

Labels above 0.2 count as 1, the threshold of timm's published commands.
"""

rsb_a2 = Recipe(_both(0.1), Reverse(), loss=_ABOVE_A_FIFTH, source=_RSB)
"""ResNet strikes back, A2, 300 epochs: as A1 with MixUp 0.1 and no smoothing."""

rsb_a3 = rsb_a2
"""ResNet strikes back, A3, 100 epochs at 160 pixels: as A2."""

convnext = Recipe(
    _both(0.8), Reverse(), smoothing=0.1,
    source="Liu et al., 2022, https://arxiv.org/abs/2201.03545; TRAINING.md of "
    "https://github.com/facebookresearch/ConvNeXt",
)  # fmt: skip
"""ConvNeXt on ImageNet-1k, 300 epochs: as DeiT. Its fine-tuning does not mix."""

mae_finetune = Recipe(
    _both(0.8), Reverse(), smoothing=0.1,
    source="He et al., 2021, https://arxiv.org/abs/2111.06377; FINETUNE.md of "
    "https://github.com/facebookresearch/mae",
)  # fmt: skip
"""MAE, fine-tuning of the whole model: as DeiT. Its linear probing does not mix."""

torchvision_resnet = Recipe(
    _both(0.2), Roll(1), smoothing=0.1,
    source="references/classification of https://github.com/pytorch/vision",
)  # fmt: skip
"""torchvision's new recipe for ResNet-50: MixUp 0.2 or CutMix 1.0, row i with row i-1.

torchvision smooths in the loss, after mixing; smoothing the labels gives the same.
"""

mixup_cifar10 = Recipe(
    PerBatch(MixUp(1.0)), Permutation(),
    source="Zhang et al., 2018, section 3.2, https://arxiv.org/abs/1710.09412",
)  # fmt: skip
"""The mixup paper on CIFAR-10: alpha 1, one lam per batch, with weight decay 1e-4."""

mixup_imagenet = Recipe(
    PerBatch(MixUp(0.2)), Permutation(),
    source="Zhang et al., 2018, section 3.1, https://arxiv.org/abs/1710.09412",
)  # fmt: skip
"""The mixup paper on ImageNet: alpha 0.2 (it tried 0.1 to 0.4)."""

cutmix_cifar = Recipe(PerBatch(Sometimes(CutMix(1.0), 0.5)), Permutation(), source=_CUTMIX)
"""The CutMix paper on CIFAR: alpha 1, half of the batches."""

cutmix_imagenet = Recipe(PerBatch(CutMix(1.0)), Permutation(), source=_CUTMIX)
"""The CutMix paper on ImageNet: alpha 1, every batch."""
