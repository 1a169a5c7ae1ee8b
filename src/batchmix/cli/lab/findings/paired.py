"""Differences paired by seed: what is beyond chance, and what these seeds could have seen."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)
LEVEL, POWER, FEWEST = 0.05, 0.8, 3


@dataclass(frozen=True)
class Difference:
    """A difference paired by seed: same weights, same rows, another policy."""

    mean: float
    spread: float | None  # standard deviation over seeds; None for a single one
    agree: int  # seeds whose difference has the sign of the mean
    seeds: int
    p: float  # of Student's t, two-sided; corrected where several questions are asked at once

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.spread is None else self.spread / math.sqrt(self.seeds)

    @property
    def real(self) -> bool:
        """Beyond chance: p < 0.05, at least three seeds, and four of five agree in sign."""
        enough = self.seeds >= FEWEST and self.agree >= math.ceil(0.8 * self.seeds)
        return enough and self.p < LEVEL

    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean by Student's t, for this difference alone."""
        if self.error is None:
            return None
        from scipy.stats import t

        half = float(t.ppf(1 - LEVEL / 2, self.seeds - 1)) * self.error
        return self.mean - half, self.mean + half


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """`a` minus `b`, seed by seed."""
    with np.errstate(invalid="ignore"):  # a run that diverged is not a number
        each = np.subtract(a, b)
        mean = float(each.mean())
        spread = float(each.std(ddof=1)) if len(each) > 1 else None
    agree = int((np.sign(each) == np.sign(mean)).sum()) if mean else 0
    return Difference(mean, spread, agree, len(each), _p(mean, spread, len(each)))


def corrected(found: Mapping[Name, Difference]) -> dict[Name, Difference]:
    """The same with p by Holm's method: 5 % for one false claim or more among them all."""
    order = sorted(found, key=lambda name: found[name].p)
    result, highest = dict(found), 0.0
    for rank, name in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * found[name].p))
        result[name] = replace(found[name], p=highest)
    return result


def detectable(spread: float, seeds: int, questions: int) -> float | None:
    """The smallest true difference that is found with 80 % power at level 0.05 / `questions`.

    By the noncentral t distribution; None where it cannot be told.
    """
    if seeds < FEWEST or not 0 < spread < math.inf:
        return None
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    limit = t.ppf(1 - LEVEL / (2 * max(questions, 1)), seeds - 1)
    # the chance of a significant result in the wrong direction is below 1e-4 here
    shift = brentq(lambda d: nct.sf(limit, seeds - 1, d) - POWER, 1e-3, 10 * limit + 10)
    return float(shift * spread / math.sqrt(seeds))


def _p(mean: float, spread: float | None, seeds: int) -> float:
    if spread is None or math.isnan(mean) or math.isnan(spread):
        return 1.0
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / (spread / math.sqrt(seeds)), seeds - 1))
