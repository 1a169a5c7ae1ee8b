"""What the metrics of all runs say: paired differences, and one sentence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One policy at one level of label noise: metrics by name, one value per seed."""

    name: str
    kind: str  # 'none', 'smooth' or 'mix'
    values: dict[str, list[float]] = field(default_factory=dict)

    def mean(self, metric: str) -> float:
        return statistics.fmean(self.values[metric])

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds; None for a single one."""
        values = self.values[metric]
        return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """A difference paired by seed: same weights, same rows, another policy."""

    mean: float
    error: float | None  # standard error of the mean; None for a single seed
    agree: int  # seeds whose difference has the sign of the mean
    seeds: int

    @property
    def real(self) -> bool:
        """Beyond chance: 0 is outside the 95 % t interval, and four of five seeds agree in sign."""
        if self.error is None:
            return False
        from scipy.stats import t

        beyond = abs(self.mean) > t.ppf(0.975, self.seeds - 1) * self.error
        return bool(beyond and self.agree >= math.ceil(0.8 * self.seeds))

    @property
    def gain(self) -> bool:
        return self.real and self.mean > 0

    @property
    def loss(self) -> bool:
        return self.real and self.mean < 0

    def points(self) -> str:
        """Percentage points, such as '+1.2 ± 0.2'."""
        error = "" if self.error is None else f" ± {100 * self.error:.1f}"
        return f"{100 * self.mean:+.1f}{error}"


def difference(a: Result, b: Result, metric: str = "accuracy") -> Difference:
    """`a` minus `b`, seed by seed."""
    each = [x - y for x, y in zip(a.values[metric], b.values[metric], strict=True)]
    mean = statistics.fmean(each)
    error = statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else None
    agree = sum(math.copysign(1, x) == math.copysign(1, mean) for x in each if x)
    return Difference(mean, error, agree, len(each))


def noise_name(noise: float) -> str:
    return f"{100 * noise:g} % wrong labels" if noise else "labels as given"


def verdict(where: str, results: Sequence[Result]) -> str:
    """One sentence: does mixing help there, which policy, and is label smoothing as good?"""
    none = next(r for r in results if r.kind == "none")
    mixing = [r for r in results if r.kind == "mix"]
    smooth = max(_of("smooth", results), key=_accuracy, default=None)
    start = f"{where[0].upper()}{where[1:]}: "
    if not mixing:
        return start + "no mixing policy was compared."
    best = max(mixing, key=_accuracy)
    against = difference(best, none)
    if against.seeds < 3:
        count = "one seed" if against.seeds == 1 else "two seeds"
        return (
            f"{start}{count} cannot tell gain or harm from chance ({best.name} is "
            f"{against.points()} points of accuracy from none); use --seeds 5."
        )
    parts = [_main(best, against)]
    parts += _harmed([r for r in mixing if r is not best], none)
    parts += _against_smoothing(best, smooth, none) if smooth else []
    if "memorised" in best.values:
        parts.append(
            f"{best.name} memorises {best.mean('memorised'):.0%} of the wrong labels, "
            f"none {none.mean('memorised'):.0%}"
        )
    return start + "; ".join(parts) + "."


def _main(best: Result, against: Difference) -> str:
    """Help, harm, or neither, for the best of the mixing policies."""
    points, count = against.points(), f"{against.agree} of {against.seeds} seeds"
    if against.gain:
        return f"mixing helps, {best.name} gains {points[1:]} points of accuracy ({count})"
    if against.loss:
        return f"mixing harms, even {best.name} loses {points[1:]} points of accuracy ({count})"
    return (
        f"mixing neither helps nor harms as far as {against.seeds} seeds can tell, the best, "
        f"{best.name}, is {points} points of accuracy from none ({count} agree)"
    )


def _harmed(others: Sequence[Result], none: Result) -> list[str]:
    """The other mixing policies that do harm."""
    harm = [(r, difference(r, none)) for r in others]
    texts = [f"{r.name} ({d.points()})" for r, d in harm if d.loss]
    return [f"{', '.join(texts)} {'do' if len(texts) > 1 else 'does'} harm"] if texts else []


def _against_smoothing(best: Result, smooth: Result, none: Result) -> list[str]:
    """The best mixing policy against label smoothing."""
    apart, own = difference(best, smooth), difference(smooth, none).points()
    by = apart.points()[1:]
    if apart.gain:
        return [f"it beats label smoothing ({smooth.name}) by {by}"]
    if apart.loss:
        return [f"label smoothing is better by {by} ({smooth.name}, {own})"]
    word = "about" if apart.mean > 0 else "at least"  # beyond what these seeds can tell
    return [f"label smoothing is {word} as good ({smooth.name}, {own})"]


def _of(kind: str, results: Sequence[Result]) -> list[Result]:
    return [r for r in results if r.kind == kind]


def _accuracy(result: Result) -> float:
    return result.mean("accuracy")
