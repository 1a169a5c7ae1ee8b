"""`batchmix compare`: does mixing help on this data, and which policy?"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from typer import Option

from batchmix._errors import mix_error
from batchmix.cli import _options as given
from batchmix.cli._lock import locked
from batchmix.cli._output import AsJson, Quiet, check_folder, kept, print_json, shown
from batchmix.cli._prepare import Prepared, check_rows, choose, read
from batchmix.cli._progress import Progress
from batchmix.cli._stop import Stopped
from batchmix.cli._tally import FAILED, Tally, named
from batchmix.cli._words import KNOWN, parse, with_reference
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.run.logs import check_logs
from batchmix.cli.lab.trials.comparison import On, keep_best, run
from batchmix.cli.lab.trials.logged import Logged
from batchmix.cli.lab.trials.on_ray import check_ray
from batchmix.cli.lab.trials.pool import warm
from batchmix.cli.lab.trials.store import open_store

# options that do not change what is found
_SILENT = {"data", "jobs", "as_json", "quiet"}
_POLICIES = "none smooth:0.1 mixup:1 mixup:8 cutmix:1 switch:0.8,1.0"


def compare(
    data: given.DataOrTable = "digits",
    policies: Annotated[
        str, Option(help=f"What to compare, of {KNOWN}; switch is MixUp or CutMix, half each.")
    ] = _POLICIES,
    label_noise: Annotated[
        list[float] | None,
        Option(help="Share of wrong training labels; repeatable. digits: 0 and 0.4, else 0."),
    ] = None,
    seeds: Annotated[int, Option(min=1, help="Runs of each policy, by seed 0, 1, ...")] = 5,
    out: Annotated[
        Path, Option(help="Folder for trials.jsonl, report.json, report.html and compare.png.")
    ] = Path("batchmix-compare"),
    log: Annotated[
        list[str] | None,
        Option(help="csv, tensorboard, wandb, mlflow, into OUT/logs, a log per trial; repeatable."),
    ] = None,
    keep_best: Annotated[
        bool, Option("--keep-best", help="Train the best policy's model again, into OUT/model.")
    ] = False,
    targets: given.Targets = None,
    target: given.Target = None,
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
    threads: given.Threads = 1,
    on: Annotated[
        On, Option(help="This machine, or a Ray cluster (its address: RAY_ADDRESS).")
    ] = "local",
    gpus_per_trial: Annotated[float, Option(min=0, help="With --on ray; may be 0.25.")] = 1.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the same model under several policies and say whether mixing helps.

    Same initial weights, same order of rows, several seeds; then tables and a verdict. Each trial
    is kept when it ends: the same command goes on where it was stopped, and more seeds, policies or
    label noise are added to what is there.
    """
    options = dict(locals())
    entries = with_reference(parse(policies))
    levels = _noise_levels(label_noise or ([0.0, 0.4] if data == "digits" else [0.0]))
    trials = [
        Trial(entry.name, noise, seed)
        for seed in range(seeds)
        for noise in levels
        for entry in entries
    ]
    options["log"] = list(check_logs(log or []))  # a list: an option that is repeated
    check_folder(out)
    if on == "ray":
        check_ray()
    chosen = choose(options, entries)
    check_rows(chosen.data, range(seeds), chosen.limit_train, levels)
    command = _command(options, chosen)
    progress = Progress(quiet)
    try:
        with locked(out), progress:
            progress.say(command)
            result = _train(trials, chosen, options, progress)
            code = _show(result, command, options)
            if not result.stopped:
                from batchmix.cli.lab.loading.cache import forget

                forget(out / "cache")
    except Stopped as stopped:
        print(f"batchmix: stopped; the same command goes on in {shown(out)}", file=sys.stderr)
        code = stopped.code
    raise SystemExit(code)


class _Result(NamedTuple):
    """What came of the trials, and why there are not more."""

    prepared: Prepared
    tally: Tally
    stopped: int  # exit code of the signal, or 0


