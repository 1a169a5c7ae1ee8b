"""How fast is mixing, beside other libraries and beside the memory's limit? See README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
from rich.console import Console
from typer import Option

import cases as c
import peers
from batchmix.cli._output import write
from figure import figure
from processes import Setting, cores, run_all
from report import Report
from tables import page, printed
from targets import FRONT_DOOR, TARGETS, Target

HERE = Path(__file__).parent
_GRID: list[c.Shape] = [
    *((rows, 3, 32, 32) for rows in (32, 128, 512, 2048)),
    (32, 3, 64, 64),
    *((rows, 3, 224, 224) for rows in (32, 64, 128, 256)),
    (64, 3, 384, 384),
]


class _Part(NamedTuple):
    """What `--only` runs."""

    process: peers.Process
    goals: list[Target]


_PARTS = {"front-door": _Part(peers.FRONT_DOOR, FRONT_DOOR), "policies": _Part(peers.POLICIES, [])}


def bench(
    quick: Annotated[
        bool, Option("--quick", help="One thread, warm allocator, few shapes: a few minutes.")
    ] = False,
    only: Annotated[
        Literal["front-door", "policies"] | None,
        Option(
            help="Mixer and the drop-ins, or the policies one by one: one thread, warm allocator, "
            "a minute or a few."
        ),
    ] = None,
    shape: Annotated[
        list[str] | None, Option(help="These batches instead, such as 256x3x224x224; repeatable.")
    ] = None,
    threads: Annotated[
        list[int] | None, Option(min=1, help="Repeatable. Default: 1, and one per core.")
    ] = None,
    allocator: Annotated[
        Literal["both", "warm", "shipped"] | None,
        Option(help="warm: freed memory is used again; shipped: as the system has it."),
    ] = None,
    seconds: Annotated[
        float | None, Option(min=0.0, help="Per line and setting, five samples at least.")
    ] = None,
    datarax: Annotated[
        Path | None,
        Option(exists=True, dir_okay=False, help="Python of an environment that has Datarax."),
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            file_okay=False, writable=True,
            help="Folder for results.json, results.png and README.md. Default: that of this script "
            "if everything is run, else none.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Time batchmix and the libraries that are installed, in turn, on the same batches.

    Each library is checked against a float64 oracle first. One that is absent is listed with the
    reason. Prints tables and the targets, hit or missed; the full run takes about 25 minutes.
    """
    command = _command(quick, only or "", shape or [], threads or [], allocator or "", seconds)
    shapes = [_shape(text) for text in shape or ()]
    part = quick or bool(only)
    whole = not (part or shapes or threads or allocator)
    out = HERE if whole and out is None else out
    everywhere = not (part or shapes)
    allocator = allocator or ("warm" if part else "both")
    settings = [
        Setting(
            threads=count,
            allocator=kind,
            shapes=_GRID if everywhere and count == 1 else shapes or [c.LARGE, c.SMALL],
            headline=shapes or ([c.LARGE, c.SMALL] if everywhere else [c.LARGE]),
            doors=shapes or c.DOORS,
            seconds=seconds if seconds is not None else 0.4 if everywhere else 0.2,
        )
        for count in threads or ([1] if part else sorted({1, cores()}))
        for kind in (["warm", "shipped"] if allocator == "both" else [allocator])
    ]
    processes = [_PARTS[only].process] if only else peers.PROCESSES
    goals = _PARTS[only].goals if only else TARGETS
    content = run_all(settings, command, datarax, processes)
    report = Report.of(content)
    console = Console()
    wide = Console(width=max(console.width, 150))  # a table that is cut off helps nobody
    for part_of_it in printed(report, goals):
        wide.print(part_of_it, highlight=False)
    if out is None:
        return
    written = {"results.json": (json.dumps(content) + "\n").encode()}
    if not only:
        readme = out / "README.md"
        before = readme.read_text() if readme.exists() else ""
        written |= {"results.png": figure(report), "README.md": page(before, report).encode()}
    for name, data in written.items():
        write(out / name, data)
        print(out / name)


def _shape(text: str) -> c.Shape:
    """256x3x224x224: rows, channels, height, width."""
    try:
        rows, channels, height, width = map(int, text.split("x"))
        if min(rows, height, width) >= 2 and rows % 2 == 0 and channels == 3:
            return rows, channels, height, width
    except ValueError:
        pass
    raise typer.BadParameter(
        f"got {text!r}; a shape is ROWSx3xHEIGHTxWIDTH, such as 256x3x224x224, with an even number "
        "of rows (timm needs it).",
        param_hint="--shape",
    )


def _command(
    quick: bool, only: str, shape: list[str], threads: list[int], allocator: str,
    seconds: float | None,
) -> str:  # fmt: skip
    """The command line without paths, which are this machine's own business."""
    words = ["benchmarks/run.py", *["--quick"] * quick, *[f"--only {only}"] * bool(only)]
    words += [f"--shape {text}" for text in shape] + [f"--threads {count}" for count in threads]
    words += [f"--allocator {allocator}"] * bool(allocator)
    words += [] if seconds is None else [f"--seconds {seconds:g}"]
    return " ".join(words)


if __name__ == "__main__":
    typer.run(bench)
