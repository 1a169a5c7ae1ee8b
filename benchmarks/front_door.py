"""What a user calls: `Mixer`, and the adapters in place of the classes that they replace.

Everything draws for itself here, batchmix by its default pairing unless a drop-in has another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

import batchmix as bm
import cases as c
from batchmix.fields import Field, Image, Labels
from batchmix.pairing import Derangement, Pairing, Reverse, Roll
from batchmix.policies import CutMix, MixUp, PerBatch, Policy
from ours import SWITCH, plans

POLICIES: dict[str, Policy] = {
    c.MIXUP: PerBatch(MixUp(1.0)),
    c.BOTH: PerBatch(SWITCH),
    c.MIXUP_ROWS: MixUp(1.0),
    c.ROWS: SWITCH,
}
_TIMM = {  # work: mixup_alpha, cutmix_alpha, mode
    c.MIXUP: (1.0, 0.0, "batch"),
    c.BOTH: (1.0, 1.0, "batch"),
    c.MIXUP_ROWS: (1.0, 0.0, "elem"),
    c.ROWS: (1.0, 1.0, "elem"),
}


def cases(batch: c.Batch, modules: dict[str, ModuleType]) -> Iterator[c.Case]:
    """`Mixer` beside the same by hand; each drop-in, and what it replaces."""
    for work, policy in POLICIES.items():
        yield _mixer(batch, work, policy, inplace=True)
        yield _mixer(batch, work, policy, inplace=False)
        yield _by_hand(batch, work, policy, inplace=True)
        yield _by_hand(batch, work, policy, inplace=False)
    yield _pixels(batch)
    if "timm" in modules:
        yield from _timm(batch, modules["timm"])
    if "torchvision" in modules:
        yield from _torchvision(batch, modules["torchvision"])


def _mixer(batch: c.Batch, work: str, policy: Policy, inplace: bool) -> c.Case:
    """The whole step in one call."""
    fields: dict[int, Field] = {0: Image("NCHW"), 1: Labels(batch.classes)}
    mixer = bm.Mixer(policy, fields, inplace=inplace)
    given = batch.work if inplace else batch.x, batch.y

    def call() -> Any:
        return mixer(given)

    def seen() -> c.Mixed:
        plan = _plan(batch, policy, Derangement(), mixer.step)
        pixels, labels = call()
        return c.Mixed(pixels, plan, labels)

    how = "in place, Mixer" if inplace else "new array, Mixer"
    return c.Case("batchmix", work, how, call, seen)


def _by_hand(batch: c.Batch, work: str, policy: Policy, inplace: bool) -> c.Case:
    """Plan, pixels and labels, one after the other."""
    draw = plans(policy, len(batch), batch.size, Derangement())
    x, out = (batch.work, batch.work) if inplace else (batch.x, None)

    def call() -> Any:
        plan = draw()
        return bm.mix(x, plan, "NCHW", out=out), bm.mix_labels(batch.y, plan, batch.classes), plan

    def seen() -> c.Mixed:
        pixels, labels, plan = call()
        return c.Mixed(pixels, plan, labels)

    how = "in place, by hand" if inplace else "new array, by hand"
    return c.Case("batchmix", work, how, call, seen)


def _pixels(batch: c.Batch) -> c.Case:
    """One plan again and again, for comparison with the limit."""
    plan = plans(SWITCH, len(batch), batch.size, Derangement())()

    def call() -> Any:
        return bm.mix(batch.work, plan, "NCHW", out=batch.work)

    return c.Case(
        "batchmix", c.ROWS, "in place, pixels only", call, lambda: c.Mixed(call(), plan)
    )  # fmt: skip


def _timm(batch: c.Batch, theirs: ModuleType) -> Iterator[c.Case]:
    """timm's Mixup, which mixes in place, and the class in its place."""
    from batchmix.adapters.timm import Mixup

    for work, (alpha, cutmix, mode) in _TIMM.items():
        mix = theirs.mixup(alpha, cutmix, mode, classes=batch.classes)
        yield c.Case("timm", work, "in place", *theirs.drawn(batch, mix))
        make = partial(
            Mixup, alpha, cutmix, mode=mode, label_smoothing=0.0, num_classes=batch.classes, seed=0
        )
        yield _drop_in(batch, work, "in place, adapters.timm", make, batch.work, Reverse())


def _torchvision(batch: c.Batch, theirs: ModuleType) -> Iterator[c.Case]:
    """torchvision's transforms, which mix into new arrays, and those in their place."""
    from torchvision.transforms import v2

    from batchmix.adapters import torchvision as ours

    for work, name in ((c.MIXUP, "MixUp"), (c.CUTMIX, "CutMix")):
        transform = getattr(v2, name)(num_classes=batch.classes)
        yield c.Case("torchvision", work, "new array", *theirs.drawn(batch, transform))
        make = partial(getattr(ours, name), num_classes=batch.classes, seed=0)
        yield _drop_in(batch, work, "new array, adapters.torchvision", make, batch.x, Roll(1))


def _drop_in(
    batch: c.Batch, work: str, how: str, make: Callable[[], Any], x: Any, pairing: Pairing
) -> c.Case:
    """An object of ours, called as the one that it replaces; its first batch is looked at."""
    policy = PerBatch(CutMix(1.0)) if work == c.CUTMIX else POLICIES[work]
    mix = make()

    def seen() -> c.Mixed:
        first = make()
        first.set_epoch(0)
        pixels, labels = first(x, batch.y)
        return c.Mixed(pixels, _plan(batch, policy, pairing), labels)

    return c.Case("batchmix", work, how, lambda: mix(x, batch.y), seen)


def _plan(batch: c.Batch, policy: Policy, pairing: Pairing, step: int = 0) -> bm.Plan:
    """The plan at an address, which alone decides what is done to a batch."""
    key = bm.Key(seed=0, epoch=0, step=step)
    return bm.draw(policy, key, len(batch), batch.size, pairing=pairing)


def draws(rows: int, size: dict[str, int]) -> Iterator[c.Case]:
    """A plan, beside the calls of NumPy's generator that it cannot do without."""
    policies: dict[str, Policy] = {
        c.MIXUP_ROWS: MixUp(1.0),
        c.CUTMIX_ROWS: CutMix(1.0),
        c.ROWS: SWITCH,
    }
    for work, policy in policies.items():
        yield c.Case("batchmix", work, "bm.draw", plans(policy, rows, size, Derangement()))
        yield c.Case("NumPy", work, "random numbers", _numbers(work, rows, len(size)))


def _numbers(work: str, rows: int, axes: int) -> Callable[[], Any]:
    """At one address after another: a stream, the numbers of the policy, a permutation."""
    steps = itertools.count()

    def call() -> Any:
        rng = np.random.RandomState(
            np.random.Philox(np.random.SeedSequence((0, 0, next(steps), 0)))
        )
        drawn = []
        if work == c.ROWS:
            drawn.append(rng.random_sample(rows))  # which of the two
        if work in (c.MIXUP_ROWS, c.ROWS):
            drawn.append(rng.random_sample(rows))  # lam: Beta(1, 1) is uniform
        if work in (c.CUTMIX_ROWS, c.ROWS):
            drawn += [rng.random_sample(rows), rng.random_sample((rows, axes))]  # lam, centre
        return [*drawn, rng.permutation(rows)]

    return call
