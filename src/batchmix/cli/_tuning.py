"""A search, and the measurement of what it found: what `batchmix tune` does between its options
and its report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from batchmix._errors import mix_error
from batchmix.cli._prepare import Prepared, read
from batchmix.cli._progress import Progress
from batchmix.cli._stop import Stopped
from batchmix.cli._tally import Tally, span
from batchmix.cli.lab.outcome import METRICS, Trial, headline
from batchmix.cli.lab.search.candidates import Candidate, Search
from batchmix.cli.lab.search.reserve import reserved, searched
from batchmix.cli.lab.search.space import space
from batchmix.cli.lab.trials.comparison import run
from batchmix.cli.lab.trials.pool import Event, Pool, cores
from batchmix.cli.lab.trials.store import open_store
from batchmix.cli.show.found import Found, worth

_SMOOTH = "smooth:0.1"


@dataclass
class Result:
    """How far a run has come."""

    found: Found | None = None
    tally: Tally | None = None  # of the trials at the end
    measured: Prepared | None = None  # what they train on
    stopped: int = 0  # exit code of the signal


def search_and_measure(chosen: Prepared, options: Mapping[str, Any], progress: Progress) -> Result:
    """Search, then measure what was found with fresh seeds, until a signal comes."""
    result = Result()
    # trials of something else are refused before the search, not after it
    open_store(options["out"], *chosen._replace(data=reserved(chosen.data)))
    try:
        _search(result, chosen, options, progress)
        _measure(result, chosen, options, progress)
    except (Stopped, KeyboardInterrupt) as signal:  # the latter is what Ray Tune makes of it
        result.stopped = signal.code if isinstance(signal, Stopped) else 130
    progress.close()
    return result


def _search(
    result: Result, chosen: Prepared, options: Mapping[str, Any], progress: Progress
) -> None:
    """The search, or as much of it as there is when a signal comes."""
    folder: Path = options["out"] / "search"
    part = chosen._replace(data=searched(reserved(chosen.data), chosen.limit_train))
    metric = headline(chosen.data.task.kind)
    search = Search(
        space(options["search"], chosen.training.epochs),
        tuple(range(options["search_seeds"])),
        options["label_noise"],
        METRICS[metric].high,
        options["trials"],
        options["jobs"] or cores(),
        options["pruner"],
        options["seed"],
    )
    result.found = Found(metric, (), search.seeds, len(part.data.val or ()))
    engine = _with_optuna if options["engine"] == "optuna" else _with_ray
    engine(result.found, search, part, folder, options, progress)
    _forget(folder)


def _with_optuna(
    found: Found,
    search: Search,
    part: Prepared,
    folder: Path,
    options: Mapping[str, Any],
    progress: Progress,
) -> None:
    from batchmix.cli.lab.search.optuna_search import Tries
    from batchmix.cli.lab.search.study import importances, open_study

    path, made_with = options["out"] / "search.db", _made_with(search, part)
    if path.exists():
        open_study(path, search, made_with)  # another search is refused before rows are read
    cache, log = folder / "cache", folder / "trials.log"
    part = read(part, search.seeds, progress, skip_bad=options["skip_bad"], cache=cache)
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder, *part)
    study = open_study(path, search, made_with)
    data, training, limit_train = part
    with Pool(data, training, jobs=options["jobs"], limit_train=limit_train, log=log) as pool:
        search = replace(search, jobs=pool.jobs)
        tries = Tries(search, study, pool, store, Hearing(search, found.metric, progress))
        try:
            tries.run()
        finally:
            found.candidates, found.importances = tries.candidates(), importances(study)


def _with_ray(
    found: Found,
    search: Search,
    part: Prepared,
    folder: Path,
    options: Mapping[str, Any],
    progress: Progress,
) -> None:
    from batchmix.cli.lab.search.ray_tune import search_on_ray

    part = read(part, search.seeds, progress, skip_bad=options["skip_bad"])
    folder.mkdir(parents=True, exist_ok=True)
    progress.reading("searching with Ray Tune")
    found.candidates = search_on_ray(
        search,
        part.data,
        part.training,
        store=open_store(folder, *part),
        made_with=_made_with(search, part),
        limit_train=part.limit_train,
        gpus=options["gpus_per_trial"],
    )


def _measure(
    result: Result, chosen: Prepared, options: Mapping[str, Any], progress: Progress
) -> None:
    """None, smoothing and the best candidate, with seeds that the search has not seen."""
    assert result.found is not None
    out, part = options["out"], chosen._replace(data=reserved(chosen.data))
    smooth = [] if part.data.task.kind == "numbers" else [_SMOOTH]
    first = options["search_seeds"]
    seeds = range(first, first + options["seeds"])
    arms = ["none", *smooth, best_of(result.found).arm]
    trials = [Trial(arm, options["label_noise"], seed) for seed in seeds for arm in arms]
    part = read(part, seeds, progress, skip_bad=options["skip_bad"], cache=out / "cache")
    store = open_store(out, *part)
    result.measured = part
    kind, epochs = part.data.task.kind, part.training.epochs
    result.tally = Tally(trials, store.outcomes.values(), epochs, kind)
    progress.say(f"measuring with fresh seeds: {', '.join(arms)}")
    run(
        trials,
        part.data,
        part.training,
        store=store,
        on=options["on"],
        jobs=options["jobs"],
        limit_train=part.limit_train,
        gpus_per_trial=options["gpus_per_trial"],
        tell=progress.trials(result.tally),
    )
    _forget(out)


def _forget(out: Path) -> None:
    """The decoded rows are not needed any more."""
    from batchmix.cli.lab.loading.cache import forget

    forget(out / "cache")


def best_of(found: Found) -> Candidate:
    """The best candidate that mixes."""
    if found.best is None:
        failed = [c for c in found.candidates if c.state == "failed"]
        raise mix_error(
            "the search",
            f"none of {len(found.candidates) - 1} candidates was trained to the end"
            + (f"; {failed[0].arm}: {failed[0].why.rstrip('.')}." if failed else "."),
            "The best of them is measured at the end.",
            "Give more --trials, or --pruner none.",
        )
    return found.best


def _made_with(search: Search, part: Prepared) -> dict[str, Any]:
    """What may not change while a search goes on; more trials and other jobs may."""
    training = asdict(part.training)
    for name in ("seed", "workers", "accelerator"):
        del training[name]
    return {
        "the data's fingerprint": part.data.fingerprint,
        "--limit-train": part.limit_train,
        "--search": list(search.space.policies),
        "--search-seeds": len(search.seeds),
        "--label-noise": search.noise,
        "--pruner": search.pruner,
        "--seed": search.seed,
    } | {f"--{name.replace('_', '-')}": value for name, value in training.items()}


class Hearing:
    """Tells people how a search goes: a line for each candidate, and a count of epochs."""

    def __init__(self, search: Search, metric: str, progress: Progress) -> None:
        self.search, self.metric, self.progress = search, metric, progress
        self.over, self.epochs, self.began = 0, 0, time.monotonic()
        self.count = progress.reading("searching, epochs")

    def __call__(self, news: Event | Candidate) -> None:
        planned = self.search.trials + 1
        if isinstance(news, Candidate):
            self.over += 1
            said = worth(self.metric, news)
            self.progress.say(
                f"candidate {self.over} of {planned}, {news.arm}: {said}{self._left()}"
            )
        elif news.kind == "again":
            self.progress.say(f"{news.trial.arm}: {news.value}; it is tried once more")
        elif news.kind == "epoch":
            self.epochs += 1
            self.count(self.epochs, planned * self.search.most)

    def _left(self) -> str:
        """By the pace of candidates so far, of which those that were kept took no time."""
        left = self.search.trials + 1 - self.over
        seconds = (time.monotonic() - self.began) / self.over * left
        return f"; about {span(seconds)} left" if left and self.epochs else ""
