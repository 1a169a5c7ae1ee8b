"""`batchmix train`: one run, with timm's arguments for mixing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from batchmix.cli._output import check_folder, write
from batchmix.cli._words import Entry, check_smoothing, policy_of_options

Mode = Literal["batch", "pair", "elem"]


def train(
    data: Annotated[
        str, Argument(help="'digits', a folder of images, or a Hugging Face data set.")
    ],
    mixup: Annotated[float, Option(help="MixUp alpha; on if > 0.")] = 0.0,
    cutmix: Annotated[float, Option(help="CutMix alpha; on if > 0.")] = 0.0,
    cutmix_minmax: Annotated[
        tuple[float, float] | None,
        Option(help="CutMix box, low and high share of each side; overrides its alpha."),
    ] = None,
    mixup_prob: Annotated[float, Option(help="Probability of mixing at all.")] = 1.0,
    mixup_switch_prob: Annotated[
        float, Option(help="Probability of CutMix when both are on.")
    ] = 0.5,
    mixup_mode: Annotated[Mode, Option(help="One draw per batch, pair or row.")] = "batch",
    mixup_off_epoch: Annotated[
        int, Option(min=0, help="No mixing from this epoch on; 0: never.")
    ] = 0,
    smoothing: Annotated[float, Option(help="Label smoothing.")] = 0.1,
    model: Annotated[str, Option(help="mlp, convnet, resnet20 or timm:NAME.")] = "convnet",
    epochs: Annotated[int, Option(min=1)] = 30,
    batch_size: Annotated[int, Option(min=1, help="Rows per device.")] = 64,
    lr: Annotated[float, Option(help="Learning rate of SGD with momentum 0.9, cosine to 0.")] = 0.1,
    seed: Annotated[int, Option(min=0)] = 0,
    out: Annotated[
        Path, Option(help="Folder for metrics.jsonl, checkpoint.safetensors and result.json.")
    ] = Path("batchmix-train"),
    resume: Annotated[bool, Option("--resume", help="Continue the run in --out.")] = False,
    limit_train: Annotated[int | None, Option(min=1, help="Training rows at most.")] = None,
    image_size: Annotated[int | None, Option(min=1, help="Resize images to N x N.")] = None,
    accelerator: Annotated[str, Option(help="Fabric: auto, cpu, cuda, mps.")] = "auto",
    devices: Annotated[int, Option(min=1, help="Fabric: processes, one device each.")] = 1,
    precision: Annotated[str, Option(help="Fabric: 32-true, bf16-mixed, 16-mixed.")] = "32-true",
) -> None:
    """Train one model; the mixing arguments have timm's names and meanings."""
    config = {k: v for k, v in locals().items() if k not in _NOT_CONFIG}
    policy = policy_of_options(
        mixup, cutmix, cutmix_minmax, mixup_prob, mixup_switch_prob, mixup_mode, mixup_off_epoch
    )
    check_smoothing("--smoothing", smoothing)
    check_folder(out)

    from batchmix.cli.lab import checkpoint as checkpoints
    from batchmix.cli.lab import loop
    from batchmix.cli.lab.data import open_data
    from batchmix.cli.lab.models import check_model
    from batchmix.cli.lab.split import checked, split
    from batchmix.pairing import Reverse

    check_model(model)
    training = loop.Training(model, epochs, batch_size, lr, seed)
    fabric = loop.open_fabric(accelerator=accelerator, devices=devices, precision=precision)
    checkpoint = out / "checkpoint.safetensors"
    state = checkpoints.begin(checkpoint, config, resume)
    fabric.launch()

    loaded = checked(open_data(data), [seed], limit_train)
    parts = loop.to_device(fabric, split(loaded, seed, limit_train))
    run = loop.set_up(fabric, training, Entry("train", policy, smoothing), loaded, Reverse())
    if resume:
        checkpoints.load_run(checkpoint, run)
        run.mixer.load_state_dict(state["mixer"])

    for epoch in range(state["epochs_done"], epochs):
        loss = loop.train_epoch(fabric, run, training, parts.train, epoch)
        held_out = loop.score(loop.predict(run, parts.calibration.x), parts.calibration)
        state["epochs_done"] = epoch + 1
        state["history"].append({"epoch": epoch, "loss": loss} | held_out)
        fabric.print(
            f"epoch {epoch + 1}/{epochs}  loss {loss:.4f}  held-out accuracy "
            f"{held_out['accuracy']:.2%}  NLL {held_out['nll']:.3f}"
        )
        if fabric.is_global_zero:
            lines = (json.dumps(line) + "\n" for line in state["history"])
            write(out / "metrics.jsonl", "".join(lines).encode())
            checkpoints.save_run(checkpoint, run, state)

    result = loop.evaluate(run, parts)
    fabric.print(
        f"test accuracy {result['accuracy']:.2%}  NLL {result['nll']:.3f}  "
        f"ECE {result['ece']:.2%}, {result['ece_scaled']:.2%} after temperature scaling "
        f"(T = {result['temperature']:.2f})"
    )
    if fabric.is_global_zero:
        write(out / "result.json", (json.dumps(result, indent=2) + "\n").encode())


# options that may differ when a run is resumed
_NOT_CONFIG = {"out", "resume", "accelerator", "devices", "precision"}
