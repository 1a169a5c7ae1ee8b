"""Composer's functional forms; labels stay as they are, beside those of the partners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from composer.functional import cutmix_batch, mixup_batch

from batchmix.cli.bench._cases import (
    CUTMIX,
    LAM,
    MIXUP,
    Batch,
    Case,
    Mixed,
    centred,
    dense,
    noted,
    whole,
)


def cases(batch: Batch) -> Iterator[Case]:
    """Both; lam and box are arguments, the permutation is drawn."""
    (top, bottom), (left, right) = box = centred(batch.size)
    corners = (top, left, bottom, right)  # Composer's x is the axis H

    def mix() -> Any:
        return mixup_batch(batch.x, batch.y, mixing=1 - LAM)

    def cut() -> Any:
        return cutmix_batch(batch.x, batch.y, bbox=corners)

    def seen_mix() -> Mixed:
        with noted(torch, "randperm") as drawn:
            pixels, partners, weight = mix()  # the weight is the partner's
        plan = batch.plan(drawn[0], whole(batch.size), 1 - LAM)
        return Mixed(pixels, plan, dense(batch.y, partners, 1 - weight))

    def seen_cut() -> Mixed:
        with noted(torch, "randperm") as drawn:
            pixels, partners, weight, _ = cut()
        return Mixed(pixels, batch.plan(drawn[0], box, 1.0), dense(batch.y, partners, weight))

    yield Case("Composer", MIXUP, "new array, label pairs", mix, seen_mix)
    yield Case("Composer", CUTMIX, "new array, label pairs", cut, seen_cut)
