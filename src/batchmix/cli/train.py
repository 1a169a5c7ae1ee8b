"""`batchmix train`: one run, with timm's arguments for mixing, that goes on where it stopped."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from importlib import metadata
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

import batchmix
from batchmix._errors import mix_error
from batchmix.cli import _options as given
from batchmix.cli._lock import locked
from batchmix.cli._output import AsJson, Quiet, check_folder, print_json
from batchmix.cli._prepare import Prepared, check_rows, choose
from batchmix.cli._processes import Processes, processes
from batchmix.cli._progress import Progress
from batchmix.cli._stop import Stopped, fatal, noted
from batchmix.cli._words import Entry, check_smoothing, parse, policy_of_options
from batchmix.cli.lab.defaults import command
from batchmix.cli.lab.defaults import workers as workers_of
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.run.logs import check_logs
from batchmix.cli.lab.run.state import begin, result_of
from batchmix.cli.lab.training import Training
from batchmix.cli.show.trained import trained
from batchmix.pairing import Reverse

Mode = Literal["batch", "pair", "elem"]
_SMOOTHING = 0.1  # of classes, as in timm
_MIXING = "Mixing, with timm's names"
# options that decide what is mixed, beside those of a training
_MIXED = (
    "policy", "mixup", "cutmix", "cutmix_minmax", "mixup_prob", "mixup_switch_prob", "mixup_mode",
    "mixup_off_epoch", "smoothing",
)  # fmt: skip


def train(
    data: given.DataName,
    mixup: Annotated[float, Option(help="MixUp alpha; on if > 0.", rich_help_panel=_MIXING)] = 0.0,
    cutmix: Annotated[
        float, Option(help="CutMix alpha; on if > 0.", rich_help_panel=_MIXING)
    ] = 0.0,
    cutmix_minmax: Annotated[
        tuple[float, float] | None,
        Option(
            help="CutMix box, low and high share of each side; overrides its alpha.",
            rich_help_panel=_MIXING,
        ),
    ] = None,
    mixup_prob: Annotated[
        float, Option(help="Probability of mixing at all.", rich_help_panel=_MIXING)
    ] = 1.0,
    mixup_switch_prob: Annotated[
        float, Option(help="Probability of CutMix when both are on.", rich_help_panel=_MIXING)
    ] = 0.5,
    mixup_mode: Annotated[
        Mode, Option(help="One draw per batch, pair or row.", rich_help_panel=_MIXING)
    ] = "batch",
    mixup_off_epoch: Annotated[
        int,
        Option(min=0, help="No mixing from this epoch on; 0: never.", rich_help_panel=_MIXING),
    ] = 0,
    smoothing: Annotated[
        float | None,
        Option(help="Label smoothing. Default: 0.1 for classes.", rich_help_panel=_MIXING),
    ] = None,
    policy: Annotated[
        str | None,
        Option(help="One of compare's policies, instead of the above.", rich_help_panel=_MIXING),
    ] = None,
    out: Annotated[
        Path, Option(help="Folder of the run: model, checkpoint, metrics, result.")
    ] = Path("batchmix-train"),
    seed: Annotated[int, Option(min=0, help="Of weights, order of rows, crops and mixes.")] = 0,
    save_minutes: Annotated[
        float, Option(min=0, help="Minutes between checkpoints within an epoch.")
    ] = 10.0,
    log: Annotated[
        list[str] | None, Option(help="csv, tensorboard, wandb, mlflow; repeatable.")
    ] = None,
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
    devices: Annotated[
        int | None, Option(min=1, help="Processes, one device each. Default: 1, or torchrun's.")
    ] = None,
    workers: given.Workers = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train one model; the mixing arguments have timm's names and meanings.

    A run that was stopped, by whatever, goes on with the same command, to the same end bit for bit.
    """
    options = dict(locals()) | {"accelerator": accelerator or "auto"}
    options["log"] = check_logs(log or [])
    check_folder(out)
    ranks, entry = processes(devices), _entry(options)
    chosen = choose(options, [entry])
    check_rows(chosen.data, [seed], chosen.limit_train)
    first = ranks.rank == 0
    try:
        with Progress(quiet or not first) as progress, _folder(out) if first else nullcontext():
            code, result = _run(options, entry, chosen, ranks, progress)
    except Stopped as stopped:
        print("batchmix: stopped before the first step; nothing was lost.", file=sys.stderr)
        raise SystemExit(stopped.code) from None
    if result is not None and first:
        print_json(result) if as_json else print(*trained(result, out, options["log"]), sep="\n")
    if code and first:
        raise SystemExit(code)


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Hold the folder of the run; one that is made here and stays empty goes again."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        with locked(out):
            yield
    finally:
        with suppress(OSError):
            for folder in new:
                folder.rmdir()


