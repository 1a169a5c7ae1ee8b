"""How far the trials of a comparison are, and what they say so far."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from batchmix.cli.lab.outcome import METRICS, Outcome, Trial, headline
from batchmix.cli.lab.rows import Kind
from batchmix.cli.lab.trials.pool import Event

FAILED = 3  # exit code where trials failed


@dataclass(frozen=True)
class Line:
    """An arm at a level of label noise, so far."""

    noise: float
    arm: str
    done: int
    planned: int
    figure: str  # mean ± spread of the headline metric, at the epochs that held-out rows chose


class Tally:
    """Counts trials and epochs; `clock` gives seconds."""

    def __init__(
        self,
        trials: Sequence[Trial],
        outcomes: Iterable[Outcome],
        epochs: int,
        kind: Kind,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trials = tuple(trials)
        self.outcomes = {one.trial: one for one in outcomes if one.trial in set(trials)}
        self.failed: dict[Trial, str] = {}
        self._each, self._metric, self._clock = epochs, headline(kind), clock
        self._epochs = dict.fromkeys(self.outcomes, epochs)  # that are done, per trial
        self._kept = len(self.outcomes) * epochs  # epochs that are over and were not trained here
        self._began: float | None = None

    def take(self, event: Event) -> None:
        if self._began is None:
            self._began = self._clock()
        if event.kind == "epoch":
            self._epochs[event.trial] = event.value[0] + 1
        elif event.kind == "again":
            self._epochs[event.trial] = 0
        else:
            if event.kind == "outcome":
                self.outcomes[event.trial] = event.value
            if event.kind == "failed":
                self.failed[event.trial] = event.value
                self._kept += self._each - self._epochs.get(event.trial, 0)  # took no time
            if event.kind != "started":
                self._epochs[event.trial] = self._each

    @property
    def kept(self) -> list[Outcome]:
        """The outcomes that are there, in the order of the trials."""
        return [self.outcomes[trial] for trial in self.trials if trial in self.outcomes]

    @property
    def epochs(self) -> tuple[int, int]:
        """Done and planned, of all trials."""
        return sum(self._epochs.values()), self._each * len(self.trials)

    def left(self) -> float | None:
        """Seconds, by the pace of the epochs of this run; None before the first."""
        done, planned = self.epochs
        here = done - self._kept
        if self._began is None or here <= 0:
            return None
        return (self._clock() - self._began) / here * (planned - done)

    def state(self) -> str:
        """Such as '12 of 36 trials, 340 of 1,800 epochs, about 12 min left'."""
        done, planned = self.epochs
        left = self.left()
        text = f"{len(self.outcomes)} of {len(self.trials)} trials, {done:,} of {planned:,} epochs"
        return text if left is None or done >= planned else f"{text}, about {span(left)} left"

    def told(self, event: Event) -> str | None:
        """The line for what ended, was begun anew, or failed."""
        if event.kind == "outcome":
            best = event.value.best
            figure = figures(self._metric, [best[self._metric]]) if self._metric in best else ""
            return f"{named(event.trial)}: {figure} (epoch {best['epoch'] + 1}); {self.state()}"
        if event.kind == "again":
            return f"{named(event.trial)}: {event.value}; it is tried once more"
        return f"{named(event.trial)} failed: {event.value}" if event.kind == "failed" else None

    def lines(self) -> list[Line]:
        """One per level of noise and arm, in the order of the trials."""
        groups: dict[tuple[float, str], list[Trial]] = {}
        for trial in sorted(self.trials, key=lambda trial: trial.noise):
            groups.setdefault((trial.noise, trial.arm), []).append(trial)
        found = []
        for (noise, arm), trials in groups.items():
            done = [self.outcomes[trial].best for trial in trials if trial in self.outcomes]
            values = [best[self._metric] for best in done if self._metric in best]
            text = figures(self._metric, values)
            found.append(Line(noise, arm, len(done), len(trials), text))
        return found


def named(trial: Trial) -> str:
    """Such as 'mixup:1, seed 3, 40 % wrong labels'."""
    noise = f", {100 * trial.noise:g} % wrong labels" if trial.noise else ""
    return f"{trial.arm}, seed {trial.seed}{noise}"


def figures(metric: str, values: Sequence[float]) -> str:
    """Mean and spread as they are shown, such as 'accuracy 95.3 ± 0.4 %'."""
    if not values:
        return ""
    how = METRICS[metric]
    text = f"{how.heading} {how.scale * statistics.fmean(values):.{how.decimals}f}"
    if len(values) > 1:
        text += f" ± {how.scale * statistics.stdev(values):.{how.decimals}f}"
    return f"{text} {how.unit}".rstrip()


def span(seconds: float) -> str:
    """Such as '40 s', '12 min', '3 h 20 min', '2 d 4 h'."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
