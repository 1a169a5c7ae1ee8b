"""`batchmix bench`: how fast is mixing, beside other libraries and beside the memory's limit?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from batchmix._errors import mix_error
from batchmix.cli._files import check_folder, write

Allocator = Literal["both", "warm", "shipped"]
Shape = tuple[int, int, int, int]

LARGE, SMALL = (256, 3, 224, 224), (512, 3, 32, 32)  # the shapes that tables are printed for
_GRID = [
    *((rows, 3, 32, 32) for rows in (32, 128, 512, 2048)),
    (32, 3, 64, 64),
    *((rows, 3, 224, 224) for rows in (32, 64, 128, 256)),
    (64, 3, 384, 384),
]


@dataclass(frozen=True)
class Setting:
    """Threads and allocator of a process, and the shapes that are run with them."""

    threads: int
    allocator: str
    shapes: list[Shape]
    headline: list[Shape]  # of uint8 images, and of the libraries that need their own process
    seconds: float


def bench(
    quick: Annotated[
        bool, Option("--quick", help="One thread, warm allocator, two shapes: two minutes.")
    ] = False,
    shape: Annotated[
        list[str] | None, Option(help="These batches instead, such as 256x3x224x224; repeatable.")
    ] = None,
    threads: Annotated[
        list[int] | None, Option(min=1, help="Repeatable. Default: 1, and one per core.")
    ] = None,
    allocator: Annotated[
        Allocator | None,
        Option(help="warm: freed memory is used again; shipped: as the system has it."),
    ] = None,
    seconds: Annotated[
        float | None, Option(min=0.0, help="Per line and setting, five samples at least.")
    ] = None,
    datarax: Annotated[
        Path | None,
        Option(exists=True, dir_okay=False, help="Python of an environment that has Datarax."),
    ] = None,
    out: Annotated[Path, Option(help="Folder for results.json, results.png and README.md.")] = Path(
        "batchmix-bench"
    ),
) -> None:
    """Time batchmix and the libraries that are installed, in turn, on the same batches.

    Each library is checked against a float64 oracle first. One that is absent is listed with the
    reason. Prints tables and the targets, hit or missed; the full run takes about 20 minutes.
    """
    command = _command(quick, shape or [], threads or [], allocator or "", seconds)
    shapes = [_shape(text) for text in shape or ()]
    check_folder(out)

    from batchmix.cli.bench import _processes

    cores = _processes.cores()
    everything = not (quick or shapes)
    allocator = allocator or ("warm" if quick else "both")
    grid = _GRID if everything else shapes or [LARGE, SMALL]
    settings = [
        Setting(
            count, kind,
            grid if count == 1 or shapes else [LARGE, SMALL],
            shapes or ([LARGE, SMALL] if everything else [LARGE]),
            seconds if seconds is not None else 0.4 if everything else 0.2,
        )
        for count in threads or ([1] if quick else sorted({1, cores}))
        for kind in (["warm", "shipped"] if allocator == "both" else [allocator])
    ]  # fmt: skip
    report = _processes.run_all(settings, command, datarax)
    _show(out, report)


def _shape(text: str) -> Shape:
    """256x3x224x224: rows, channels, height, width."""
    try:
        rows, channels, height, width = map(int, text.split("x"))
        if min(rows, height, width) >= 2 and rows % 2 == 0 and channels == 3:
            return rows, channels, height, width
    except ValueError:
        pass
    raise mix_error(
        "--shape",
        f"got {text!r}.",
        "A shape is ROWSx3xHEIGHTxWIDTH, with an even number of rows (timm needs it).",
        "Write for example --shape 256x3x224x224.",
    )


def _command(
    quick: bool, shape: list[str], threads: list[int], allocator: str, seconds: float | None
) -> str:
    """The command line without paths, which are this machine's own business."""
    words = ["batchmix bench", *["--quick"] * quick, *(f"--shape {text}" for text in shape)]
    words += [f"--threads {count}" for count in threads]
    words += [f"--allocator {allocator}"] * bool(allocator)
    words += [] if seconds is None else [f"--seconds {seconds:g}"]
    return " ".join(words)


def _show(out: Path, report: dict[str, Any]) -> None:
    """Print the tables; write the numbers, the figure and the page."""
    from rich.console import Console

    from batchmix.cli.bench._figure import figure
    from batchmix.cli.bench._report import page, printed

    console = Console()
    wide = Console(width=max(console.width, 150))  # a table that is cut off helps nobody
    for part in printed(report):
        wide.print(part, highlight=False)
    readme = out / "README.md"
    write(out / "results.json", (json.dumps(report) + "\n").encode())
    write(out / "results.png", figure(report))
    before = readme.read_text() if readme.exists() else ""
    write(readme, page(before, report).encode())
    print(out / "results.json", out / "results.png", readme, sep="\n")
