"""torchvision's v2.MixUp and v2.CutMix; partners are the batch moved on by one row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torchvision.transforms import v2

from batchmix.cli.bench._cases import (
    CLASSES,
    CUTMIX,
    LAM,
    MIXUP,
    Batch,
    Case,
    Mixed,
    centred,
    own_share,
    whole,
)


def cases(batch: Batch) -> Iterator[Case]:
    """Both, told what to draw."""
    (top, bottom), (left, right) = box = centred(batch.size)
    drawn = {"box": (left, top, right, bottom), "lam_adjusted": own_share(box, batch.size)}
    for work, transform, parameters, pasted, opacity in (
        (MIXUP, v2.MixUp(num_classes=CLASSES), {"lam": LAM}, whole(batch.size), 1 - LAM),
        (CUTMIX, v2.CutMix(num_classes=CLASSES), drawn, box, 1.0),
    ):
        transform.make_params = lambda _, found=parameters: found
        yield _case(batch, work, transform, pasted, opacity)


def _case(batch: Batch, work: str, transform: Any, box: Any, opacity: float) -> Case:
    """One of them."""

    def call() -> Any:
        return transform(batch.x, batch.y)

    def seen() -> Mixed:
        pixels, labels = call()
        plan = batch.plan(np.roll(np.arange(len(batch)), 1), box, opacity)
        return Mixed(pixels, plan, labels)

    return Case("torchvision", work, "new array", call, seen)
