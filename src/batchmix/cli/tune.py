"""`batchmix tune`: which policy, how strong, how often, and until when?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from typer import Option

from batchmix._errors import mix_error
from batchmix.cli import _options as given
from batchmix.cli._lock import locked
from batchmix.cli._output import AsJson, Quiet, check_folder, kept, print_json, shown, write
from batchmix.cli._prepare import Prepared, check_rows, choose
from batchmix.cli._progress import Progress
from batchmix.cli._stop import Stopped
from batchmix.cli._tally import FAILED, named
from batchmix.cli._tuning import Result, search_and_measure
from batchmix.cli.lab.defaults import command
from batchmix.cli.lab.search.candidates import Pruner
from batchmix.cli.lab.search.reserve import reserved, searched
from batchmix.cli.lab.search.space import space
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.comparison import On

if TYPE_CHECKING:
    from batchmix.cli.show.report import Report

Engine = Literal["optuna", "ray-tune"]


def tune(
    data: given.DataName = "digits",
    search: Annotated[
        str, Option(help="Policies to search among; none is always a candidate.")
    ] = "mixup cutmix switch",
    trials: Annotated[int, Option(min=1, help="Candidates to try, besides none.")] = 30,
    search_seeds: Annotated[
        int,
        Option(min=1, help="Trainings of each candidate, by seed 0, 1, ...; their mean counts."),
    ] = 1,
    seeds: Annotated[
        int, Option(min=1, help="Fresh seeds for the best, none and smoothing at the end.")
    ] = 5,
    label_noise: Annotated[
        float, Option(help="Share of training labels that is made wrong.")
    ] = 0.0,
    engine: Annotated[
        Engine, Option(help="optuna: TPE on this machine; ray-tune: random search and ASHA on Ray.")
    ] = "optuna",
    pruner: Annotated[
        Pruner, Option(help="Optuna's, that ends candidates early, by epoch.")
    ] = "median",
    seed: Annotated[int, Option(min=0, help="Of the search itself.")] = 0,
    out: Annotated[
        Path, Option(help="Folder for search.db, tune.json, report.json, report.html.")
    ] = Path("batchmix-tune"),
    targets: given.Targets = None,
    sound: given.Sound = None,
    seconds: given.Seconds = None,
    skip_bad: given.SkipBad = False,
    limit_train: given.LimitTrain = None,
    image_size: given.ImageSize = None,
    model: given.Model = None,
    pretrained: given.Pretrained = False,
    finetune: given.Finetune = False,
    epochs: given.Epochs = None,
    batch_size: given.BatchSize = None,
    accumulate: given.Accumulate = None,
    optimizer: given.OptimizerName = None,
    lr: given.Lr = None,
    warmup: given.Warmup = None,
    weight_decay: given.WeightDecay = None,
    ema: given.Ema = None,
    augment: given.AugmentName = None,
    mix_on: given.MixOnName = None,
    precision: given.Precision = None,
    compile: given.Compile = False,
    accelerator: given.Accelerator = None,
    workers: given.Workers = None,
    jobs: given.Jobs = None,
    on: Annotated[
        On, Option(help="Where the trials at the end run: here, or on a Ray cluster.")
    ] = "local",
    gpus_per_trial: Annotated[float, Option(min=0, help="With Ray; may be 0.25.")] = 1.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search policy, alpha, probability and off-epoch, then measure the best with fresh seeds.

    Candidates are judged by training rows that are held out, never by test rows. The best one is
    compared with no mixing and with label smoothing at the end, so that its gain is not the
    search's luck. All is kept as it comes: the same command goes on where it was stopped.
    """
    options = dict(locals())
    space(search, 1)
    _check_noise(label_noise)
    check_folder(out)
    if "ray" in (on, engine.removesuffix("-tune")):
        from batchmix.cli.lab.trials.on_ray import check_ray

        check_ray()
    chosen = choose(options, [])
    limit_train, whole = chosen.limit_train, reserved(chosen.data)
    check_rows(whole, range(search_seeds, search_seeds + seeds), limit_train, [label_noise])
    check_rows(searched(whole, limit_train), range(search_seeds), limit_train)
    again = command("tune", chosen.data.name, chosen.training, **_others(options, chosen))
    progress = Progress(quiet)
    try:
        with locked(out), progress:
            progress.say(again)
            result = search_and_measure(chosen, options, progress)
            code = _show(result, chosen, options, again)
    except Stopped as stopped:
        print(f"batchmix: stopped; the same command goes on in {shown(out)}", file=sys.stderr)
        code = stopped.code
    raise SystemExit(code)


