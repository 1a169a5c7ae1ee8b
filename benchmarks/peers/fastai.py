"""fastai's callbacks: their own `before_batch`, on a stand-in for the learner.

The loss takes two hard labels (`stack_y`), as it does for cross-entropy. MixUp draws one lam per
row; CutMix writes into the batch that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from fastai.callback.mixup import CutMix, MixUp

import cases as c


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both; MixUp draws its lams, CutMix is told its box."""
    mix, cut = MixUp(1.0), CutMix(1.0)
    box = c.centred(batch.size)
    (top, bottom), (left, right) = box
    cut.rand_bbox = lambda *_: (left, top, right, bottom)

    def seen_mix() -> c.Mixed:
        with c.noted(torch, "randperm") as drawn:
            pixels, partners, lam = _before_batch(mix, batch.x, batch.y)
        plan = batch.plan(drawn[0], c.whole(batch.size), 1 - lam.numpy().astype(float))
        return c.Mixed(pixels, plan, c.dense(batch.y, partners, lam))

    def seen_cut() -> c.Mixed:
        with c.noted(torch, "randperm") as drawn:
            pixels, partners, lam = _before_batch(cut, batch.work, batch.y)
        assert abs(lam - c.own_share(box, batch.size)) < 1e-6
        return c.Mixed(pixels, batch.plan(drawn[0], box, 1.0), c.dense(batch.y, partners, lam))

    yield c.Case(
        "fastai", c.MIXUP_ROWS, "new array, label pairs",
        lambda: _before_batch(mix, batch.x, batch.y), seen_mix,
    )  # fmt: skip
    yield c.Case(
        "fastai", c.CUTMIX, "in place, label pairs",
        lambda: _before_batch(cut, batch.work, batch.y), seen_cut,
    )  # fmt: skip


def _before_batch(callback: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Mixed pixels, the partners' labels, and lam."""
    callback.learn = SimpleNamespace(x=x, y=y, xb=(x,), yb=(y,))
    callback.stack_y = True
    callback.before_batch()
    return callback.learn.xb[0], callback.yb1[0], callback.lam
