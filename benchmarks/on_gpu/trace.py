"""What a trace of torch.profiler says: whose kernels ran how long, and if the device waited."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_LAUNCHES = ("cuda_runtime", "cuda_driver")
_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


class Share(NamedTuple):
    """Milliseconds of one step, on average."""

    part: float  # of what was launched within the named ranges
    all: float  # of everything that ran on the device
    step: float  # from the first of these to the end of the last
    idle: float  # of the step, nothing ran
    launches: float  # within the named ranges


def load(path: Path) -> list[Mapping[str, Any]]:
    """The events of an exported trace."""
    with gzip.open(path, "rt") as file:
        events: list[Mapping[str, Any]] = json.load(file)["traceEvents"]
    return events


def share(events: Iterable[Mapping[str, Any]], name: str, steps: int) -> Share | None:
    """What ranges called `name` launched; None where nothing ran on a device."""
    whole = [event for event in events if event.get("ph") == "X"]
    ranges = [e for e in whole if e.get("cat") == "user_annotation" and e["name"] == name]
    inside = {
        _correlation(event)
        for event in whole
        if event.get("cat") in _LAUNCHES and any(_within(event, r) for r in ranges)
    }
    ran = sorted((e for e in whole if e.get("cat") in _ON_DEVICE), key=lambda e: float(e["ts"]))
    if not ran:
        return None
    part = [event for event in ran if _correlation(event) in inside]
    span = max(_end(event) for event in ran) - float(ran[0]["ts"])

    def each(micro: float) -> float:
        return round(micro / steps / 1e3, 5)

    return Share(
        part=each(sum(float(event["dur"]) for event in part)),
        all=each(sum(float(event["dur"]) for event in ran)),
        step=each(span),
        idle=each(span - _busy(ran)),
        launches=len(part) / steps,
    )


def _correlation(event: Mapping[str, Any]) -> Any:
    """What a launch and its kernel have in common."""
    return event.get("args", {}).get("correlation")


def _end(event: Mapping[str, Any]) -> float:
    return float(event["ts"]) + float(event.get("dur", 0))


def _within(event: Mapping[str, Any], outer: Mapping[str, Any]) -> bool:
    """On the same thread, in the time of."""
    same = event.get("tid") == outer.get("tid") and event.get("pid") == outer.get("pid")
    return same and float(outer["ts"]) <= float(event["ts"]) <= _end(outer)


def _busy(ran: Iterable[Mapping[str, Any]]) -> float:
    """Microseconds in which something ran; several streams may run at once."""
    total, until = 0.0, float("-inf")
    for event in ran:
        start, end = float(event["ts"]), _end(event)
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
