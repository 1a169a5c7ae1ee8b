"""Mixing as published recipes set it: which policy, who is paired, what smoothing, which loss.

The rest of a recipe (model, optimizer, epochs, other augmentation) is the training script's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from batchmix._errors import mix_error
from batchmix.losses import soft_binary_cross_entropy, soft_cross_entropy
from batchmix.pairing import Pairing, Permutation, Reverse, Roll
from batchmix.policies import CutMix, MixUp, PerBatch, Policy, Sometimes, Switch
from batchmix.recipes._timm import timm_policy

__all__ = [
    "Recipe", "convnext", "cutmix_cifar", "cutmix_imagenet", "deit", "deit3", "mae_finetune",
    "mixup_cifar10", "mixup_imagenet", "rsb", "timm_policy", "torchvision_resnet",
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

    Example:
      >>> import numpy as np, batchmix as bm
      >>> recipe = deit()
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
    smoothing: float
    loss: Callable[[Any, Any], Any]


def _both(mixup: float, cutmix: float, smoothing: float, threshold: float | None = None) -> Recipe:
    """One lam per batch, row i with row B-1-i; cross-entropy, or BCE where there is a threshold."""
    loss: Callable[[Any, Any], Any] = soft_cross_entropy
    if threshold is not None:
        loss = partial(soft_binary_cross_entropy, threshold=threshold)
    policy = PerBatch(Switch([MixUp(mixup), CutMix(cutmix)]))
    return Recipe(policy, Reverse(), smoothing, loss)


def deit() -> Recipe:
    """DeiT: MixUp 0.8 or CutMix 1.0 by a fair coin, smoothing 0.1, soft cross-entropy.

    Example:
      >>> deit().smoothing
      0.1

    Source: Touvron et al., 2021, https://arxiv.org/abs/2012.12877; main.py of
    https://github.com/facebookresearch/deit
    """
    return _both(0.8, 1.0, 0.1)


def deit3() -> Recipe:
    """DeiT III on ImageNet-1k: as DeiT, no smoothing, BCE; every label above 0 counts as 1.

    Example:
      >>> deit3().loss.keywords
      {'threshold': 0.0}

    Source: Touvron et al., 2022, https://arxiv.org/abs/2204.07118; README_revenge.md and engine.py
    (``targets.gt(0.0)``) of https://github.com/facebookresearch/deit
    """
    return _both(0.8, 1.0, 0.0, threshold=0.0)


def rsb(procedure: Literal["A1", "A2", "A3"] = "A2") -> Recipe:
    """ResNet strikes back: MixUp 0.2 (A1) or 0.1, CutMix 1.0, smoothing 0.1 (A1) or none, BCE.

    Labels above 0.2 count as 1, the threshold of timm's published commands. A1 runs for 600 epochs,
    A2 for 300, A3 for 100 at 160 pixels.

    Raises:
      MixError: an unknown procedure.

    Example:
      >>> rsb("A1").smoothing, rsb("A3").smoothing
      (0.1, 0.0)

    Source: Wightman et al., 2021, table 2, https://arxiv.org/abs/2110.00476
    """
    alpha_and_smoothing = {"A1": (0.2, 0.1), "A2": (0.1, 0.0), "A3": (0.1, 0.0)}
    if procedure not in alpha_and_smoothing:
        raise mix_error(
            "rsb()", f"got {procedure!r}.", "It is 'A1', 'A2' or 'A3'.", "Pass one of them."
        )
    alpha, smoothing = alpha_and_smoothing[procedure]
    return _both(alpha, 1.0, smoothing, threshold=0.2)


def convnext() -> Recipe:
    """ConvNeXt on ImageNet-1k, 300 epochs: as DeiT. Its fine-tuning does not mix.

    Example:
      >>> convnext().policy == deit().policy
      True

    Source: Liu et al., 2022, https://arxiv.org/abs/2201.03545; TRAINING.md of
    https://github.com/facebookresearch/ConvNeXt
    """
    return _both(0.8, 1.0, 0.1)


def mae_finetune() -> Recipe:
    """MAE, fine-tuning of the whole model: as DeiT. Its linear probing does not mix.

    Example:
      >>> mae_finetune().policy == deit().policy
      True

    Source: He et al., 2021, https://arxiv.org/abs/2111.06377; FINETUNE.md of
    https://github.com/facebookresearch/mae
    """
    return _both(0.8, 1.0, 0.1)


def torchvision_resnet() -> Recipe:
    """torchvision's new recipe for ResNet-50: MixUp 0.2 or CutMix 1.0, row i with row i-1.

    torchvision smooths in the loss, after mixing; in the labels it comes to the same.

    Example:
      >>> torchvision_resnet().pairing
      Roll(n=1)

    Source: references/classification of https://github.com/pytorch/vision
    """
    policy = PerBatch(Switch([MixUp(0.2), CutMix(1.0)]))
    return Recipe(policy, Roll(1), 0.1, soft_cross_entropy)


def mixup_cifar10() -> Recipe:
    """The mixup paper on CIFAR-10: alpha 1, one lam per batch, with weight decay 1e-4.

    Example:
      >>> mixup_cifar10().policy
      PerBatch(policy=MixUp(alpha=1.0, dominant=False))

    Source: Zhang et al., 2018, section 3.2, https://arxiv.org/abs/1710.09412
    """
    return Recipe(PerBatch(MixUp(1.0)), Permutation(), 0.0, soft_cross_entropy)


def mixup_imagenet() -> Recipe:
    """The mixup paper on ImageNet: alpha 0.2 (it tried 0.1 to 0.4).

    Example:
      >>> mixup_imagenet().policy
      PerBatch(policy=MixUp(alpha=0.2, dominant=False))

    Source: Zhang et al., 2018, section 3.1, https://arxiv.org/abs/1710.09412
    """
    return Recipe(PerBatch(MixUp(0.2)), Permutation(), 0.0, soft_cross_entropy)


def cutmix_cifar() -> Recipe:
    """The CutMix paper on CIFAR: alpha 1, half of the batches.

    Example:
      >>> cutmix_cifar().policy.policy.prob
      0.5

    Source: Yun et al., 2019, https://arxiv.org/abs/1905.04899; the commands of
    https://github.com/clovaai/CutMix-PyTorch
    """
    policy = PerBatch(Sometimes(CutMix(1.0), 0.5))
    return Recipe(policy, Permutation(), 0.0, soft_cross_entropy)


def cutmix_imagenet() -> Recipe:
    """The CutMix paper on ImageNet: alpha 1, every batch.

    Example:
      >>> cutmix_imagenet().smoothing
      0.0

    Source: Yun et al., 2019, https://arxiv.org/abs/1905.04899; the commands of
    https://github.com/clovaai/CutMix-PyTorch
    """
    return Recipe(PerBatch(CutMix(1.0)), Permutation(), 0.0, soft_cross_entropy)
