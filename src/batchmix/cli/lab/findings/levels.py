"""Outcomes by level of label noise: the arms, over the seeds that all of them have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from batchmix.cli._words import parse
from batchmix.cli.lab.findings.paired import Difference, corrected, detectable, difference
from batchmix.cli.lab.outcome import METRICS, Outcome, headline
from batchmix.cli.lab.rows import Task

At = Literal["best", "last"]
_UNEQUAL = 1.5  # largest class over smallest, in rows


@dataclass(frozen=True)
class Arm:
    """A policy, with an outcome per seed."""

    name: str
    kind: str  # "none", "smooth" or "mix"
    outcomes: tuple[Outcome, ...]  # in the order of seeds

    def has(self, metric: str, at: At = "best") -> bool:
        return all(metric in getattr(one, at) for one in self.outcomes)

    def values(self, metric: str, at: At = "best") -> list[float]:
        """One per seed."""
        return [_number(getattr(one, at)[metric]) for one in self.outcomes]

    def mean(self, metric: str, at: At = "best") -> float:
        return float(np.mean(self.values(metric, at)))

    def spread(self, metric: str, at: At = "best") -> float | None:
        """Standard deviation over seeds; None for a single one."""
        values = self.values(metric, at)
        with np.errstate(invalid="ignore"):  # a run that diverged is not a number
            return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def curves(self) -> list[list[float]]:
        """Per seed: the headline metric on held-out rows, labels as given, after each epoch."""
        found = [one.history.get("held_out_clean", []) for one in self.outcomes]
        return [[_number(value) for value in curve] for curve in found if curve]


@dataclass(frozen=True)
class Level:
    """What was found at one level of label noise."""

    noise: float
    metric: str  # by which arms are compared
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]  # that all arms have
    left_out: tuple[str, ...] = ()  # arms that have too few of these seeds yet

    @property
    def none(self) -> Arm | None:
        """The arm without mixing."""
        return next((arm for arm in self.arms if arm.kind == "none"), None)

    @property
    def rivals(self) -> list[Arm]:
        """All other arms."""
        return [arm for arm in self.arms if arm is not self.none]

    def best(self, kind: str) -> Arm | None:
        """The best arm of a kind, each stopped at its best epoch."""
        arms = [arm for arm in self.arms if arm.kind == kind]
        sign = 1 if METRICS[self.metric].high else -1
        return max(arms, key=lambda arm: sign * arm.mean(self.metric), default=None)

    def against_none(self, metric: str, at: At = "best") -> dict[str, Difference]:
        """Each arm against none, corrected for their number."""
        return self._against(self.none, self.rivals, metric, at)

    def against_smoothing(self) -> dict[str, Difference]:
        """Each mixing arm against the best label smoothing, corrected for their number."""
        mixing = [arm for arm in self.arms if arm.kind == "mix"]
        return self._against(self.best("smooth"), mixing, self.metric, "best")

    def cost(self, metric: str) -> dict[str, Difference]:
        """Of over-training: each arm's last epoch minus its best one, corrected."""
        return corrected(
            {
                arm.name: difference(arm.values(metric, "last"), arm.values(metric))
                for arm in self.arms
                if arm.has(metric) and arm.has(metric, "last")
            }
        )

    def classes(self, arm: Arm) -> dict[int, Difference]:
        """Recall of each class against none, at best, corrected for the number of classes."""
        none = self.none
        if none is None or not (arm.has("recall") and none.has("recall")):
            return {}
        own, other = (
            [[_number(value) for value in one.best["recall"]] for one in some.outcomes]
            for some in (arm, none)
        )
        found = {
            k: difference(a, b)
            for k, (a, b) in enumerate(zip(zip(*own), zip(*other)))
            if not any(map(math.isnan, (*a, *b)))  # a class without test rows
        }
        return corrected(found)

    def can_see(self) -> float | None:
        """The smallest difference to none that these seeds would find, see `detectable`."""
        found = self.against_none(self.metric).values()
        spreads = [d.spread**2 for d in found if d.spread is not None]
        if not spreads:
            return None
        return detectable(math.sqrt(sum(spreads) / len(spreads)), len(self.seeds), len(spreads))

    def _against(
        self, other: Arm | None, arms: Sequence[Arm], metric: str, at: At
    ) -> dict[str, Difference]:
        if other is None or not other.has(metric, at):
            return {}
        return corrected(
            {
                arm.name: difference(arm.values(metric, at), other.values(metric, at))
                for arm in arms
                if arm.has(metric, at)
            }
        )


def levels(task: Task, outcomes: Sequence[Outcome], config: Mapping[str, Any]) -> list[Level]:
    """One per level of label noise, least noise first; arms in the order in which they came."""
    order = list(dict.fromkeys(one.trial.arm for one in outcomes))
    if "arms" in config:  # as they were asked for, whichever finished first
        asked = [str(name) for name in config["arms"]]
        order.sort(key=lambda name: asked.index(name) if name in asked else len(asked))
    metric = headline(task.kind)
    if metric == "accuracy" and unequal(class_counts(outcomes, config)):
        metric = "balanced" if all("balanced" in one.best for one in outcomes) else metric
    noises = sorted({one.trial.noise for one in outcomes})
    return [_level(noise, metric, order, outcomes) for noise in noises]


def class_counts(outcomes: Sequence[Outcome], config: Mapping[str, Any]) -> list[int]:
    """Rows per class, where the comparison tells."""
    places = [config, *(one.notes for one in outcomes[:1])]
    return next((list(place["class_counts"]) for place in places if "class_counts" in place), [])


def unequal(counts: Sequence[int]) -> bool:
    """Whether the largest class has more than 1.5 times the rows of the smallest."""
    there = [count for count in counts if count > 0]
    return bool(there) and max(there) > _UNEQUAL * min(there)


def noise_name(noise: float) -> str:
    return f"{100 * noise:g} % wrong labels" if noise else "labels as given"


def _level(noise: float, metric: str, order: Sequence[str], outcomes: Sequence[Outcome]) -> Level:
    found: dict[str, dict[int, Outcome]] = {name: {} for name in order}
    for one in outcomes:
        if one.trial.noise == noise:
            found[one.trial.arm][one.trial.seed] = one
    kinds = {name: parse(name, "arm")[0].kind for name in order}
    most = max(map(len, found.values()))
    there = [  # an arm that was added and has hardly begun does not take the others' seeds away
        name for name in order if 2 * len(found[name]) >= most or kinds[name] == "none"
    ]
    there = [name for name in there if found[name]]
    shared = set.intersection(*(set(found[name]) for name in there))
    while not shared:  # broken off early: leave out those that came least far, none last
        there.remove(min(there, key=lambda name: (kinds[name] == "none", len(found[name]))))
        shared = set.intersection(*(set(found[name]) for name in there))
    seeds = tuple(sorted(shared))
    arms = tuple(
        Arm(name, kinds[name], tuple(found[name][seed] for seed in seeds)) for name in there
    )
    return Level(noise, metric, arms, seeds, tuple(n for n in order if n not in there))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
