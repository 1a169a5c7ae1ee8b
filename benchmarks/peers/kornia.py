"""kornia's RandomMixUpV2 and RandomCutMixV2; labels come as (own, partner's, weight)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from kornia import augmentation

import cases as c


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both; the side of the box is given, kornia draws where it lies."""
    keys = ["input", "class"]
    mix = augmentation.RandomMixUpV2(lambda_val=(1 - c.LAM, 1 - c.LAM), data_keys=keys)
    half = math.nextafter(0.5, 0)  # kornia floors sqrt(1 - lam) * side
    cut = augmentation.RandomCutMixV2(
        cut_size=(half, half), same_on_batch=True, data_keys=keys, use_correct_lambda=True
    )

    def seen_mix() -> c.Mixed:
        pixels, labels = mix(batch.x, batch.y)
        drawn = mix._params
        plan = batch.plan(drawn["mixup_pairs"], c.whole(batch.size), drawn["mixup_lambdas"])
        return c.Mixed(pixels, plan, _dense(labels, 1 - labels[:, 2]))

    def seen_cut() -> c.Mixed:
        pixels, (labels,) = cut(batch.x, batch.y)
        drawn = cut._params
        corners = c.host(drawn["crop_src"][0].int())  # [B, 4, (x, y)], both ends included
        boxes = [[[at[0, 1], at[2, 1] + 1], [at[0, 0], at[2, 0] + 1]] for at in corners]
        plan = batch.plan(drawn["mix_pairs"][0], boxes, 1.0)
        return c.Mixed(pixels, plan, _dense(labels, labels[:, 2]))

    yield c.Case(
        "kornia", c.MIXUP, "new array, label pairs", lambda: mix(batch.x, batch.y), seen_mix
    )
    yield c.Case(
        "kornia", c.CUTMIX, "new array, label pairs", lambda: cut(batch.x, batch.y), seen_cut
    )


def per_row(batch: c.Batch) -> Iterator[c.Case]:
    """Those with a counterpart, as they draw for themselves; labels where they make some."""
    keys = ["input", "class"]
    for work, mix in (
        ("MixUp", augmentation.RandomMixUpV2(p=1.0, data_keys=keys)),
        ("CutMix", augmentation.RandomCutMixV2(data_keys=keys, use_correct_lambda=True)),
    ):
        yield c.Case("kornia", work, "new array", partial(mix, batch.x, batch.y))
    tiles = augmentation.RandomMosaic(tuple(batch.size.values()), p=1.0, data_keys=["input"])
    yield c.Case("kornia", "Mosaic", "new array", partial(tiles, batch.x))


def _dense(labels: Any, own: Any) -> Any:
    """The triples as soft labels."""
    return c.dense(labels[:, 0].long(), labels[:, 1].long(), own)
