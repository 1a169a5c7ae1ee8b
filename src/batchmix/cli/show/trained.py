"""What a run came to: the figures of its best and of its last epoch, and where its files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchmix.cli._output import shown
from batchmix.cli.lab.outcome import METRICS, limit_of
from batchmix.cli.lab.run.logs import written
from batchmix.cli.lab.run.state import CHECKPOINT, MADE


def trained(result: Mapping[str, Any], out: Path, logs: Sequence[str]) -> Iterator[str]:
    """Lines."""
    best, last = result["best"], result["last"]
    heads = [
        f"{which} epoch ({one['epoch'] + 1})" for which, one in (("best", best), ("last", last))
    ]
    yield f"{'test rows':<20}" + "".join(f"{head:>20}" for head in heads)
    for name, metric in METRICS.items():
        if name in best:
            figures = (metric.words(one[name]) for one in (best, last))
            yield f"{metric.heading:<20}" + "".join(f"{figure:>20}" for figure in figures)
    yield ""
    for temperature in sorted({one.get("temperature", 1.0) for one in (best, last)}):
        if why := limit_of(temperature):
            yield f"temperature {temperature:.2f}: {why}"
    rows = result["rows"]
    yield f"rows: {rows['train']:,} train, {rows['held_out']:,} held out, {rows['test']:,} test"
    yield ""
    for file in (*MADE, CHECKPOINT, *written(logs)):
        yield shown(out / file)
