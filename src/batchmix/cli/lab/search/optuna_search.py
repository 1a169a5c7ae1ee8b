"""A search with Optuna: it asks for candidates, trains them side by side, and tells what they gave.

The next candidate is a function of those before it and of the seed, so that a search which was
broken off goes on as if it had not been.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState

from batchmix._errors import mix_error
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.search.candidates import Candidate, Search, best_epoch
from batchmix.cli.lab.search.study import counts, tried
from batchmix.cli.lab.trials.pool import Event
from batchmix.cli.lab.trials.store import Store


class Workers(Protocol):
    """What trains: a `lab.pool.Pool`, or the like."""

    def submit(self, trial: Trial) -> None: ...
    def stop(self, trial: Trial) -> None: ...
    def events(self) -> Iterator[Event]: ...


@dataclass
class _Running:
    """A candidate that is being trained, with one seed after the other."""

    arm: str
    asked: optuna.Trial | None  # None: no mixing, which is no candidate of Optuna's
    values: list[float] = field(default_factory=list)  # of the seeds that are done
    held_out: list[float] = field(default_factory=list)  # per epoch of the present seed


class Tries:
    """Candidates in training. What is in the store is not trained again."""

    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        workers: Workers,
        store: Store,
        tell: Callable[[Event | Candidate], None] = lambda news: None,
    ) -> None:
        self.search, self.study, self.workers = search, study, workers
        self.store, self.tell = store, tell
        self.running: dict[Trial, _Running] = {}
        self.none: Candidate | None = None

    def run(self) -> list[Candidate]:
        """Try no mixing, then candidates until there are `search.trials`; hear of each."""
        self._begin_seed(_Running("none", None))
        self._fill()
        for event in self.workers.events():
            self.tell(event)
            one = self.running.get(event.trial)
            if one is not None:
                self._take(event, one)
                self._fill()
        return self.candidates()

    def candidates(self) -> list[Candidate]:
        """What was tried so far, no mixing first."""
        return [*([self.none] if self.none else []), *tried(self.study)]

    def _fill(self) -> None:
        while len(self.running) < self.search.jobs and self._count() < self.search.trials:
            self._ask()

    def _count(self) -> int:
        """Candidates that were tried, are being tried, or failed by themselves."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(counts(t) or t.state == TrialState.RUNNING for t in trials)

    def _ask(self) -> None:
        """Begin with the next candidate, which is a function of what was tried and of the seed."""
        seed = 1000 * self.search.seed + self._count()
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        usual = self.search.space.usual()[self._count() :]
        if usual and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.enqueue_trial(usual[0])
        asked = self.study.ask()
        settings: dict[str, Any] = {
            "policy": asked.suggest_categorical("policy", self.search.space.policies)
        }
        for name, (low, high, step) in self.search.space.ranges(settings["policy"]).items():
            settings[name] = asked.suggest_float(name, low, high, step=step, log=step is None)
        arm = self.search.space.arm(settings)
        asked.set_user_attr("arm", arm)
        if any(one.arm == arm for one in self.running.values()):
            self._fail(_Running(arm, asked), "the same arm is being trained")
        else:
            self._begin_seed(_Running(arm, asked))

    def _begin_seed(self, one: _Running) -> None:
        trial = Trial(one.arm, self.search.noise, self.search.seeds[len(one.values)])
        self.running[trial] = one
        if trial in self.store.outcomes:
            self._end_of_seed(self.store.outcomes[trial], one)
        else:
            self.workers.submit(trial)

    def _take(self, event: Event, one: _Running) -> None:
        if event.kind == "epoch":
            epoch, figures = event.value
            # a process that was killed begins anew, and says the same again
            if epoch == len(one.held_out) and self._hopeless(one, figures["held_out"]):
                self.workers.stop(event.trial)
                del self.running[event.trial]
                self._end(one, TrialState.PRUNED)
        elif event.kind == "outcome":
            self.store.add(event.value)
            self._end_of_seed(event.value, one)
        elif event.kind == "failed":
            del self.running[event.trial]
            self._fail(one, event.value)

    def _hopeless(self, one: _Running, held_out: float) -> bool:
        """Report the mean over seeds of the best epoch so far; whether the pruner gives it up."""
        one.held_out.append(held_out)
        if one.asked is None:
            return False
        value = statistics.fmean([*one.values, best_epoch(one.held_out, self.search.high)])
        step = len(one.values) * self.search.space.epochs + len(one.held_out) - 1
        one.asked.report(value, step)
        return step < self.search.most - 1 and one.asked.should_prune()

    def _end_of_seed(self, outcome: Outcome, one: _Running) -> None:
        del self.running[outcome.trial]
        for held_out in outcome.history["held_out"][len(one.held_out) :]:
            self._hopeless(one, held_out)
        one.values.append(best_epoch(outcome.history["held_out"], self.search.high))
        one.held_out.clear()
        if not math.isfinite(one.values[-1]):
            self._fail(one, "its metric is not a number after any epoch")
        elif len(one.values) < len(self.search.seeds):
            self._begin_seed(one)
        else:
            self._end(one, TrialState.COMPLETE)

    def _end(self, one: _Running, state: TrialState) -> None:
        value = statistics.fmean(one.values) if state == TrialState.COMPLETE else None
        if one.asked is None:
            self.none = Candidate("none", "finished", value, self.search.most)
            self.tell(self.none)
            return
        self.study.tell(one.asked, value, state=state)
        self.tell(tried(self.study, one.asked.number)[0])

    def _fail(self, one: _Running, why: str) -> None:
        if one.asked is None:
            raise mix_error(
                "the search",
                f"the model without mixing failed: {why}",
                "Candidates are measured against it.",
                "Mend that first; see also trials.log.",
            )
        one.asked.set_user_attr("why", why)
        self._end(one, TrialState.FAIL)