def _run(
    options: Mapping[str, Any], entry: Entry, chosen: Prepared, ranks: Processes, progress: Progress
) -> tuple[int, dict[str, Any] | None]:
    """Exit code and result; torch is not imported before everything has been checked."""
    (data, training, limit_train), out = chosen, options["out"]
    if options["workers"] is None:  # one run has the cores to itself, whatever it runs on
        training = replace(training, workers=workers_of(data))
    if entry.name == "train" and data.task.kind == "classes" and options["smoothing"] is None:
        entry = replace(entry, smoothing=_SMOOTHING)
    config = asdict(training) | {name: options[name] for name in _MIXED}
    config |= {"limit_train": limit_train, "devices": ranks.devices * ranks.nodes}
    state, changed = begin(out, config | {"versions": _versions()}, data)
    done = result_of(out, state) if state.finished else None
    if done is not None:
        progress.say(f"the run in {out} is finished; another one needs another --out")
        return 0, done
    progress.say(_command(options, training, limit_train))
    for line in changed:
        progress.say(line)
    data = _read(data, training.seed, limit_train, options["skip_bad"], progress)

    from batchmix.cli.lab.run.resumable import Job, go_on, open_job

    job = Job(
        data, training, entry, limit_train, out, ranks.devices, ranks.nodes, options["log"],
        options["save_minutes"],
    )  # fmt: skip
    with fatal() if ranks.devices * ranks.nodes > 1 else nullcontext():
        fabric, peers = open_job(job, progress)
    with noted() as stop, peers:
        result = go_on(fabric, job, state, stop, progress)
    if isinstance(result, str):
        progress.close()
        print(f"batchmix: {result}; the same command goes on.", file=sys.stderr)
        return stop.code or 143, None
    return 0, result


def _entry(options: Mapping[str, Any]) -> Entry:
    """What is mixed: --policy, or timm's arguments with timm's pairing."""
    smoothing = options["smoothing"] or 0.0
    check_smoothing("--smoothing", smoothing)
    policy = policy_of_options(
        *(options[name] for name in ("mixup", "cutmix", "cutmix_minmax", "mixup_prob")),
        *(options[name] for name in ("mixup_switch_prob", "mixup_mode", "mixup_off_epoch")),
    )
    if options["policy"] is None:
        return Entry("train", policy, smoothing, Reverse())
    entries = parse(options["policy"], "--policy")
    if len(entries) != 1 or policy is not None or options["smoothing"] is not None:
        raise mix_error(
            "--policy",
            f"got {options['policy']!r}"
            + (" beside --mixup, --cutmix or --smoothing." if len(entries) == 1 else "."),
            "It is one policy, and says all about mixing and smoothing.",
            "Write for example --policy mixup:0.8,prob=0.5,smooth=0.1.",
        )
    return entries[0]


def _read(
    data: Data, seed: int, limit_train: int | None, skip_bad: bool, progress: Progress
) -> Data:
    """The same, with all its rows known to be good."""
    from batchmix.cli.lab.split import checked
    from batchmix.cli.lab.trials.pool import cores

    tell = progress.reading("checking rows")
    data = checked(data, [seed], limit_train, skip_bad=skip_bad, workers=cores(), tell=tell)
    for line in (*data.notes, *(f"left out: {name!r}: {why}" for name, why in data.skipped)):
        progress.say(line)
    return data


def _command(options: Mapping[str, Any], training: Training, limit_train: int | None) -> str:
    """The command that repeats the run."""
    defaults = {name: each.default for name, each in signature(train).parameters.items()}
    plain = {name: options[name] for name in _MIXED if options[name] != defaults[name]}
    others = {name: options[name] for name in ("targets", "sound", "seconds", "skip_bad")}
    others |= {"limit_train": limit_train, "devices": options["devices"]}
    others |= {"log": list(options["log"]), "out": options["out"]}
    return command("train", options["data"], training, **plain, **others)


def _versions() -> dict[str, str]:
    """What figures may depend on; read without importing it."""
    return {
        "batchmix": batchmix.__version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }
