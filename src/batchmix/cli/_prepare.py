"""From options to data and training, in the order in which mistakes are cheapest to find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from batchmix import Key, draw
from batchmix._errors import MixError, mix_error
from batchmix.cli._options import given
from batchmix.cli._progress import Progress
from batchmix.cli._words import Entry, check_mix_on, check_task
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.pool import cores
from batchmix.policies._paste import reads_of


class Prepared(NamedTuple):
    """What trials share."""

    data: Data
    training: Training
    limit_train: int | None


def choose(options: Mapping[str, Any], entries: Sequence[Entry]) -> Prepared:
    """The data, listed only, and how it is trained; nothing heavy is imported, but for a GPU."""
    from batchmix.cli.lab import defaults
    from batchmix.cli.lab.data import open_data
    from batchmix.cli.lab.engine.model_names import FORMS, check_model

    if options["accelerator"]:
        check_accelerator(options["accelerator"], options.get("on") == "ray")
    if model := options["model"]:  # before the data is looked at
        check_model(model, options["pretrained"], FORMS.get(model, ("image",))[0])
    data = open_data(
        options["data"],
        targets=options["targets"],
        sound=options["sound"],
        seconds=options["seconds"],
        target=options.get("target"),
    )
    if data.form == "table" and options.get("keep_best"):
        raise mix_error(
            "--keep-best", "got it with a table.", "Models of tables are compared, not kept.",
            "Leave it out.",
        )  # fmt: skip
    if data.name == "photos":
        raise mix_error(
            "DATA",
            "got 'photos'.",
            "They are squares of eight photographs, to look at: a model that is tested on squares "
            "of the photographs that it has learnt says nothing.",
            "Pass 'digits', or a folder that holds train/CLASS/* or CLASS/*, such as ./photos.",
        )
    if options["sound"] and data.form in ("image", "table"):
        raise mix_error(
            "--sound",
            f"got {options['sound']!r}; {options['data']} holds no sounds.",
            "It says how WAV files are read.",
            "Leave it out.",
        )
    words = "--policy" if options.get("policy") else "--smoothing"  # of train
    check_task(entries, data.task.kind, "--policies" if "policy" not in options else words)
    check_mix_on(entries, options["mix_on"])
    _check_axes(entries, data, words if "policy" in options else "--policies")
    limit_train = defaults.limit_of(data, options["limit_train"])
    training = defaults.choose(data, given(options), limit_train)
    if options["workers"] is None and training.accelerator == "cpu":
        training = replace(training, workers=0)  # trials side by side use all cores already
    return Prepared(data, training, limit_train)


def _check_axes(entries: Sequence[Entry], data: Data, where: str) -> None:
    """A policy that needs other rows than these says so now, not after the first arm."""
    axes = "HW" if data.form == "image" else "T"
    for entry in entries:
        reads = reads_of(entry.policy, entry.pairing)
        if "image" in reads and data.form != "image":
            rows = "lines of a table" if data.form == "table" else "sounds"
            raise mix_error(
                where, f"got {entry.name!r}; the rows are {rows}.", "It looks at images.",
                "Leave it out.",
            )  # fmt: skip
        if reads:  # there is nothing to look at yet
            continue
        try:
            draw(entry.policy, Key(0), 2, dict.fromkeys(axes, 8), pairing=entry.pairing)
        except MixError as error:
            rule = str(error).partition("\n")[2].partition(". ")[0] + "."
            raise mix_error(
                where, f"got {entry.name!r}; axes of the rows: {', '.join(axes)}.", rule,
                "Leave it out.",
            ) from None  # fmt: skip


def check_accelerator(name: str, elsewhere: bool = False) -> None:
    """One that there is, on this machine or `elsewhere`."""
    if elsewhere or name in ("cpu", "auto"):
        return
    import torch  # nothing else knows for certain

    cuda = torch.cuda.is_available() and name != "mps"
    if cuda or (name != "cuda" and torch.backends.mps.is_available()):
        return
    raise mix_error(
        f"--accelerator {name}",
        f"PyTorch {torch.__version__} finds none on this machine.",
        "The machine must have what is asked for.",
        "Leave it out, or try --accelerator cpu.",
    )


def check_rows(
    data: Data, seeds: Iterable[int], limit_train: int | None, noise: Iterable[float] = ()
) -> None:
    """Every seed has rows for every use, and labels that can be made wrong where they shall be."""
    from batchmix.cli.lab.split import split

    for seed in seeds:
        split(data, seed, limit_train)
    if any(noise) and data.task.kind != "classes":
        raise mix_error(
            "--label-noise",
            f"got it for targets of the kind {data.task.kind!r}.",
            "A wrong label is another class, any of them equally likely.",
            "Leave it out.",
        )


def read(
    prepared: Prepared,
    seeds: Sequence[int],
    progress: Progress,
    *,
    skip_bad: bool = False,
    cache: Path | None = None,
) -> Prepared:
    """The same, with all rows that these seeds use known to be good, and decoded if small."""
    from batchmix.cli.lab.split import checked, used_names

    data, training, limit_train = prepared
    data = checked(
        data,
        seeds,
        limit_train,
        skip_bad=skip_bad,
        workers=cores(),
        tell=progress.reading("checking rows"),
    )
    for note in data.notes:
        progress.say(note)
    for name, why in data.skipped:
        progress.say(f"left out: {name!r}: {why}")
    if cache is not None:
        from batchmix.cli.lab.loading.cache import cached

        used = used_names(data, list(seeds), limit_train)
        data = cached(data, training, cache, progress.reading("decoding rows"), used)
    progress.done()
    return Prepared(data, training, limit_train)