def _train(
    trials: Sequence[Trial], chosen: Prepared, options: Mapping[str, Any], progress: Progress
) -> _Result:
    """Run the trials that are not in the folder yet, until all are over or a signal comes."""
    out, local = options["out"], options["on"] == "local"
    store = open_store(out, *chosen)  # other data is refused before rows are read
    if not set(trials) <= set(store.outcomes) or options["keep_best"]:
        if local:
            warm()
        cache = out / "cache" if local else None
        skip_bad, seeds = options["skip_bad"], range(options["seeds"])
        chosen = read(chosen, seeds, progress, skip_bad=skip_bad, cache=cache)
        store = open_store(out, *chosen)
    for name, (then, now) in store.other.items():
        progress.say(f"note: trials in {out} were made with {name} {then}; here it is {now}")
    tally = Tally(trials, store.outcomes.values(), chosen.training.epochs, chosen.data.task.kind)
    stopped, names = 0, options["log"]
    try:
        run(
            trials,
            chosen.data,
            chosen.training,
            store=store,
            on=options["on"],
            jobs=options["jobs"],
            threads=options["threads"],
            limit_train=chosen.limit_train,
            gpus_per_trial=options["gpus_per_trial"],
            tell=progress.trials(tally),
            **({"work": Logged(tuple(names), out.absolute() / "logs")} if names else {}),
        )
        if options["keep_best"] and tally.outcomes:
            progress.say("training the best model again, to keep it")
            keep_best(
                tally.outcomes.values(),
                *chosen,
                folder=out / "model",
                jobs=options["jobs"],
                threads=options["threads"],
            )
    except Stopped as signal:
        stopped = signal.code
    progress.close()
    return _Result(chosen, tally, stopped)


def _show(result: _Result, command: str, options: Mapping[str, Any]) -> int:
    """Print what was found, write it, and name what failed; the exit code."""
    from rich.console import Console

    from batchmix.cli._compared import report_of
    from batchmix.cli.show.report import as_json, print_report, write_report

    out, tally = options["out"], result.tally
    failed = {named(trial): why for trial, why in tally.failed.items()}
    if failed and not tally.outcomes:
        trial, why = next(iter(failed.items()))
        raise mix_error(
            "trials",
            f"all {len(failed)} failed; {trial}: {why.rstrip('.')}.",
            "Nothing can be compared.",
            "Mend it; the same command tries them again.",
        )
    outcomes = tally.kept
    report = report_of(
        tally, result.prepared, command, on=options["on"], picture=not result.stopped
    )
    count, paths = f"{len(outcomes)} of {len(tally.trials)} trials are kept in {shown(out)}", []
    if not result.stopped:  # before anything is printed: standard output may be closed
        with kept(out, f"{count}."):
            paths = write_report(out, report)
    if options["as_json"]:
        print_json(as_json(report))
    elif outcomes:
        print_report(report, Console())
    if paths and not options["as_json"]:
        more = [out / "logs"] if options["log"] else []
        more += [out / "model"] if options["keep_best"] else []
        print("", *map(shown, [*paths, *more]), sep="\n")
    for trial, why in failed.items():
        print(f"batchmix: {shown(f'{trial} failed: {why}')}", file=sys.stderr)
    if result.stopped or failed:
        print(f"batchmix: {count}; the same command goes on.", file=sys.stderr)
    return result.stopped or (FAILED if failed else 0)


def _command(options: Mapping[str, Any], chosen: Prepared) -> str:
    """The command that repeats this one, with what the data decided spelled out."""
    from batchmix.cli.lab.defaults import command

    usual = {name: one.default for name, one in signature(compare).parameters.items()}
    others = {
        name: value
        for name, value in (dict(options) | {"limit_train": chosen.limit_train}).items()
        if name not in vars(chosen.training) and name not in _SILENT and value != usual[name]
    }
    return command("compare", options["data"], chosen.training, **others)


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
