"""All trials of a comparison: those that are kept, and those that are yet to be run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Literal

from batchmix._errors import mix_error
from batchmix.cli._json import read_json
from batchmix.cli._output import sweep, sync, write
from batchmix.cli.lab.outcome import METRICS, Outcome, Trial, headline
from batchmix.cli.lab.rows import Data, Kind
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.child import Work
from batchmix.cli.lab.trials.pool import Event, Pool, drop_if_empty
from batchmix.cli.lab.trials.store import Store, configuration

On = Literal["local", "ray"]
Tell = Callable[[Event], None]
_ANY = {"data", "format", "versions"}  # under another name, or made before an upgrade: the same


def run(
    trials: Sequence[Trial],
    data: Data,
    training: Training,
    *,
    store: Store,
    on: On = "local",
    jobs: int | None = None,
    threads: int = 1,
    limit_train: int | None = None,
    gpus_per_trial: float = 1.0,
    tell: Tell = lambda event: None,
    work: Work | None = None,
) -> list[Outcome]:
    """The outcomes of the trials, in their order; those of trials that failed are left out.

    Each is in the store as soon as it is there. `tell` hears of everything, failures too.
    """
    todo = [trial for trial in trials if trial not in store.outcomes]

    def take(event: Event) -> None:
        if event.kind == "outcome":
            store.add(event.value)
        tell(event)

    log = store.path.with_name("trials.log")
    drop_if_empty(log)  # of a run that was killed
    if todo and on == "ray":
        from batchmix.cli.lab.trials.on_ray import run_on_ray

        for event in run_on_ray(
            todo, data, training, limit_train=limit_train, gpus=gpus_per_trial, work=work
        ):
            take(event)
    elif todo:
        with Pool(
            data, training, jobs=jobs, threads=threads, limit_train=limit_train, log=log, work=work
        ) as pool:
            for trial in todo:
                pool.submit(trial)
            for event in pool.events():
                take(event)
    return [store.outcomes[trial] for trial in trials if trial in store.outcomes]


def best_of(outcomes: Iterable[Outcome], kind: Kind) -> Outcome:
    """Of the arm that is best on the test rows, the seed that is best on its held-out rows.

    At the least label noise; an arm is judged by the mean of its seeds, each at its best epoch.
    """
    metric = headline(kind)
    sign = 1 if METRICS[metric].high else -1
    outcomes = list(outcomes)
    least = min(one.trial.noise for one in outcomes)
    arms: dict[str, list[Outcome]] = {}
    for one in outcomes:
        if one.trial.noise == least:
            arms.setdefault(one.trial.arm, []).append(one)
    best = max(arms.values(), key=lambda arm: sign * fmean(one.best[metric] for one in arm))
    return max(best, key=lambda one: sign * one.history["held_out"][one.best["epoch"]])


def keep_best(
    outcomes: Iterable[Outcome],
    data: Data,
    training: Training,
    limit_train: int | None,
    *,
    folder: Path,
    jobs: int | None = None,
    threads: int = 1,
    work: Work | None = None,
) -> Trial:
    """Train the best once more, on this machine, and write its model to `folder`.

    A trial repeats itself, with as many `threads`: no other model needs a place on the disk.
    """
    trial = best_of(outcomes, data.task.kind).trial
    note = folder / "trial.json"
    made = asdict(trial) | configuration(data, training, limit_train)
    text = json.dumps({name: value for name, value in made.items() if name not in _ANY})
    with suppress(OSError, ValueError):
        if read_json(note) == json.loads(text):
            return trial
    note.unlink(missing_ok=True)  # it would speak for a model half of which is another one's
    sync(folder)
    log = folder.with_name("trials.log")
    sweep(folder, alone=True)
    with Pool(
        data, training, jobs=jobs, threads=threads, limit_train=limit_train, log=log, work=work
    ) as pool:
        pool.submit(trial, keep=folder)
        for event in pool.events():
            if event.kind == "failed":
                raise mix_error(
                    "--keep-best",
                    f"{trial.arm}, seed {trial.seed}: {event.value.rstrip('.')}.",
                    "The best model is trained once more to be kept.",
                    "The same command tries it again.",
                )
    write(note, text.encode())
    return trial
