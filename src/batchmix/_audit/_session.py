"""Calls of one kind of batch, one after the other, from a known beginning; kept for all checks."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchmix._audit import _generators
from batchmix._audit._case import Case
from batchmix._audit._probe import Absent, Probe, Seen
from batchmix._errors import MixError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, in messages of TensorFlow


@dataclass(frozen=True, eq=False)
class Run:
    """What the calls gave; why there are fewer than asked for, and whether that is a refusal."""

    seen: tuple[Seen, ...]
    generators: frozenset[str]  # global ones that a call drew from
    stopped: str = ""
    absent: bool = False


class Session:
    """Runs of one callable. Each begins with a copy of it and with global generators seeded."""

    def __init__(
        self,
        fn: Callable[..., Any],
        probe: Probe,
        cases: dict[str, Case],
        calls: int,
        max_unmixed: float,
    ) -> None:
        self.fn, self.probe, self.cases = fn, probe, cases
        self.calls, self.max_unmixed = calls, max_unmixed
        self._runs: dict[tuple[Any, ...], Run] = {}

    def run(
        self, case: Case, *, seed: int = 0, turn: int = 0, epochs: tuple[int | None, ...] = (None,)
    ) -> Run:
        """`calls` calls in each epoch; `turn` tells runs apart that are alike in all else."""
        key = (case.name, seed, turn, epochs)
        if key not in self._runs:
            self._runs[key] = self._call(case, seed, epochs)
        return self._runs[key]

    def _call(self, case: Case, seed: int, epochs: tuple[int | None, ...]) -> Run:
        """All calls of a run."""
        seen: list[Seen] = []
        drawn: set[str] = set()
        fn = fresh(self.fn)
        try:
            known = _generators.known(self.probe.fields(case)["image"])
            _generators.seed(known, seed)
            for turn in range(len(epochs) * self.calls):
                epoch = epochs[turn // self.calls]
                if epoch is not None and turn % self.calls == 0:
                    fn.set_epoch(epoch)  # type: ignore[attr-defined]
                before = _generators.states(known)
                seen.append(self.probe(fn, case))
                after = _generators.states(known)
                drawn |= {name for name in before if before[name] != after[name]}
        except Absent as nothing:
            return Run((), frozenset(), str(nothing), absent=True)
        except Exception as error:  # whatever the code of others raises
            if isinstance(error, MixError) and str(error).startswith("audit()"):
                raise  # its answer cannot be read
            said = _COLOUR.sub("", " ".join(f"{type(error).__name__}: {error}".split()))
            stopped = said if len(said) <= 160 else said[:159] + "…"
            return Run(tuple(seen), frozenset(drawn), stopped)
        return Run(tuple(seen), frozenset(drawn))


def fresh(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A copy in the state in which it was given; what cannot be copied is used as it is."""
    try:
        return copy.deepcopy(fn)
    except Exception:  # locks, generators, modules: any class may have its own reason
        return fn
