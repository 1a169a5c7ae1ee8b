"""Calls with one kind of batch, from a known start; all checks share their answers."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchmix._audit import _generators
from batchmix._audit._kinds import BatchKind
from batchmix._audit._probe import Absent, Probe
from batchmix._audit._seen import Seen
from batchmix._errors import MixError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, in messages of TensorFlow


@dataclass(frozen=True, eq=False)
class Answers:
    """What the calls gave. Where there are fewer than asked for, `stopped` says why."""

    seen: tuple[Seen, ...]
    generators: frozenset[str]  # global ones that a call drew from
    stopped: str = ""
    absent: bool = False  # there is no such kind of batch here


class Session:
    """Calls one callable. Each run begins with a copy of it and with seeded global generators."""

    def __init__(
        self,
        fn: Callable[..., Any],
        probe: Probe,
        kinds: dict[str, BatchKind],
        calls: int,
        max_unmixed: float,
    ) -> None:
        self.fn, self.probe, self.kinds = fn, probe, kinds
        self.calls, self.max_unmixed = calls, max_unmixed
        self._runs: dict[tuple[Any, ...], Answers] = {}

    def run(
        self,
        kind: BatchKind,
        *,
        seed: int = 0,
        turn: int = 0,
        epochs: tuple[int | None, ...] = (None,),
    ) -> Answers:
        """`calls` calls in each epoch; another `turn` repeats a run that is otherwise the same."""
        key = (kind.name, seed, turn, epochs)
        if key not in self._runs:
            self._runs[key] = self._call(kind, seed, epochs)
        return self._runs[key]

    def _call(self, kind: BatchKind, seed: int, epochs: tuple[int | None, ...]) -> Answers:
        seen: list[Seen] = []
        drawn: set[str] = set()
        fn = fresh(self.fn)
        try:
            known = _generators.known(self.probe.fields(kind)["image"])
            _generators.seed(known, seed)
            for turn in range(len(epochs) * self.calls):
                epoch = epochs[turn // self.calls]
                if epoch is not None and turn % self.calls == 0:
                    fn.set_epoch(epoch)  # type: ignore[attr-defined]
                before = _generators.states(known)
                seen.append(self.probe(fn, kind))
                after = _generators.states(known)
                drawn |= {name for name in before if before[name] != after[name]}
        except Absent as nothing:
            return Answers((), frozenset(), str(nothing), absent=True)
        except Exception as error:  # any kind, as the code is not ours
            if isinstance(error, MixError) and str(error).startswith("audit()"):
                raise  # the answer of `fn` has a form that is not known
            said = _COLOUR.sub("", " ".join(f"{type(error).__name__}: {error}".split()))
            stopped = said if len(said) <= 160 else said[:159] + "…"
            return Answers(tuple(seen), frozenset(drawn), stopped)
        return Answers(tuple(seen), frozenset(drawn))


def fresh(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A copy; what cannot be copied is used itself."""
    try:
        return copy.deepcopy(fn)
    except Exception:  # any kind: locks, generators and modules each have their own
        return fn
