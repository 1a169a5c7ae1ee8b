"""`batchmix predict`: what a trained model says of files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._options import Accelerator, SkipBad
from batchmix.cli._output import AsJson, Quiet, check_folder, shown, write
from batchmix.cli._prepare import check_accelerator
from batchmix.cli._progress import Progress
from batchmix.cli.lab.outcome import limit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from batchmix.cli.lab.saved.chosen import Chosen
    from batchmix.cli.lab.saved.config import Saved
    from batchmix.cli.lab.saved.inference import Said
    from batchmix.cli.show.predicted import Output


def predict(
    model: Annotated[
        Path, Argument(help="Folder with model.safetensors and config.json, as train writes it.")
    ],
    files: Annotated[
        list[str] | None,
        Argument(help="Files, folders, a data set as for train, or - for a list on stdin."),
    ] = None,
    top_k: Annotated[int, Option(min=1, help="Classes or labels shown per file.")] = 1,
    as_csv: Annotated[bool, Option("--csv", help="CSV, a line per file.")] = False,
    as_json: AsJson = False,
    targets: Annotated[
        Path | None, Option(help="CSV of targets, as for train; FILES is then their folder.")
    ] = None,
    confusion: Annotated[
        Path | None,
        Option(help="PNG of the confusion matrix; targets are class folders or --targets."),
    ] = None,
    push_to_hub: Annotated[
        str | None, Option(metavar="USER/NAME", help="Upload the model, with these figures.")
    ] = None,
    batch_size: Annotated[int, Option(min=1, help="Rows at a time.")] = 64,
    workers: Annotated[int, Option(min=0, max=512, help="Processes that decode.")] = 2,
    accelerator: Accelerator = None,
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Say what is in files: classes, labels or numbers, with calibrated probabilities.

    Files are read and scaled as in training. In class folders, or with --targets, it says how
    often the model is right. A data set with parts is taken to be its test part.
    """
    if as_csv and as_json:
        raise mix_error("--csv", "got --json too.", "There is one output.", "Leave one out.")
    if accelerator:
        check_accelerator(accelerator)
    from batchmix.cli.lab.saved.config import read_config

    saved = read_config(model)
    if push_to_hub is not None:
        from batchmix.cli.lab.saved.hub import check_hub, push

        check_hub(push_to_hub)
    if not files and (push_to_hub is None or confusion or targets):
        raise mix_error("FILES", "got none.", "They are what is predicted.", "Pass files or -.")
    metrics: dict[str, Any] = {}
    if files:
        from batchmix.cli.lab.saved.chosen import choose, readable

        chosen = choose(files, saved, targets)
        _check_confusion(confusion, saved, chosen)
        from batchmix.cli.lab.saved.inference import predictions
        from batchmix.cli.show.predicted import OUTPUTS, Summary, told

        form = "json" if as_json else "csv" if as_csv else "table"
        with Progress(quiet or sys.stdout.isatty()) as progress:
            progress.say(_begin(saved, chosen))
            skipped: list[tuple[str, str]] = []
            if skip_bad:
                chosen, skipped = readable(chosen, progress.reading("checking files"))
            output = OUTPUTS[form](saved, top_k, chosen.known)
            batches = predictions(
                model, chosen.rows, batch_size=batch_size, accelerator=accelerator, workers=workers
            )
            logits = _print(batches, chosen, output, progress.reading("predicting"))
        metrics, matrix = _measured(saved, chosen, logits, confusion)
        summary = Summary(metrics, matrix, skipped, chosen.note)
        output.end(summary)
        if as_csv and not quiet:
            print(*told(saved, summary), sep="\n", file=sys.stderr)
        if confusion:
            print(shown(confusion), file=sys.stdout if form == "table" else sys.stderr)
    if push_to_hub is not None:
        print(push(model, push_to_hub, saved, metrics), file=sys.stderr if files else sys.stdout)


def _begin(saved: Saved, chosen: Chosen) -> str:
    """What is going to be done, and what the probabilities are."""
    where = f" ({chosen.note})" if chosen.note else ""
    calibrated = ""
    if saved.task.kind == "classes":
        calibrated = "; probabilities are not calibrated: the model has no temperature"
        if saved.temperature:
            calibrated = (
                f"; probabilities are calibrated by the temperature {saved.temperature:.2f}, "
                "fitted on rows held out in training"
            )
            if why := limit_of(saved.temperature):
                calibrated = f"; calibrated by the temperature {saved.temperature:.2f}: {why}"
    return f"{len(chosen.rows):,} rows{where}, {saved.training.model}{calibrated}"


def _check_confusion(confusion: Path | None, saved: Saved, chosen: Chosen) -> None:
    if confusion is None:
        return
    if saved.task.kind != "classes" or not chosen.known:
        raise mix_error(
            f"--confusion {str(confusion)!r}",
            "there are no classes to compare with."
            if saved.task.kind == "classes"
            else f"the model gives {saved.task.kind}.",
            "It needs the class of every file: the name of its folder, or --targets.",
            "Pass class folders, a CSV, or leave it out.",
        )
    if confusion.is_dir():
        raise mix_error(
            f"--confusion {confusion}", "it is a folder.", "It is the PNG that is written.",
            f"Write for example --confusion {confusion / 'confusion.png'}.",
        )  # fmt: skip
    check_folder(confusion.parent, "--confusion")


def _print(
    batches: Iterable[Said], chosen: Chosen, output: Output, tell: Callable[[int, int], None]
) -> list[NDArray[Any]]:
    """Write what comes; the logits, where they are measured."""
    rows, done = chosen.rows, 0
    logits: list[NDArray[Any]] = []
    for said in batches:
        part = slice(done, done + len(said.values))
        output.add(rows.names[part], said.values, rows.y[part] if chosen.known else None)
        if chosen.known:
            logits.append(said.logits)
        done = part.stop
        tell(done, len(rows))
    return logits


def _measured(
    saved: Saved, chosen: Chosen, logits: Sequence[NDArray[Any]], confusion: Path | None
) -> tuple[dict[str, float], NDArray[Any] | None]:
    """Metrics of all rows, and the matrix of confusions where it is asked for."""
    if not chosen.known:
        return {}, None
    import numpy as np
    import torch

    from batchmix.cli.lab.engine.score import scores
    from batchmix.cli.show.confusion import matrix_of, picture

    found, y = np.concatenate(logits), chosen.rows.y
    measured = scores(saved.task, torch.from_numpy(found), y)
    metrics = {name: value for name, value in measured.items() if isinstance(value, float)}
    if confusion is None:
        return metrics, None
    matrix = matrix_of(y, found.argmax(1), saved.task.outputs)
    title = f"{saved.training.model}: accuracy {metrics['accuracy']:.1%} of {len(y):,} rows"
    write(confusion, picture(matrix, saved.task.names, title))
    return metrics, matrix
