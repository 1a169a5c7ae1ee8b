"""`batchmix preview`: what a policy does to these rows and their labels."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from batchmix.cli._arms import Arm, parse_arms
from batchmix.cli._files import check_folder, write
from batchmix.cli._mixing import Mixing, Pairs, Per

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
            help="What to show, as for compare: none, smooth:S, mixup:A, cutmix:A, switch:A,B.",
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
    arms = _arms(" ".join(policies or [_DEFAULT]))
    mixing = Mixing(prob, per, pairing, seed, step)
    check_folder(out)

    from batchmix.cli import _pictures
    from batchmix.cli._page import page
    from batchmix.cli._shown import choose
    from batchmix.cli._source import open_source

    batch = choose(open_source(data, image_size, seconds), rows, mixing, first)
    title = f"{data}, seed {seed}" + (f", step {step}" if step else "")
    figures = {"rows.png": _pictures.rows(title, [batch.show(arm) for arm in arms])}
    if any(arm.policy for arm in arms):
        figures["alpha.png"] = _pictures.alphas(title, batch, arms)
    figures["labels.png"] = _pictures.labels(title, batch, arms)
    options = {
        "policies": " ".join(arm.name for arm in arms), "rows": rows, "first": first, "prob": prob,
        "per": per, "pairing": pairing, "seed": seed, "step": step, "image-size": image_size,
        "seconds": seconds,
    }  # fmt: skip
    files = figures | {"preview.html": page(title, command(data, options), figures)}
    for name, content in files.items():
        write(out / name, content)
        print(out / name)


def command(data: str, options: dict[str, object]) -> str:
    """The command line that makes the same figures; an option at its default is left out."""
    usual = {"rows": 8, "first": 0, **vars(Mixing())}
    words = ["batchmix", "preview", data]
    for key, value in options.items():
        if value is not None and value != usual.get(key):
            words += [f"--{key}", str(value)]
    return shlex.join(words)


def _arms(text: str) -> list[Arm]:
    """What is asked for; the reference that a comparison adds is shown only if named."""
    return [arm for arm in parse_arms(text) if arm.kind != "none" or arm.name in text.split()]
