"""Lines of a framework that compiles: batchmix, and beside it the formula written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
import cases as c
from batchmix.pairing import Derangement
from batchmix.policies import CutMix, MixUp, Policy
from ours import plans

# (x, y) to pixels, labels, and a function that tells which plan that was
Step = Callable[[Any, Any], tuple[Any, Any, Callable[[], bm.Plan]]]
_ROWS: dict[str, Policy] = {c.MIXUP_ROWS: MixUp(1.0), c.CUTMIX_ROWS: CutMix(1.0)}


@dataclass(frozen=True)
class Framework:
    """What differs between frameworks; the formulas take x, (y,) and arrays of NumPy."""

    name: str
    array: Callable[[Any], Any]  # from NumPy
    wait: Callable[[Any], Any]  # for what is still being computed; gives it back
    pixels: Mapping[str, Callable[..., Any]]  # work: f(x, order, lam or box)
    step: Mapping[str, Callable[..., Any]]  # work: f(x, y, order, lam, maybe box)
    jitted: Callable[[c.Batch, Policy], Step]  # batchmix in a function that is compiled


def cases(framework: Framework, batch: c.Batch) -> Iterator[c.Case]:
    """MixUp and CutMix per row, each as a whole step and the pixels alone."""
    x, y = (framework.array(value.numpy()) for value in (batch.x, batch.y))
    for work, policy in _ROWS.items():
        for how, step in {
            "whole step, eager": eager,
            "whole step, jitted": framework.jitted,
        }.items():
            yield ours(step(batch, policy), framework.wait, work, how, x, y)
        yield _ours_pixels(framework.wait, batch, work, policy, x)
        yield _formula(framework, batch, work, x, y)
        yield _formula_pixels(framework, batch, work, x)


def ours(
    step: Step, wait: Callable[[Any], Any], work: str, how: str, x: Any, y: Any,
    layout: str = "NCHW",
) -> c.Case:  # fmt: skip
    """Draw, mix, dense labels."""

    def call() -> Any:
        pixels, labels, plan = step(x, y)
        return *wait((pixels, labels)), plan

    def seen() -> c.Mixed:
        pixels, labels, plan = call()
        return c.Mixed(channels_first(pixels, layout), plan(), np.asarray(labels))

    return c.Case("batchmix", work, how, call, seen)


def eager(batch: c.Batch, policy: Policy, layout: str = "NCHW") -> Step:
    """One call after the other."""
    draw = plans(policy, len(batch), batch.size, Derangement())

    def step(x: Any, y: Any) -> Any:
        plan = draw()
        return bm.mix(x, plan, layout), bm.mix_labels(y, plan, c.CLASSES), lambda: plan

    return step


def channels_first(pixels: Any, layout: str) -> NDArray[Any]:
    """In NumPy, as the check wants to have them."""
    found = np.asarray(pixels)
    return found.transpose([layout.index(axis) for axis in "NCHW"])


def _ours_pixels(wait: Any, batch: c.Batch, work: str, policy: Policy, x: Any) -> c.Case:
    """One plan again and again."""
    plan = plans(policy, len(batch), batch.size, Derangement())()

    def call() -> Any:
        return wait(bm.mix(x, plan, "NCHW"))

    return c.Case("batchmix", work, "pixels only", call, lambda: c.Mixed(np.asarray(call()), plan))


def _formula(framework: Framework, batch: c.Batch, work: str, x: Any, y: Any) -> c.Case:
    """Draw with NumPy; pixels and labels in one compiled function."""
    step = framework.step[work]

    def call() -> Any:
        given = _drawn(work, len(batch), batch.size)
        return *framework.wait(step(x, y, *given)), given

    def seen() -> c.Mixed:
        pixels, labels, given = call()
        return c.Mixed(np.asarray(pixels), _plan(batch, *given), np.asarray(labels))

    return c.Case(framework.name, work, "whole step, jitted", call, seen)


def _formula_pixels(framework: Framework, batch: c.Batch, work: str, x: Any) -> c.Case:
    """One draw again and again."""
    given = _drawn(work, len(batch), batch.size)
    mix, order, last = framework.pixels[work], given[0], given[-1]

    def call() -> Any:
        return framework.wait(mix(x, order, last))

    def seen() -> c.Mixed:
        return c.Mixed(np.asarray(call()), _plan(batch, *given))

    return c.Case(framework.name, work, "pixels only", call, seen)


def _drawn(work: str, rows: int, size: dict[str, int]) -> tuple[NDArray[Any], ...]:
    """Order and lam of each row; of CutMix the boxes too, as int32 [B, 2, 2]."""
    order = np.random.permutation(rows).astype(np.int32)
    lam = np.random.beta(1.0, 1.0, rows).astype(np.float32)
    if work == c.MIXUP_ROWS:
        return order, lam
    sides = np.array([*size.values()])
    half = (sides * np.sqrt(1 - lam)[:, None]).astype(np.int64) // 2
    centre = np.random.randint(0, sides, (rows, 2))
    box = np.stack([(centre - half).clip(0), np.minimum(centre + half, sides)], 2)
    area = (box[:, :, 1] - box[:, :, 0]).prod(1) / math.prod(sides.tolist())
    return order, (1 - area).astype(np.float32), box.astype(np.int32)


def _plan(batch: c.Batch, order: Any, lam: Any, box: Any = None) -> bm.Plan:
    """The same as a plan."""
    if box is None:
        return batch.plan(order, c.whole(batch.size), 1 - lam.astype(np.float64))
    return batch.plan(order, box, 1.0)