def _show(result: Result, chosen: Prepared, options: Mapping[str, Any], again: str) -> int:
    """Print what was found, write it, and say how to go on; the exit code."""
    from rich.console import Console

    from batchmix.cli.show.found import confirmed, luck, print_found
    from batchmix.cli.show.report import as_json, print_report, write_report

    out, found, report = options["out"], result.found, _report(result, chosen, options, again)
    fresh = confirmed(found, report.outcomes) if found and report else None
    document: dict[str, Any] = {"command": again, "search": found.as_json() if found else None}
    if found and found.best:
        document["train"] = train = _train(found.best.arm, chosen)
    if fresh:
        document["gain"] = fresh.as_json()
    paths = [out / "tune.json"]
    if found and not result.stopped:
        with kept(out, f"All trials are kept in {shown(out)}."):
            write(paths[0], (json.dumps(document, indent=1) + "\n").encode())
            paths += write_report(out, report) if report else []
    if options["as_json"]:
        print_json(document | {"report": as_json(report) if report else None})
    elif found:
        console = Console()
        print_found(found, console)
        if report and report.outcomes:
            print("\nThe best of the search with fresh seeds:\n")
            print_report(report, console)
        plain: dict[str, Any] = {"markup": False, "highlight": False}
        if fresh and report:
            console.print(f"\n{luck(found, fresh, len(report.outcomes))}", **plain)
        if found.best and not result.stopped:  # one line, to be copied
            console.print(f"\nTrain with it:\n{shown(train)}\n", **plain, soft_wrap=True)
            print(*map(shown, paths), sep="\n")
    return _last_words(result, out)


def _report(
    result: Result, chosen: Prepared, options: Mapping[str, Any], again: str
) -> Report | None:
    """The comparison at the end, as far as it is there."""
    from batchmix.cli.lab.split import split
    from batchmix.cli.show.report import Report

    if result.tally is None:
        return None
    data, training, limit_train = result.measured or chosen
    trials = result.tally.trials
    config: dict[str, Any] = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "arms": list(dict.fromkeys(trial.arm for trial in trials)),
        "label_noise": [options["label_noise"]],
        "seeds": sorted({trial.seed for trial in trials}),
        "limit_train": limit_train,
        "training": asdict(training),
        "skipped": [list(each) for each in data.skipped],
    }
    if data.task.kind == "classes":
        y = split(data, trials[0].seed, limit_train).test.y
        config["class_counts"] = np.bincount(y, minlength=data.task.outputs).tolist()
    outcomes = [result.tally.outcomes[t] for t in trials if t in result.tally.outcomes]
    return Report(config, data.task, outcomes, len(trials), again)


def _last_words(result: Result, out: Path) -> int:
    """What failed and what is kept, on standard error; the exit code."""
    tried = result.found.candidates if result.found else []
    failed = {c.arm: c.why for c in tried if c.state == "failed"}
    if result.tally:
        failed |= {named(trial): why for trial, why in result.tally.failed.items()}
    for name, why in failed.items():
        print(f"batchmix: {shown(f'{name} failed: {why}')}", file=sys.stderr)
    if result.stopped:
        over = sum(c.state != "failed" for c in tried)
        final = len(result.tally.outcomes) if result.tally else 0
        print(
            f"batchmix: {over} candidates and {final} trials with fresh seeds are kept in "
            f"{shown(out)}; the same command goes on.",
            file=sys.stderr,
        )
    return result.stopped or (FAILED if result.tally and result.tally.failed else 0)


def _train(arm: str, chosen: Prepared) -> str:
    """The command that trains with an arm."""
    return command(
        "train", chosen.data.name, chosen.training, limit_train=chosen.limit_train, policy=arm
    )


def _others(options: Mapping[str, Any], chosen: Prepared) -> dict[str, Any]:
    """The options of the command that are not a training's, where they are not as by default."""
    usual = {name: one.default for name, one in signature(tune).parameters.items()}
    names = {field.name for field in fields(Training)} | {"data", "as_json", "quiet"}
    return {
        name: value for name, value in options.items() if name not in names and value != usual[name]
    } | {"limit_train": chosen.limit_train}


def _check_noise(noise: float) -> None:
    if not 0 <= noise < 1:
        raise mix_error(
            "--label-noise",
            f"got {noise}.",
            "It is the share of training rows whose label is made wrong, 0 <= R < 1.",
            "Try --label-noise 0.4.",
        )
