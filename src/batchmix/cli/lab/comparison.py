"""All trials of a comparison: those that are kept, and those that are yet to be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from batchmix.cli.lab.child import Work
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.pool import Event, Pool
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.store import Store
from batchmix.cli.lab.training import Training

On = Literal["local", "ray"]
Tell = Callable[[Event], None]


def run(
    trials: Sequence[Trial],
    data: Data,
    training: Training,
    *,
    store: Store,
    on: On = "local",
    jobs: int | None = None,
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

    if todo and on == "ray":
        from batchmix.cli.lab.on_ray import run_on_ray

        for event in run_on_ray(
            todo, data, training, limit_train=limit_train, gpus=gpus_per_trial, work=work
        ):
            take(event)
    elif todo:
        log = store.path.with_name("trials.log")
        with Pool(data, training, jobs=jobs, limit_train=limit_train, log=log, work=work) as pool:
            for trial in todo:
                pool.submit(trial)
            for event in pool.events():
                take(event)
        _remove_if_empty(log)
    return [store.outcomes[trial] for trial in trials if trial in store.outcomes]


def _remove_if_empty(log: Path) -> None:
    if log.exists() and not log.stat().st_size:
        log.unlink()
