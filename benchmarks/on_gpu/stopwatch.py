"""Seconds of a call on a device: of a loop that the device keeps waiting, not the host."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import cases as c
from clock import timed

_SAMPLE, _CALLS, _FILLS = 1e-3, 8, 200  # seconds of a sample, calls and fillers in it at most


def turning(cases: Sequence[c.Case], start: int) -> c.Case:
    """The same line on one batch after the other, from another one than the line before it."""
    at = start % len(cases)
    calls = itertools.cycle([case.call for case in (*cases[at:], *cases[:at])])
    return replace(cases[0], call=lambda: next(calls)())


@dataclass(frozen=True)
class _Sample:
    """How a line is sampled."""

    calls: int  # between two events
    fills: int  # before the first: the host has launched all calls when they are done


class Queue:
    """Events around several calls, behind work that gives the host time to launch them.

    That work reads memory larger than the cache: what is timed finds nothing in it. Results are
    kept until the last call has returned, so that each allocates memory of its own.
    """

    def __init__(self, device: str = "cuda", room: int = 64 << 20) -> None:
        self.samples: dict[c.Case, _Sample] = {}
        self.room: Any = torch.ones((1, room), device=device)  # 256 MB
        self.total: Any = torch.empty(1, device=device)
        self._fill(3)
        self.fill_seconds = self._between(lambda: self._fill(10)) / 10

    def _fill(self, times: int) -> None:
        for _ in range(times):
            torch.sum(self.room, 1, out=self.total)

    def _between(self, work: Any) -> float:
        """Seconds of the device."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    def prepared(self, case: c.Case) -> None:
        """Warm up, and choose how the line is sampled."""
        for _ in range(3):
            case.call()
        torch.cuda.synchronize()
        start = time.perf_counter()
        result = case.call()
        host = time.perf_counter() - start
        torch.cuda.synchronize()
        both = time.perf_counter() - start
        del result
        calls = max(1, min(_CALLS, int(_SAMPLE / both)))
        fills = min(_FILLS, 1 + math.ceil(1.5 * calls * host / self.fill_seconds))
        self.samples[case] = _Sample(calls, fills)
        self(case)

    def __call__(self, case: c.Case) -> float:
        """Seconds of one call, on average."""
        sample = self.samples[case]
        self._fill(sample.fills)
        results: list[Any] = []
        work = lambda: results.extend(case.call() for _ in range(sample.calls))  # noqa: E731
        return self._between(work) / sample.calls

    def host(self, case: c.Case, samples: int = 7) -> list[float]:
        """Seconds until the call returns, with nothing before it in the queue."""
        found = []
        for _ in range(samples):
            torch.cuda.synchronize()
            found.append(timed(case))
        torch.cuda.synchronize()
        return found


class Plain:
    """The CPU's own clock: it shows that everything runs, and nothing about a GPU."""

    def prepared(self, case: c.Case) -> None:
        """Warm up."""
        case.call()

    def __call__(self, case: c.Case) -> float:
        return timed(case)

    def host(self, case: c.Case) -> list[float]:
        """There is no other than the one that waits."""
        return []


def clock_of(device: str) -> Queue | Plain:
    """The one of a device."""
    return Queue() if device == "cuda" else Plain()


def middle(seconds: Sequence[float]) -> float | None:
    """The median in milliseconds."""
    return round(1e3 * float(np.median(seconds)), 5) if seconds else None
