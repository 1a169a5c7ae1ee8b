"""`batchmix preview`: what a policy does to these rows and their labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from batchmix.cli._mixing import Mixing, Pairs, Per
from batchmix.cli._output import check_folder, write
from batchmix.cli._words import KNOWN, parse

_DEFAULT = "switch:0.8,1.0"


def preview(
    data: Annotated[
        str,
        Argument(help="'digits', a folder of images or WAV files, or a Hugging Face data set."),
    ] = "digits",
    policies: Annotated[
        list[str] | None,
        Option(
            "--policies",
            "--policy",
            help=f"What to show, as for compare: {KNOWN}.",
            show_default=_DEFAULT,
        ),
    ] = None,
    rows: Annotated[int, Option(min=2, max=32, help="Rows shown, at most.")] = 8,
    first: Annotated[
        int, Option(min=0, help="The first row shown, in a fixed random order of all.")
    ] = 0,
    prob: Annotated[float, Option(help="Probability of mixing at all.")] = 1.0,
    per: Annotated[Per, Option(help="One draw per row, pair or batch.")] = "row",
    pairing: Annotated[Pairs, Option(help="Who is whose partner.")] = "derangement",
    seed: Annotated[int, Option(min=0, help="Of the plan.")] = 0,
    step: Annotated[int, Option(min=0, help="Of the plan: the number of the batch.")] = 0,
    image_size: Annotated[
        int | None, Option("--image-size", "--size", min=1, help="Resize images to N x N.")
    ] = None,
    seconds: Annotated[
        float | None, Option(help="Length of a WAV file; silence follows shorter ones.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for the figures.")] = Path("batchmix-preview"),
) -> None:
    """Show what a policy does to your images or sounds: cells, boxes, soft labels, and alpha.

    Nothing is trained. Writes rows.png, labels.png, alpha.png (if a policy has an alpha), and
    preview.html with all of them inside.
    """
    entries = parse(" ".join(policies or [_DEFAULT]))
    mixing = Mixing(prob, per, pairing, seed, step)
    check_folder(out)

    from batchmix.cli.lab.data.names import printable
    from batchmix.cli.show import pictures
    from batchmix.cli.show.page import page
    from batchmix.cli.show.shown import choose, open_source

    source = open_source(data, image_size, seconds)
    for note in source.data.notes:
        print(f"{printable(data)}: {note}", file=sys.stderr)
    batch = choose(source, rows, mixing, first)
    title = f"{printable(data)}, seed {seed}" + (f", step {step}" if step else "")
    figures = {"rows.png": pictures.rows(title, [batch.show(entry) for entry in entries])}
    if pictures.varied(entries):
        figures["alpha.png"] = pictures.alphas(title, batch, entries)
    figures["labels.png"] = pictures.labels(title, batch, entries)
    options = {
        "policies": " ".join(e.name for e in entries), "rows": rows, "first": first, "prob": prob,
        "per": per, "pairing": pairing, "seed": seed, "step": step, "image-size": image_size,
        "seconds": seconds,
    }  # fmt: skip
    files = figures | {"preview.html": page(title, command(data, options), figures)}
    for name, content in files.items():
        write(out / name, content)
        print(out / name)


def command(data: str, options: dict[str, object]) -> str:
    """The command line that makes the same figures, without options at their defaults."""
    usual = {"rows": 8, "first": 0, **vars(Mixing())}
    words = ["batchmix", "preview", data]
    for key, value in options.items():
        if value is not None and value != usual.get(key):
            words += [f"--{key}", str(value)]
    return shlex.join(words)
