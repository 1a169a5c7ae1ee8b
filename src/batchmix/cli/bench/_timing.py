"""Timing calls against each other: in turn, round by round, so that noise meets all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from batchmix.cli.bench._cases import Case

_LEAST, _MOST = 5, 41  # samples of each case
_IN_CACHE = 32 << 20  # a batch up to this is timed warm: each sample behind an untimed call


def timed(case: Case) -> float:
    """Seconds of one call; the result is dropped after the clock is read."""
    start = time.perf_counter()
    result = case.call()
    seconds = time.perf_counter() - start
    del result
    return seconds


def interleave(
    cases: Sequence[Case],
    budget: float,
    size: int,
    clock: Callable[[Case], float] = timed,
) -> list[list[float]]:
    """Seconds of each sample of each case: at least five, then until `budget` seconds are used.

    Every round starts from the same seeds, so that the libraries that draw from global generators
    get the same run again.
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
                if size < _IN_CACHE and clock is timed:
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
