"""The policies one by one: a plan, and mixing by it, beside the formulas and other libraries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

import batchmix as bm
import cases as c
from batchmix.policies import (
    CutMix,
    FMix,
    GridMix,
    MixUp,
    Mosaic,
    Policy,
    ResizeMix,
    SaliencyMix,
    SmoothMix,
)
from peers import published

POLICIES: dict[str, Policy] = {
    "MixUp": MixUp(1.0),
    "CutMix": CutMix(1.0),
    "FMix": FMix(1.0),
    "GridMix": GridMix(4),
    "SmoothMix": SmoothMix(),
    "SaliencyMix": SaliencyMix(1.0),
    "ResizeMix": ResizeMix(),
    "RICAP": Mosaic("crop", 0.3),
    "Mosaic": Mosaic(),
}


def images(shape: c.Shape, dtype: torch.dtype) -> c.Batch:
    """A batch of floats, or of 8-bit images."""
    if dtype.is_floating_point:
        return c.Batch.random(shape)
    torch.manual_seed(0)
    x = torch.randint(256, shape, dtype=dtype)
    y = torch.randint(c.CLASSES, shape[:1])
    return c.Batch(x, y, x, torch.zeros_like(x), c.CLASSES)


def cases(batch: c.Batch, modules: dict[str, ModuleType]) -> Iterator[c.Case]:
    """A copy, ours with a plan per row, theirs as they draw."""
    yield c.Case("limit", "limit", "copy: torch copy_", lambda: batch.out.copy_(batch.x))
    for work, policy in POLICIES.items():
        yield _step(batch, work, policy)
        yield _pixels(batch, work, policy)
    yield from published.cases(batch)
    if batch.x.is_floating_point():  # neither takes 8-bit images in all of its classes
        for module in modules.values():
            yield from module.per_row(batch)


def plans(batch: c.Batch, policy: Policy) -> Callable[[], bm.Plan]:
    """A maker of plans, with another key at each call; hints are read from the batch."""
    steps, rows, size = itertools.count(), len(batch), batch.size
    hints = {"image": batch.x.numpy().transpose(0, 2, 3, 1)}
    return lambda: bm.draw(policy, bm.Key(0, 0, next(steps)), rows, size, hints=hints)


def draws(batch: c.Batch) -> Iterator[c.Case]:
    """Plans alone."""
    for work, policy in POLICIES.items():
        yield c.Case("batchmix", work, "bm.draw", plans(batch, policy))


def _step(batch: c.Batch, work: str, policy: Policy) -> c.Case:
    """Plan and pixels."""
    draw = plans(batch, policy)

    def call() -> Any:
        return bm.mix(batch.x, draw(), "NCHW", out=batch.out)

    return c.Case("batchmix", work, "out=", call)


def _pixels(batch: c.Batch, work: str, policy: Policy) -> c.Case:
    """One plan again and again; checked where the oracle knows it: one paste, and not stretched."""
    plan = plans(batch, policy)()

    def call() -> Any:
        return bm.mix(batch.x, plan, "NCHW", out=batch.out)

    def seen() -> c.Mixed:
        return c.Mixed(call(), plan, **c.tolerance(batch.x))

    known = not plan.above and plan.source is None
    return c.Case("batchmix", work, "out=, pixels only", call, seen if known else None)
