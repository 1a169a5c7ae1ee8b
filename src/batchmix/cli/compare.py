"""`batchmix compare`: does mixing help on this data, and which policy?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._output import check_folder
from batchmix.cli._words import KNOWN, Entry, parse, with_reference
from batchmix.cli.lab.outcome import Outcome, Trial

if TYPE_CHECKING:
    from batchmix.cli.lab.data import Data
    from batchmix.cli.lab.loop import Training

_POLICIES = "none smooth:0.1 mixup:1 mixup:8 cutmix:1 switch:0.8,1.0"


@dataclass(frozen=True)
class _Trial:
    """One run of a comparison."""

    noise: float
    entry: Entry
    seed: int


def compare(
    data: Annotated[
        str, Argument(help="'digits', a folder of images, or a Hugging Face data set.")
    ] = "digits",
    policies: Annotated[
        str, Option(help=f"What to compare, of {KNOWN}; switch is MixUp or CutMix, half each.")
    ] = _POLICIES,
    label_noise: Annotated[
        list[float] | None,
        Option(help="Share of wrong training labels; repeatable. digits: 0 and 0.4, else 0."),
    ] = None,
    seeds: Annotated[int, Option(help="Runs of each policy, by seed 0, 1, ...")] = 5,
    epochs: Annotated[int | None, Option(min=1, help="digits: 150, else 30.")] = None,
    limit_train: Annotated[
        int | None, Option(min=1, help="Training rows at most. digits: 600, else all.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for report.json and compare.png.")] = Path(
        "batchmix-compare"
    ),
    model: Annotated[
        str | None, Option(help="mlp, convnet, resnet20, timm:NAME. digits: mlp, else convnet.")
    ] = None,
    batch_size: Annotated[int, Option(min=1)] = 64,
    lr: Annotated[float, Option(help="Learning rate of SGD with momentum 0.9, cosine to 0.")] = 0.1,
    image_size: Annotated[int | None, Option(min=1, help="Resize images to N x N.")] = None,
    jobs: Annotated[int | None, Option(min=1, help="Processes. Default: one per core.")] = None,
    accelerator: Annotated[str, Option(help="cpu, cuda, mps or auto.")] = "cpu",
) -> None:
    """Train the same model under several policies and say whether mixing helps.

    Same initial weights, same order of rows, several seeds; then a table, a verdict, report.json
    and compare.png.
    """
    digits = data == "digits"
    entries = with_reference(parse(policies))
    levels = _noise_levels(label_noise or ([0.0, 0.4] if digits else [0.0]))
    if seeds < 1:
        raise mix_error(
            "--seeds", f"got {seeds}.", "It is a number of runs >= 1.", "Try --seeds 5."
        )
    check_folder(out)

    from batchmix.cli.lab.data import load
    from batchmix.cli.lab.loop import Training, open_fabric
    from batchmix.cli.lab.models import check_model
    from batchmix.cli.lab.split import split

    training = Training(
        model=model or ("mlp" if digits else "convnet"),
        epochs=epochs or (150 if digits else 30),
        batch_size=batch_size,
        lr=lr,
        seed=0,
    )
    check_model(training.model)
    open_fabric(accelerator=accelerator, devices=1)
    limit_train = limit_train or (600 if digits else None)
    loaded = load(data, image_size)
    rows = {name: len(part) for name, part in vars(split(loaded, 0, limit_train)).items()}

    trials = [_Trial(n, entry, seed) for n in levels for seed in range(seeds) for entry in entries]
    workers = jobs or os.cpu_count() or 1
    found = [
        Outcome(Trial(trial.entry.name, trial.noise, trial.seed), measured, measured, {}, rows)
        for trial, measured in _run_all(trials, workers, loaded, training, limit_train, accelerator)
    ]
    config = {"data": data, "arms": [entry.name for entry in entries], "label_noise": levels}
    config |= vars(training) | {"limit_train": limit_train, "image_size": image_size}
    config |= {"seed": list(range(seeds))}

    from rich.console import Console

    from batchmix.cli.lab.rows import Task
    from batchmix.cli.show.report import Report, print_report, write_report

    task = Task("classes", tuple(loaded.classes))
    report = Report(config, task, found, len(trials), f"batchmix compare {data}")
    print_report(report, Console())
    print("", *write_report(out, report), sep="\n")


def _noise_levels(levels: Sequence[float]) -> list[float]:
    """Each level once, in order."""
    for level in levels:
        if not 0 <= level < 1:
            raise mix_error(
                "--label-noise",
                f"got {level}.",
                "It is the share of training rows whose label is made wrong, 0 <= R < 1.",
                "Try --label-noise 0.4.",
            )
    return sorted(set(levels))


def run_trial(
    trial: _Trial, data: Data, training: Training, limit_train: int | None, accelerator: str
) -> dict[str, float]:
    """Train and measure once: a function of its arguments, in whatever process it runs."""
    import torch

    from batchmix.cli.lab import loop
    from batchmix.cli.lab.split import corrupt, split

    torch.set_num_threads(1)  # one core per process, and sums in one order
    fabric = loop.open_fabric(accelerator=accelerator, devices=1)
    training = replace(training, seed=trial.seed)
    splits = split(data, trial.seed, limit_train)
    labels, wrong = corrupt(splits.train.y, trial.noise, len(data.classes), trial.seed)
    parts = loop.to_device(fabric, replace(splits, train=replace(splits.train, y=labels)))
    run = loop.set_up(fabric, training, trial.entry, data)
    for epoch in range(training.epochs):
        loop.train_epoch(fabric, run, training, parts.train, epoch)
    metrics = loop.evaluate(run, parts)
    if wrong.any():
        logits = loop.predict(run, parts.train.x).numpy()
        metrics["memorised"] = memorised(logits, labels, wrong)
    return metrics


def memorised(logits: Any, labels: Any, wrong: Any) -> float:
    """Share of the rows with a wrong label for which the model predicts that wrong label."""
    return float((logits.argmax(1) == labels)[wrong].mean())


def _run_all(
    trials: list[_Trial], jobs: int, *shared: Any
) -> Iterator[tuple[_Trial, dict[str, float]]]:
    """All trials with their metrics, in the order of `trials`, with a progress bar."""
    from joblib import Parallel, delayed
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        calls = (delayed(run_trial)(trial, *shared) for trial in trials)
        metrics = Parallel(min(jobs, len(trials)), return_as="generator")(calls)
        yield from zip(trials, progress.track(metrics, total=len(trials)), strict=True)
