"""Timing calls against each other: in turn, round by round, so that noise meets all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

import cases as c

Clock = Callable[[c.Case], float]
_LEAST, _MOST = 5, 41  # samples of each case


def timed(case: c.Case, calls: int = 1) -> float:
    """Seconds of one call, on average; the last result is dropped after the clock is read."""
    start = time.perf_counter()
    for _ in range(calls):
        result = case.call()
    seconds = time.perf_counter() - start
    del result
    return seconds / calls


def interleave(
    cases: Sequence[c.Case], budget: float, warm: bool, clock: Clock = timed
) -> list[list[float]]:
    """Seconds of each sample of each case: at least five, then until `budget` seconds are used.

    `warm`: each sample comes after an untimed call of the same case. Every round starts from the
    same seeds, so that the libraries that draw from global generators get the same run again.
    """
    samples: list[list[float]] = [[] for _ in cases]
    gc.collect()
    gc.disable()
    try:
        for turn in range(_MOST):
            for case, found in zip(cases, samples):
                if turn >= _LEAST and sum(found) > budget:
                    continue
                np.random.seed(turn)
                torch.manual_seed(turn)
                if warm:
                    case.call()
                found.append(clock(case))
    finally:
        gc.enable()
    return samples


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and minimum in milliseconds."""
    low, middle, high = np.percentile(samples, [25, 50, 75])
    figures = {"median": middle, "q1": low, "q3": high, "min": min(samples)}
    return {name: round(1e3 * float(value), 5) for name, value in figures.items()} | {
        "samples": len(samples)
    }
