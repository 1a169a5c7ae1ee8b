"""Predictions as lines for people, CSV, or one JSON document.

Lines and CSV are written as the batches come; JSON keeps the values that it shows.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchmix.cli._output import print_json, shown
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.lab.saved.config import Saved
from batchmix.cli.show.confusion import worst

_FILE, _NAME = 38, 16  # columns of 80
Best = list[tuple[str, float]]


@dataclass(frozen=True)
class Summary:
    """What is known when all rows were predicted."""

    metrics: Mapping[str, float]
    matrix: NDArray[np.int64] | None  # confusions, where they are asked for
    skipped: Sequence[tuple[str, str]]
    note: str = ""  # which rows these are


class Output(Protocol):
    """Takes batches: names of files, values [B, K], and targets where they are known."""

    def add(self, names: Sequence[str], values: NDArray[Any], y: NDArray[Any] | None) -> None: ...
    def end(self, summary: Summary) -> None: ...


def best(saved: Saved, values: NDArray[Any], top_k: int) -> Iterator[Best]:
    """For each row the likeliest names, or the numbers in their order."""
    names = saved.task.names
    for row in values:
        order = range(len(row))
        if saved.task.kind != "numbers":
            order = np.argsort(-row, kind="stable")[:top_k].tolist()
        yield [(names[i], float(row[i])) for i in order]


def target(saved: Saved, y: Any) -> Any:
    """A target in words: a name, names, or numbers."""
    names = saved.task.names
    if saved.task.kind == "classes":
        return names[int(y)]
    if saved.task.kind == "labels":
        return [name for name, there in zip(names, y) if there]
    return [float(value) for value in y]


class Table:
    """A line per file, and one more per further class, label or number; 80 columns."""

    def __init__(self, saved: Saved, top_k: int, known: bool) -> None:
        self._saved, self._top_k = saved, top_k
        unit = "value" if saved.task.kind == "numbers" else "%"
        told = "  target" if known else ""
        print(f"{'file':<{_FILE}}  {'':<{_NAME}}  {unit:>8}{told}")

    def add(self, names: Sequence[str], values: NDArray[Any], y: NDArray[Any] | None) -> None:
        for i, found in enumerate(best(self._saved, values, self._top_k)):
            told = "" if y is None else "  " + _cut(_words(target(self._saved, y[i])), 12)
            for k, (name, value) in enumerate(found):
                file = "" if k else _cut(names[i], _FILE, end=True)
                figure = f"{value:>8.4g}"
                if self._saved.task.kind != "numbers":
                    figure = f"{100 * value:>8.1f}"
                print(f"{file:<{_FILE}}  {_cut(name, _NAME):<{_NAME}}  {figure}{'' if k else told}")

    def end(self, summary: Summary) -> None:
        for line in told(self._saved, summary):
            print(line)


class Csv:
    """A line per file: the likeliest classes and their probabilities, or a column per name."""

    def __init__(self, saved: Saved, top_k: int, known: bool) -> None:
        self._saved, self._top_k = saved, min(top_k, saved.task.outputs)
        self._write = csv.writer(sys.stdout, lineterminator="\n").writerow
        columns = list(map(shown, saved.task.names))
        if saved.task.kind == "classes":
            columns = ["label", "probability"]
            for k in range(2, self._top_k + 1):
                columns += [f"label_{k}", f"probability_{k}"]
        self._write(["file", *columns, *(["target"] if known else [])])

    def add(self, names: Sequence[str], values: NDArray[Any], y: NDArray[Any] | None) -> None:
        if self._saved.task.kind == "classes":
            found: Any = [
                [cell for name, value in row for cell in (shown(name), f"{value:.6g}")]
                for row in best(self._saved, values, self._top_k)
            ]
        else:
            found = [[f"{value:.6g}" for value in row] for row in values.tolist()]
        for i, cells in enumerate(found):
            told = [] if y is None else [_words(target(self._saved, y[i]), "|")]
            self._write([shown(names[i]), *cells, *told])

    def end(self, summary: Summary) -> None:
        pass


class Json:
    """One document at the end."""

    def __init__(self, saved: Saved, top_k: int, known: bool) -> None:
        self._saved, self._top_k = saved, top_k
        self._found: list[dict[str, Any]] = []

    def add(self, names: Sequence[str], values: NDArray[Any], y: NDArray[Any] | None) -> None:
        word = "value" if self._saved.task.kind == "numbers" else "probability"
        for i, row in enumerate(best(self._saved, values, self._top_k)):
            one = {"file": names[i], "predicted": [{"name": n, word: v} for n, v in row]}
            self._found.append(one | ({} if y is None else {"target": target(self._saved, y[i])}))

    def end(self, summary: Summary) -> None:
        matrix = {} if summary.matrix is None else {
            "confusion": {"names": self._saved.task.names, "rows": summary.matrix.tolist()}
        }  # fmt: skip
        print_json({
            "model": self._saved.training.model,
            "task": self._saved.task.kind,
            "temperature": self._saved.temperature,
            "rows": summary.note,
            "metrics": summary.metrics,
            **matrix,
            "files": self._found,
            "skipped": [{"file": name, "why": why} for name, why in summary.skipped],
        })  # fmt: skip


OUTPUTS: Mapping[str, type[Table] | type[Csv] | type[Json]] = {
    "table": Table, "csv": Csv, "json": Json,
}  # fmt: skip


def told(saved: Saved, summary: Summary) -> list[str]:
    """Metrics, the most frequent confusions and the files left out, in lines."""
    metrics = summary.metrics.items()
    lines = [f"{METRICS[name].heading}: {METRICS[name].words(value)}" for name, value in metrics]
    if summary.matrix is not None:
        lines += worst(summary.matrix, saved.task.names)
    lines += [summary.note] if summary.note and metrics else []
    lines += [f"skipped: {shown(name)}: {shown(why)}" for name, why in summary.skipped]
    return ["", *lines] if lines else []


def _words(found: Any, between: str = ", ") -> str:
    """A target in one cell."""
    if isinstance(found, str):
        return shown(found)
    return between.join(shown(one) if isinstance(one, str) else f"{one:.6g}" for one in found)


def _cut(name: str, most: int, end: bool = False) -> str:
    """A name in so many columns; of a path the end says more."""
    name = shown(name)
    if len(name) <= most:
        return name
    return "…" + name[1 - most :] if end else name[: most - 1] + "…"
