"""From options to data and training, in the order in which mistakes are cheapest to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from batchmix.cli._options import given
from batchmix.cli._progress import Progress
from batchmix.cli._words import Entry, check_task
from batchmix.cli.lab.pool import cores, warm
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training


class Prepared(NamedTuple):
    """What trials share."""

    data: Data
    training: Training
    limit_train: int | None


def choose(options: Mapping[str, Any], entries: Sequence[Entry]) -> Prepared:
    """The data, listed only, and how it is trained; nothing heavy is imported."""
    from batchmix.cli.lab.data import open_data
    from batchmix.cli.lab.defaults import choose as choose_training

    data = open_data(
        options["data"],
        targets=options["targets"],
        sound=options["sound"],
        seconds=options["seconds"],
    )
    check_task(entries, data.task.kind)
    training = choose_training(data, given(options))
    limit_train = options["limit_train"] or (600 if data.name == "digits" else None)
    return Prepared(data, training, limit_train)


def read(
    prepared: Prepared,
    seeds: Sequence[int],
    progress: Progress,
    *,
    skip_bad: bool = False,
    cache: Path | None = None,
) -> Prepared:
    """The same, with all rows that these seeds use known to be good, and decoded if small.

    The engine is imported meanwhile, by the server of processes.
    """
    from batchmix.cli.lab.split import checked, used_names

    data, training, limit_train = prepared
    warm()
    data = checked(
        data,
        seeds,
        limit_train,
        skip_bad=skip_bad,
        workers=cores(),
        tell=progress.reading("checking rows"),
    )
    for name, why in data.skipped:
        progress.say(f"left out: {name!r}: {why}")
    if cache is not None:
        from batchmix.cli.lab.cache import cached

        used = used_names(data, list(seeds), limit_train)
        data = cached(data, training, cache, progress.reading("decoding rows"), used)
    progress.done()
    return Prepared(data, training, limit_train)
