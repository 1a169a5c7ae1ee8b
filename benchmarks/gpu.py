"""How fast is mixing on a GPU, beside other libraries and beside a copy? See README.md.

python benchmarks/gpu.py                        on a machine with a GPU: some minutes
python benchmarks/gpu.py --device cpu --quick   does all of it run? tiny batches, no GPU figures
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from typer import Option

from batchmix.cli._output import write
from on_gpu.goals import GOALS
from on_gpu.in_jax import jax
from on_gpu.machine import libraries, machine
from on_gpu.measure import Setting, freed, reason
from on_gpu.parts import PARTS
from on_gpu.printed import grid, notes, title
from on_gpu.replay import graph
from on_gpu.stopwatch import clock_of
from on_gpu.training import step
from report import Report
from tables import targets

HERE = Path(__file__).parent
# what targets are about first; last what can leave a device broken
ALL = {
    **{name: PARTS[name] for name in ("main", "normalize")},
    "step": step, **PARTS, "jax": jax, "graph": graph,
}  # fmt: skip
_SECONDS, _MINUTES = 0.3, 8.0


def bench(
    quick: Annotated[bool, Option("--quick", help="Fewer samples and layouts.")] = False,
    device: Annotated[
        Literal["cuda", "cpu"], Option(help="cpu: tiny batches, which show that everything runs.")
    ] = "cuda",
    only: Annotated[
        list[str] | None, Option(help=f"Parts of {', '.join(ALL)}; repeatable.")
    ] = None,
    seconds: Annotated[
        float | None, Option(min=0.0, help=f"Of device time per line. Default: {_SECONDS}.")
    ] = None,
    minutes: Annotated[
        float, Option(min=0.0, help="After these no further part is begun.")
    ] = _MINUTES,
    out: Annotated[
        Path | None,
        Option(
            file_okay=False, writable=True,
            help="Folder for gpu.json, written after each part, and for traces. Default: that of "
            "this script, without traces, if everything is run on a GPU; else none.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Time batchmix and the libraries that are installed on a GPU, in turn, on the same batches.

    Each line is checked against a float64 oracle first. What fails, or is not installed, is a line
    with the reason. Prints tables and the targets: hit, missed, or not measured.
    """
    unknown = [name for name in only or () if name not in ALL]
    if unknown:
        raise typer.BadParameter(
            f"got {unknown[0]!r}; parts are {', '.join(ALL)}.", param_hint="--only"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter(
            "PyTorch sees no GPU. --device cpu shows that everything runs, on tiny batches.",
            param_hint="--device",
        )
    begun, chosen = time.monotonic(), list(dict.fromkeys(only or ALL))
    each = 0.0 if device == "cpu" else _SECONDS / 3 if quick else _SECONDS
    each = each if seconds is None else seconds
    setting = Setting(device, quick, each, clock_of(device), out)
    if out is None and device == "cuda" and not (quick or only):
        out = HERE
    content: dict[str, Any] = {
        "command": _command(quick, device, only or [], seconds),
        "device": device,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(device),
        "libraries": libraries(),
        "parts": {},
        "runs": [],
    }
    kept(content, out)  # a folder that cannot be written to is told of now, and not at the end
    try:
        for name in chosen:
            late = time.monotonic() - begun >= 60 * minutes
            why = f"not begun: {minutes:g} minutes were over" if late else None
            runs = [] if late else measure(content, name, setting)
            content["parts"].setdefault(name, {"seconds": 0.0, "failed": why})
            kept(content, out)
            show(report_of(content, runs), device)
    except KeyboardInterrupt:
        told = f"{out / _file(device)} has the parts before it" if out else "nothing is kept"
        print(f"interrupted; {told}", file=sys.stderr)
        os._exit(130)  # a device that hangs does not keep the process
    end(content)
    if out is not None:
        print(out / _file(device))


def kept(content: dict[str, Any], out: Path | None) -> None:
    """What there is so far, in a file."""
    if out is None:
        return
    try:
        write(out / _file(content["device"]), (json.dumps(content) + "\n").encode())
    except OSError as error:
        raise typer.BadParameter(
            f"{error.filename} cannot be written ({error.strerror}).", param_hint="--out"
        ) from None


def measure(content: dict[str, Any], name: str, setting: Setting) -> list[dict[str, Any]]:
    """The tables of one part; one that fails says why, and has those before it."""
    start, told, runs = time.monotonic(), dict[str, Any](), list[dict[str, Any]]()
    try:
        for run in ALL[name](setting):
            runs.append(run)
    except Exception as problem:
        told["failed"] = reason(problem)
    freed(setting)
    content["runs"] += runs
    content["parts"][name] = {"seconds": round(time.monotonic() - start, 1), **told}
    print(f"{name}: {content['parts'][name]}", file=sys.stderr, flush=True)
    return runs


def report_of(content: dict[str, Any], runs: list[dict[str, Any]]) -> Report:
    """With what `report.Line` knows of a table."""
    known = ("threads", "allocator", "group", "shape", "bytes", "cases")
    tables = [{name: run[name] for name in known} for run in runs]
    return Report.of({**content, "runs": tables})


def show(report: Report, device: str) -> None:
    """Tables on the terminal."""
    for group, shape in dict.fromkeys((line.group, line.shape) for line in report.lines):
        table = report.find(group=group, shape=shape)
        _wide().print(grid(table, device).on_terminal(), "", highlight=False)


def end(content: dict[str, Any]) -> None:
    """What is no table, the targets, and where and with what: last, where it is read."""
    for line in notes(content):
        _wide().print(line, highlight=False, markup=False)
    report = report_of(content, content["runs"])
    _wide().print(targets(report, GOALS, "device time").on_terminal(), "", highlight=False)
    _wide().print(title(content), highlight=False, markup=False)


def _wide() -> Console:
    """A table that is cut off helps nobody."""
    return Console(width=max(Console().width, 160))


def _file(device: str) -> str:
    """Nobody takes times of a CPU for those of a GPU."""
    return "gpu.json" if device == "cuda" else "gpu-tried-on-cpu.json"


def _command(quick: bool, device: str, only: list[str], seconds: float | None) -> str:
    """The command line without paths, which are this machine's own business."""
    words = [
        "benchmarks/gpu.py",
        *["--quick"] * quick,
        *[f"--device {device}"] * (device != "cuda"),
    ]
    words += [f"--only {name}" for name in only]
    words += [] if seconds is None else [f"--seconds {seconds:g}"]
    return " ".join(words)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    typer.run(bench)
