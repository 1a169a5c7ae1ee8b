"""What a comparison found, as a table for the terminal and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy
import torch
from rich import box
from rich.table import Table

import batchmix
from batchmix.cli.lab.verdict import Result, difference, noise_name

_COLUMNS = {  # metric: (heading, scale, decimals)
    "accuracy": ("accuracy\n%", 100, 1),
    "nll": ("NLL\n", 1, 2),
    "ece": ("ECE\n%", 100, 1),
    "ece_scaled": ("ECE %\nafter TS", 100, 1),
    "memorised": ("memorised\n%", 100, 1),
}
NOTE = (
    "±: spread over seeds; against none: mean paired difference ± its standard error, and how "
    "many seeds have its sign. TS: temperature scaling, fitted on held-out rows. "
    "Memorised: share of the wrong training labels that the model predicts."
)


def table(noise: float, results: Sequence[Result]) -> Table:
    """One level of label noise: a line per policy, mean ± spread over seeds."""
    none = next(r for r in results if r.kind == "none")
    columns = [metric for metric in _COLUMNS if metric in none.values]
    grid = Table(
        title=noise_name(noise), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False,
        pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for heading in ("policy\n", "accuracy\n%", "against none,\nseeds agree"):
        side: Literal["left", "right"] = "left" if heading == "policy\n" else "right"
        grid.add_column(heading, justify=side, no_wrap=True)
    for metric in columns[1:]:
        grid.add_column(_COLUMNS[metric][0], justify="right", no_wrap=True)
    for result in results:
        cells = [_cell(result, metric) for metric in columns]
        against = difference(result, none)
        beside = f"{against.points().replace(' ', '')} {against.agree}/{against.seeds}"
        grid.add_row(result.name, cells[0], "" if result is none else beside, *cells[1:])
    return grid


def _cell(result: Result, metric: str) -> str:
    """Mean and spread, such as 97.1±0.4."""
    _, scale, decimals = _COLUMNS[metric]
    spread = result.spread(metric)
    text = f"{scale * result.mean(metric):.{decimals}f}"
    return text if spread is None else f"{text}±{scale * spread:.{decimals}f}"


def as_json(
    config: Mapping[str, Any],
    rows: Mapping[str, int],
    found: Mapping[float, Sequence[Result]],
    verdicts: Sequence[str],
) -> bytes:
    """Every metric, with all that is needed to repeat the comparison."""
    report = {
        "verdict": list(verdicts),
        "config": dict(config),
        "rows": dict(rows),
        "versions": versions(),
        "results": [
            {"label_noise": noise, "policy": r.name, "kind": r.kind, "runs": r.values}
            | {"mean": {metric: r.mean(metric) for metric in r.values}}
            | {"spread": {metric: r.spread(metric) for metric in r.values}}
            | {"against_none": _against(r, next(n for n in results if n.kind == "none"))}
            for noise, results in found.items()
            for r in results
        ],
    }
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def _against(result: Result, none: Result) -> dict[str, dict[str, float | int | None]]:
    """The paired difference to no mixing, for every metric."""
    return {
        metric: {"mean": d.mean, "standard_error": d.error, "seeds_agree": d.agree}
        for metric in result.values
        for d in [difference(result, none, metric)]
    }


def versions() -> dict[str, str]:
    """Versions of what made the metrics."""
    return {
        "python": platform.python_version(),
        "batchmix": batchmix.__version__,
        "numpy": numpy.__version__,
        "torch": torch.__version__,
    }
