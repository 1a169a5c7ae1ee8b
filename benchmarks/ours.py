"""batchmix as it is called in a training loop: draw, mix, labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import batchmix as bm
import cases as c
from batchmix.pairing import Derangement, Pairing, Reverse
from batchmix.policies import CutMix, MixUp, PerPair, Policy, Request, Switch
from batchmix.policies._paste import Paste

SWITCH = Switch([MixUp(1.0), CutMix(1.0)])


@dataclass(frozen=True)
class Fixed:
    """A policy that draws the same for every row and batch, so that every library does as much."""

    box: list[list[int]]
    opacity: float

    def sample(self, request: Request) -> Paste:
        """Copies of the one paste."""
        count = len(request.partner)
        box = np.tile(np.array(self.box, np.int32), (count, 1, 1))
        return Paste(box, np.full(count, self.opacity), np.zeros(count, np.int8))


def plans(policy: Policy, rows: int, size: dict[str, int], pairing: Pairing) -> Callable[[], Any]:
    """A maker of plans, with another key at each call."""
    steps = itertools.count()
    return lambda: bm.draw(policy, bm.Key(0, 0, next(steps)), rows, size, pairing=pairing)


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Everything, in place and out of place; what a peer has no counterpart of as well."""
    fixed: dict[str, Policy] = {
        c.MIXUP: Fixed(c.whole(batch.size), 1 - c.LAM),
        c.CUTMIX: Fixed(c.centred(batch.size), 1.0),
    }
    rows: dict[str, Policy] = {c.ROWS: SWITCH, c.MIXUP_ROWS: MixUp(1.0), c.CUTMIX_ROWS: CutMix(1.0)}
    for work, policy in (fixed | rows).items():
        yield _case(batch, work, "in place", policy, Reverse(), batch.work)
        yield _case(batch, work, "out=", policy, Derangement(), batch.out)
        yield _case(batch, work, "new array", policy, Derangement(), None)
    yield _case(batch, c.PAIRS, "in place", PerPair(SWITCH), Reverse(), batch.work)
    for work, policy in fixed.items():
        yield _pairs(batch, work, policy)
    for work, policy in (fixed | {c.ROWS: SWITCH}).items():
        yield _pixels(batch, work, "in place", policy, Reverse(), batch.work)
        yield _pixels(batch, work, "out=", policy, Derangement(), batch.out)


def _case(
    batch: c.Batch, work: str, how: str, policy: Policy, pairing: Pairing, out: Any
) -> c.Case:
    """Draw, mix, dense labels."""
    draw = plans(policy, len(batch), batch.size, pairing)
    x = batch.work if how == "in place" else batch.x

    def call() -> Any:
        plan = draw()
        return bm.mix(x, plan, "NCHW", out=out), bm.mix_labels(batch.y, plan, c.CLASSES), plan

    def seen() -> c.Mixed:
        pixels, labels, plan = call()
        return c.Mixed(pixels, plan, labels)

    return c.Case("batchmix", work, how, call, seen)


def _pairs(batch: c.Batch, work: str, policy: Policy) -> c.Case:
    """With pairs of labels in place of dense ones, as Composer, kornia and fastai make them."""
    draw = plans(policy, len(batch), batch.size, Derangement())

    def call() -> Any:
        plan = draw()
        return bm.mix(batch.x, plan, "NCHW", out=batch.out), bm.pairs(batch.y, plan), plan

    def seen() -> c.Mixed:
        pixels, labels, plan = call()
        return c.Mixed(pixels, plan, c.dense(*labels))

    return c.Case("batchmix", work, "out=, label pairs", call, seen)


def _pixels(
    batch: c.Batch, work: str, how: str, policy: Policy, pairing: Pairing, out: Any
) -> c.Case:
    """The pixels alone, for comparison with the limit."""
    plan = plans(policy, len(batch), batch.size, pairing)()
    x = batch.work if how == "in place" else batch.x

    def call() -> Any:
        return bm.mix(x, plan, "NCHW", out=out)

    return c.Case("batchmix", work, f"{how}, pixels only", call, lambda: c.Mixed(call(), plan))
