"""`batchmix preview`: what a policy does to these images and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from batchmix.cli._arms import Arm, parse_arms
from batchmix.cli._files import check_folder, write


def preview(
    data: Annotated[
        str, Argument(help="'digits', a folder of images, or a Hugging Face data set.")
    ] = "digits",
    policies: Annotated[
        list[str] | None,
        Option(
            "--policies",
            "--policy",
            help="What to show, as for compare: none, smooth:S, mixup:A, cutmix:A, switch:A,B.",
            show_default="switch:0.8,1.0",
        ),
    ] = None,
    rows: Annotated[int, Option(min=2, max=32, help="Rows shown, at most.")] = 8,
    seed: Annotated[int, Option(min=0, help="Of the choice of rows, and of the plan.")] = 0,
    image_size: Annotated[
        int | None, Option("--image-size", "--size", min=1, help="Resize images to N x N.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for rows.png, alpha.png and labels.png.")] = Path(
        "batchmix-preview"
    ),
) -> None:
    """Show what a policy does to your images: pixels, boxes, soft labels, and the effect of alpha.

    Nothing is trained. Writes rows.png, labels.png and, if a policy has an alpha, alpha.png.
    """
    arms = _arms(" ".join(policies or ["switch:0.8,1.0"]))
    check_folder(out)

    from batchmix.cli import _pictures
    from batchmix.cli._data import load
    from batchmix.cli._shown import choose

    batch = choose(load(data, image_size), rows, seed)
    title = f"{data}, seed {seed}"
    figures = {"rows.png": _pictures.rows(title, [batch.show(arm) for arm in arms])}
    if any(arm.policy for arm in arms):
        figures["alpha.png"] = _pictures.alphas(title, batch, arms)
    figures["labels.png"] = _pictures.labels(title, batch, arms)
    for name, content in figures.items():
        write(out / name, content)
        print(out / name)


def _arms(text: str) -> list[Arm]:
    """What is asked for; the reference that a comparison adds is shown only if named."""
    return [arm for arm in parse_arms(text) if arm.kind != "none" or arm.name in text.split()]
