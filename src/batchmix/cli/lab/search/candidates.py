"""A search whatever its engine: what it asks, and the candidates that it has tried."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from batchmix._errors import MixError, mix_error
from batchmix.cli._forms import FORMS
from batchmix.cli._words import parse
from batchmix.cli.lab.search.space import Space

Pruner = Literal["median", "hyperband", "none"]
State = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Search:
    """What is searched, and how; `seeds` and `noise` are those of every candidate's training."""

    space: Space
    seeds: tuple[int, ...]
    noise: float
    high: bool  # whether a high metric is good
    trials: int  # candidates to try
    jobs: int
    pruner: Pruner = "median"
    seed: int = 0  # of the sampler

    @property
    def most(self) -> int:
        """Epochs of a candidate that is trained to the end."""
        return self.space.epochs * len(self.seeds)


@dataclass(frozen=True)
class Candidate:
    """An arm that a search has tried."""

    arm: str
    state: State
    value: float | None  # best headline metric on held-out rows, the mean over the search's seeds
    epochs: int = 0  # that were trained, of all seeds
    why: str = ""  # it failed


def check_candidate(one: Candidate) -> None:
    """ValueError where no search writes it."""
    policy = one.arm.partition(":")[0] if isinstance(one.arm, str) else None
    if policy not in (*FORMS, "none") or len(one.arm.split()) != 1:
        raise ValueError(f"a candidate is called {repr(one.arm)[:80]}")
    parse(one.arm, "a candidate")
    number = type(one.value) is float and math.isfinite(one.value)
    if not (number or (one.value is None and (one.state != "finished" or one.arm == "none"))):
        raise ValueError(f"{one.arm} has the value {one.value!r}")
    if one.state not in get_args(State) or type(one.epochs) is not int or one.epochs < 0:
        raise ValueError(f"{one.arm} is {one.state!r} after {one.epochs!r} epochs")
    if not isinstance(one.why, str):
        raise ValueError(f"{one.arm} failed because of {one.why!r}")


def ranked(candidates: list[Candidate], high: bool) -> list[Candidate]:
    """Those that were trained to the end, the best first; each arm once."""
    whole = [(c.value, c) for c in candidates if c.state == "finished" and c.value is not None]
    order = [c for _, c in sorted(whole, key=lambda each: each[0], reverse=high)]
    return list({c.arm: c for c in reversed(order)}.values())[::-1]


def best_epoch(held_out: Sequence[float], high: bool) -> float:
    """The best of a metric's values; one that diverged is the worst there can be."""
    there = [value for value in held_out if math.isfinite(value)]
    return max(there, default=-math.inf) if high else min(there, default=math.inf)


def check_same(path: Path, now: Mapping[str, Any], was: Mapping[str, Any] | None) -> None:
    """Refuse to go on with a search of something else, which `path` keeps."""
    for name, value in json.loads(json.dumps(dict(now))).items():
        if was is not None and was.get(name) != value:
            raise mix_error(
                f"{path}",
                f"{name} is {value!r}, that of the search kept there is {was.get(name)!r}.",
                "Only the same search can be continued.",
                "Give the same arguments, or choose another --out.",
            )


def unreadable(path: Path, why: str) -> MixError:
    """Of a file that is not what a search has kept."""
    return mix_error(
        f"{path}", f"it cannot be read ({why}).", "A search is kept in this file.",
        "Remove it, or choose another --out.",
    )  # fmt: skip
