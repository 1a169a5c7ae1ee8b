"""A search with Ray Tune: random candidates, ended early by ASHA, on the machines of a cluster."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from batchmix.cli._json import read_json
from batchmix.cli._output import plain, write
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.search.candidates import (
    Candidate,
    Search,
    best_epoch,
    check_candidate,
    check_same,
    unreadable,
)
from batchmix.cli.lab.search.space import OFF, PROB
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.child import ENGINE, Work
from batchmix.cli.lab.trials.comparison import run
from batchmix.cli.lab.trials.on_ray import check_ray
from batchmix.cli.lab.trials.store import Store

_KEEP_OF_THREE = 3  # ASHA goes on with the best third


def search_on_ray(
    search: Search,
    data: Data,
    training: Training,
    *,
    store: Store,
    made_with: Mapping[str, Any],
    limit_train: int | None = None,
    gpus: float = 1.0,
    work: Work | None = None,
) -> list[Candidate]:
    """What was tried, no mixing first; the store's folder keeps it, and what is under way."""
    ray = check_ray()
    folder = store.path.parent.absolute()
    _check_same(folder / "ray-tune.json", dict(made_with) | {"--trials": search.trials})
    done = folder / "candidates.json"
    if done.exists():
        return _candidates(done)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # ours says what is kept
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    handler, ours = signal.getsignal(signal.SIGTERM), not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, logging_level="error")
        signal.signal(signal.SIGTERM, handler)
    try:
        common: dict[str, Any] = {"limit_train": limit_train, "work": work}
        trials = [Trial("none", search.noise, seed) for seed in search.seeds]
        none = run(trials, data, training, store=store, on="ray", gpus_per_trial=gpus, **common)
        share = gpus if training.accelerator in ("cuda", "gpu", "auto") else 0
        grid = _fit(search, folder, share, data=data, training=training, **common)
        begun = sorted(grid, key=lambda result: Path(result.path).name)  # named by their number
        found = [_candidate(search, result, store) for result in begun]
    finally:
        if ours:
            ray.shutdown()
    values = [best_epoch(one.history["held_out"], search.high) for one in none]
    found = [Candidate("none", "finished", statistics.fmean(values), search.most), *found]
    write(done, json.dumps(plain([asdict(one) for one in found])).encode())
    return found


def _check_same(path: Path, now: Mapping[str, Any]) -> None:
    """As for Optuna's; Ray Tune cannot add trials to a search either."""
    if not path.exists():
        for other in ("candidates.json", "ray-tune"):  # written after this file, by another search
            if (path.parent / other).exists():
                raise unreadable(path.parent / other, f"{path.name} is missing beside it")
        write(path, json.dumps(now).encode())
        return
    was = _kept(path)
    if not isinstance(was, dict):
        raise unreadable(path, "it is no JSON object")
    check_same(path, now, was)


def _candidates(path: Path) -> list[Candidate]:
    """Those of a search that was finished."""
    was = _kept(path)
    try:
        found = [Candidate(**one) for one in was] if isinstance(was, list) else []
        for one in found:
            check_candidate(one)
    except (TypeError, ValueError) as error:
        raise unreadable(path, f"it is no list of candidates: {error}") from None
    if not found:
        raise unreadable(path, "it is no list of candidates")
    return found


def _kept(path: Path) -> Any:
    """What a file of a search holds, whoever wrote it."""
    try:
        return read_json(path)
    except ValueError as error:
        raise unreadable(path, str(error)) from None


def _fit(search: Search, folder: Path, share: float, **shared: Any) -> Any:
    """Ray's results; an experiment in the folder goes on, its unfinished candidates anew."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    trainable = tune.with_resources(
        tune.with_parameters(_train, search=search, **shared), {"cpu": 1, "gpu": share}
    )
    path = folder / "ray-tune"
    if tune.Tuner.can_restore(str(path)):
        return tune.Tuner.restore(str(path), trainable=trainable).fit()
    ranges = {k: v for name in search.space.policies for k, v in search.space.ranges(name).items()}
    numbers = {k: ranges[k] for k in sorted(ranges.keys() - {"prob", "off"})}
    asha = ASHAScheduler(
        time_attr="epoch",
        max_t=search.most,
        grace_period=max(1, search.space.epochs // 3),
        reduction_factor=_KEEP_OF_THREE,
    )
    return tune.Tuner(
        trainable,
        param_space={
            "policy": tune.choice(list(search.space.policies)),
            "prob": tune.quniform(*PROB),
            "off": tune.quniform(*OFF),
        }
        | {name: tune.loguniform(one.low, one.high) for name, one in numbers.items()},
        tune_config=tune.TuneConfig(
            metric="value",
            mode="max" if search.high else "min",
            num_samples=search.trials,
            max_concurrent_trials=search.jobs,
            reuse_actors=True,  # the engine is imported once
            scheduler=asha,
            search_alg=BasicVariantGenerator(
                points_to_evaluate=search.space.usual(), random_state=search.seed
            ),
        ),
        run_config=tune.RunConfig(name=path.name, storage_path=str(folder), verbose=0),
    ).fit()


def _train(
    config: dict[str, Any],
    search: Search,
    data: Data,
    training: Training,
    limit_train: int | None,
    work: Work | None,
) -> None:
    """One candidate, with one seed after the other; the last report holds the outcomes."""
    from ray import tune

    train = work or import_module(ENGINE).run_trial
    arm, values, outcomes = search.space.arm(config), list[float](), list[Outcome]()
    for seed in search.seeds:
        curve = list[float]()

        def told(epoch: int, figures: dict[str, float], curve: list[float] = curve) -> None:
            curve.append(figures["held_out"])
            at = len(values) * search.space.epochs + epoch + 1
            if at < search.most:
                value = statistics.fmean([*values, best_epoch(curve, search.high)])
                tune.report({"arm": arm, "value": value, "epoch": at})

        trial = Trial(arm, search.noise, seed)
        outcomes.append(train(trial, data, training, limit_train=limit_train, on_epoch=told))
        values.append(best_epoch(outcomes[-1].history["held_out"], search.high))
    last = {"value": statistics.fmean(values), "outcomes": [one.as_json() for one in outcomes]}
    tune.report({"arm": arm, "epoch": search.most} | last)


def _candidate(search: Search, result: Any, store: Store) -> Candidate:
    """A result of Ray Tune; outcomes that it holds go into the store."""
    arm, metrics = search.space.arm(result.config), result.metrics or {}
    if result.error is not None:
        lines = [line.strip() for line in str(result.error).splitlines() if line.strip()]
        return Candidate(arm, "failed", None, metrics.get("epoch", 0), lines[-1] if lines else "")
    for one in metrics.get("outcomes", []):
        outcome = Outcome.of_json(one)
        if outcome.trial not in store.outcomes:
            store.add(outcome)
    if "outcomes" not in metrics:
        return Candidate(arm, "pruned", None, metrics["epoch"])
    if not math.isfinite(metrics["value"]):
        why = "its metric is not a number after any epoch"
        return Candidate(arm, "failed", None, search.most, why)
    return Candidate(arm, "finished", metrics["value"], search.most)
