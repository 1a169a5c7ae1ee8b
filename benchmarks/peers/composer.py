"""Composer's functional forms; labels stay as they are, beside those of the partners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from composer.functional import cutmix_batch, mixup_batch

import cases as c


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both; lam and box are arguments, the permutation is drawn."""
    (top, bottom), (left, right) = box = c.centred(batch.size)
    corners = (top, left, bottom, right)  # Composer's x is the axis H

    def mix() -> Any:
        return mixup_batch(batch.x, batch.y, mixing=1 - c.LAM)

    def cut() -> Any:
        return cutmix_batch(batch.x, batch.y, bbox=corners)

    def seen_mix() -> c.Mixed:
        with c.noted(torch, "randperm") as drawn:
            pixels, partners, weight = mix()  # the weight is the partner's
        plan = batch.plan(drawn[0], c.whole(batch.size), 1 - c.LAM)
        return c.Mixed(pixels, plan, c.dense(batch.y, partners, 1 - weight))

    def seen_cut() -> c.Mixed:
        with c.noted(torch, "randperm") as drawn:
            pixels, partners, weight, _ = cut()
        return c.Mixed(pixels, batch.plan(drawn[0], box, 1.0), c.dense(batch.y, partners, weight))

    yield c.Case("Composer", c.MIXUP, "new array, label pairs", mix, seen_mix)
    yield c.Case("Composer", c.CUTMIX, "new array, label pairs", cut, seen_cut)
