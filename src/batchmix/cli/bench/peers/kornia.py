"""kornia's RandomMixUpV2 and RandomCutMixV2; labels come as (own, partner's, weight)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kornia import augmentation

from batchmix.cli.bench._cases import (
    CUTMIX,
    LAM,
    MIXUP,
    Batch,
    Case,
    Mixed,
    dense,
    whole,
)


def cases(batch: Batch) -> Iterator[Case]:
    """Both; the side of the box is given, kornia draws where it lies."""
    keys = ["input", "class"]
    mix = augmentation.RandomMixUpV2(lambda_val=(1 - LAM, 1 - LAM), data_keys=keys)
    half = math.nextafter(0.5, 0)  # kornia floors sqrt(1 - lam) * side
    cut = augmentation.RandomCutMixV2(
        cut_size=(half, half), same_on_batch=True, data_keys=keys, use_correct_lambda=True
    )

    def seen_mix() -> Mixed:
        pixels, labels = mix(batch.x, batch.y)
        drawn = mix._params
        plan = batch.plan(drawn["mixup_pairs"], whole(batch.size), drawn["mixup_lambdas"])
        return Mixed(pixels, plan, _dense(labels, 1 - labels[:, 2]))

    def seen_cut() -> Mixed:
        pixels, (labels,) = cut(batch.x, batch.y)
        drawn = cut._params
        corners = drawn["crop_src"][0].int().numpy()  # [B, 4, (x, y)], both ends included
        boxes = [[[c[0, 1], c[2, 1] + 1], [c[0, 0], c[2, 0] + 1]] for c in corners]
        plan = batch.plan(drawn["mix_pairs"][0], boxes, 1.0)
        return Mixed(pixels, plan, _dense(labels, labels[:, 2]))

    yield Case("kornia", MIXUP, "new array, label pairs", lambda: mix(batch.x, batch.y), seen_mix)
    yield Case("kornia", CUTMIX, "new array, label pairs", lambda: cut(batch.x, batch.y), seen_cut)


def _dense(labels: Any, own: Any) -> Any:
    """The triples as soft labels."""
    return dense(labels[:, 0].long(), labels[:, 1].long(), own)
