"""Keras' layers MixUp and CutMix, torch backend; both draw per row, and boxes have fractions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras  # type: ignore[import-untyped, unused-ignore]
import numpy as np
import torch

from batchmix.cli.bench._cases import (
    CLASSES,
    CUTMIX_ROWS,
    MIXUP_ROWS,
    Batch,
    Case,
    Mixed,
    noted,
    whole,
)


def cases(batch: Batch) -> Iterator[Case]:
    """Both, on one-hot labels, which the layers need, made beforehand."""
    if keras.backend.backend() != "torch":
        raise RuntimeError(f"the backend is {keras.backend.backend()}, not torch")
    hot = torch.nn.functional.one_hot(batch.y, CLASSES).float()
    inputs = {"images": batch.x, "labels": hot}
    mix = keras.layers.MixUp(alpha=1.0, data_format="channels_first")
    cut = keras.layers.CutMix(factor=(1.0, 1.0), data_format="channels_first")

    def seen_mix() -> Mixed:
        with noted(mix, "get_random_transformation") as drawn:
            mixed = mix(inputs)
        own = drawn[0]["mix_weight"].numpy().astype(float)
        plan = batch.plan(drawn[0]["permutation_order"], whole(batch.size), 1 - own)
        return _mixed(mixed, plan)

    def seen_cut() -> Mixed:
        with noted(cut, "get_random_transformation") as drawn:
            mixed = cut(inputs)
        boxes = [_box(mask) for mask in drawn[0]["batch_masks"][:, 0].numpy()]
        return _mixed(mixed, batch.plan(drawn[0]["permutation_order"], boxes, 1.0))

    yield Case("Keras", MIXUP_ROWS, "new array", lambda: mix(inputs), seen_mix)
    yield Case("Keras", CUTMIX_ROWS, "new array", lambda: cut(inputs), seen_cut)


def _mixed(found: Any, plan: Any) -> Mixed:
    """Tensors without gradients."""
    return Mixed(found["images"].detach(), plan, found["labels"].detach())


def _box(mask: Any) -> list[list[int]]:
    """The rectangle of cells that a mask [H, W] marks."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return [[int(at[0]), int(at[-1]) + 1] if len(at) else [0, 0] for at in sides]
