"""Trials as tasks of a Ray cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.child import ENGINE, Work
from batchmix.cli.lab.trials.pool import Event


def run_on_ray(
    trials: Sequence[Trial],
    data: Data,
    training: Training,
    *,
    limit_train: int | None = None,
    gpus: float = 1.0,
    work: Work | None = None,
) -> Iterator[Event]:
    """Events as those of a pool, as they come; every machine can read the data's files.

    The cluster's address is RAY_ADDRESS, else Ray finds or starts one on this machine.
    """
    ray = check_ray()
    from ray.util.queue import Queue

    ours = not ray.is_initialized()
    sigterm = signal.getsignal(signal.SIGTERM)
    if ours:
        ray.init(log_to_driver=False, logging_level="error")
        signal.signal(signal.SIGTERM, sigterm)  # Ray puts its own in place
    news = Queue()
    shared = ray.put((data, training, limit_train))
    share = gpus if training.accelerator in ("cuda", "gpu", "auto") else 0
    task = ray.remote(num_cpus=1, num_gpus=share, max_retries=1)(_task)
    running = {task.remote(trial, shared, news, work): trial for trial in trials}
    try:
        while running:
            done, _ = ray.wait(list(running), timeout=1)
            yield from news.get_nowait_batch(news.qsize())
            for one in done:
                yield _last_word(ray, one, running.pop(one))
    finally:
        for one in running:
            ray.cancel(one, force=True)
        if ours:
            ray.shutdown()


def check_ray() -> Any:
    """The module, where it is installed."""
    try:
        return import_module("ray")
    except ImportError as error:
        raise mix_error(
            "--on ray",
            f"Ray cannot be imported ({error}).",
            "Trials on a cluster are tasks of Ray.",
            "Install it (pip install 'batchmix[ray]'), or leave --on out for this machine.",
        ) from None


def _task(trial: Trial, shared: Any, news: Any, work: Work | None) -> Event:
    data, training, limit_train = shared
    news.put(Event(trial, "started"))
    run = work or import_module(ENGINE).run_trial
    try:
        outcome = run(
            trial,
            data,
            training,
            limit_train=limit_train,
            on_epoch=lambda epoch, figures: news.put(Event(trial, "epoch", (epoch, figures))),
        )
    except MixError as error:
        return Event(trial, "failed", " ".join(str(error).split()))
    return Event(trial, "outcome", outcome)


def _last_word(ray: Any, one: Any, trial: Trial) -> Event:
    try:
        event: Event = ray.get(one)
    except Exception as error:  # of the trial, or of the cluster: Ray has many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Event(trial, "failed", f"{type(error).__name__}: {lines[-1] if lines else ''}")
    return event
