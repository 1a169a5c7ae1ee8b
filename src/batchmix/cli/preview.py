"""`batchmix preview`: what a policy does to these rows and their labels."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._mixing import Mixing, Pairs, Per
from batchmix.cli._output import (
    MOST_PIXELS,
    MOST_SEED,
    AsJson,
    Quiet,
    check_folder,
    print_json,
    shown,
    write,
)
from batchmix.cli._words import KNOWN, Entry, parse

if TYPE_CHECKING:
    from batchmix.cli.show.shown import Batch, Shown

_DEFAULT, _TABLE = "switch:0.8,1.0", "mixup:1 columns:0.3"
_MOST_POLICIES = 32  # lines of a figure


def preview(
    data: Annotated[
        str,
        Argument(
            help="'photos', 'digits', a folder of images or WAV files, a CSV, or a Hugging Face "
            "data set."
        ),
    ] = "photos",
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
    seed: Annotated[int, Option(min=0, max=MOST_SEED, help="Of the plan.")] = 0,
    step: Annotated[
        int, Option(min=0, max=MOST_SEED, help="Of the plan: the number of the batch.")
    ] = 0,
    image_size: Annotated[
        int | None,
        Option(
            "--image-size",
            "--size",
            min=1,
            max=MOST_PIXELS,
            metavar="N",
            help="Resize images to N x N.",
        ),
    ] = None,
    seconds: Annotated[
        float | None, Option(help="Length of a WAV file; silence follows shorter ones.")
    ] = None,
    boxes: Annotated[
        Path | None,
        Option(help="Bounding boxes: a COCO file, or a folder of YOLO text files."),
    ] = None,
    masks: Annotated[
        Path | None, Option(help="Segmentation masks: a folder of PNGs of the images' names.")
    ] = None,
    target: Annotated[
        str | None, Option(metavar="COLUMN", help="Of a CSV: the column that is learnt.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for the figures.")] = Path("batchmix-preview"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what a policy does to your images or sounds: cells, boxes, soft labels, and alpha.

    Nothing is trained. Writes rows.png, labels.png, alpha.png (if a policy has an alpha), and
    preview.html with all of them inside. Those of an earlier call are replaced.
    """
    words = " ".join(policies or [_TABLE if target else _DEFAULT])
    if len(words.split()) > _MOST_POLICIES:
        raise mix_error(
            "--policies", f"got {len(words.split())} policies.",
            f"A figure has room for {_MOST_POLICIES}.", "Look at fewer at a time.",
        )  # fmt: skip
    entries = parse(words, seen=None)
    mixing = Mixing(prob, per, pairing, seed, step)
    check_folder(out)

    from batchmix.cli.show.opened import choose, open_source

    source = open_source(data, image_size, seconds, boxes, masks, target)
    if first >= len(source.y):
        raise mix_error(
            "--first", f"got {first}.", f"{data} has {len(source.y)} training rows, from 0.",
            f"The last one is --first {len(source.y) - 1}.",
        )  # fmt: skip
    for note in () if quiet else source.data.notes:
        print(f"{shown(data)}: {note}", file=sys.stderr)
    batch = choose(source, rows, mixing, first)
    parse(words, seen=batch.beside.hints)
    done = [batch.show(entry) for entry in entries]
    options = {
        "policies": " ".join(e.name for e in entries), "rows": rows, "first": first, "prob": prob,
        "per": per, "pairing": pairing, "seed": seed, "step": step, "image-size": image_size,
        "seconds": seconds, "boxes": boxes, "masks": masks, "target": target,
    }  # fmt: skip
    again = command(data, options)
    title = f"{shown(data)}, seed {seed}" + (f", step {step}" if step else "")
    files = _drawn(title, again, batch, entries, done)
    for name, content in files.items():
        write(out / name, content)
    for name in {"alpha.png", "labels.png"} - set(files):  # an earlier call's
        (out / name).unlink(missing_ok=True)
    if as_json:
        names = [source.data.train.names[i] for i in source.choose(rows, first)]
        found = {"command": again, "policies": [_document(one, names) for one in done]}
        print_json(found | {"files": [out / name for name in files]})
    else:
        print(*(shown(out / name) for name in files), sep="\n")


def _drawn(
    title: str, again: str, batch: Batch, entries: Sequence[Entry], done: Sequence[Shown]
) -> dict[str, bytes]:
    """The figures, and the page with all of them."""
    from batchmix.cli.show import pictures
    from batchmix.cli.show.page import page

    figures = {"rows.png": pictures.rows(title, done)}
    if pictures.varied(entries) and batch.source.form != "table":
        figures["alpha.png"] = pictures.alphas(title, batch, entries)
    if batch.labelled:
        figures["labels.png"] = pictures.labels(title, batch, entries)
    sounds = done if batch.source.form == "wave" else ()
    return figures | {"preview.html": page(title, again, figures, sounds)}


def _document(one: Shown, names: Sequence[str]) -> dict[str, Any]:
    """What a policy does to the rows, for programs; partners are numbers of these rows."""
    batch, classes = one.batch, one.batch.source.classes
    rows = [
        {
            "row": names[i],
            "class": classes[int(batch.y[i])],
            "partner": int(one.plan.partner[i]),
            "lam": float(one.plan.lam[i]),
            "partners": one.partners(i),
            "weights": one.plan.weights[i].tolist(),
            "label": _shares(classes, soft),
        }
        | _boxes(one, i)
        for i, soft in enumerate(one.soft)
    ]
    return {"policy": one.name, "rows": rows}


def _shares(names: Sequence[str], soft: Any) -> dict[str, float]:
    """What a label has of each name; two rows whose numbers look alike have one name."""
    found: dict[str, float] = {}
    for k in soft.nonzero()[0]:
        found[names[k]] = found.get(names[k], 0.0) + float(soft[k])
    return found


def _boxes(one: Shown, row: int) -> dict[str, Any]:
    """The boxes that are left in a mixed row, if there may be any."""
    if not one.beside.marks:
        return {}
    seen = one.beside.seen(row)
    return {"boxes": [{"xyxy": s.corners, "class": s.name, "row": s.row} for s in seen]}


def command(data: str, options: dict[str, object]) -> str:
    """The command line that makes the same figures, without options at their defaults."""
    usual = {"rows": 8, "first": 0, **vars(Mixing())}
    words = ["batchmix", "preview", data]
    for key, value in options.items():
        if value is not None and value != usual.get(key):
            words += [f"--{key}", str(value)]
    return shlex.join(words)
