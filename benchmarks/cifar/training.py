"""One run, epoch by epoch; it can be left after any of them, and goes on as if it had not been."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from batchmix.metrics import accuracy, ece, fit_temperature, nll
from cifar.data import Data, Loader, Rows, held_out, with_wrong_labels
from cifar.engine import Engine, State
from cifar.mixing import Mix, mix_of
from cifar.runs import Run

Tensor = Any
Metrics = dict[str, float | None]
_EVERY = 60.0  # seconds between two checkpoints


@dataclass
class Progress:
    """What a run has so far; with the engine's state, all that it needs to go on."""

    epoch: int = 0
    test: list[float] = field(default_factory=list)  # accuracy after each epoch
    held: list[float] = field(default_factory=list)  # on held-out rows, where there are some
    best: Metrics = field(default_factory=dict)  # at the epoch that these would choose
    last: Metrics = field(default_factory=dict)
    steps_ms: list[float] = field(default_factory=list)  # mean of each epoch
    trained: float = 0.0  # seconds, without tests
    seconds: float = 0.0
    problem: str | None = None  # why it ended early


class Course:
    """The rows of a run on the device, its mixing, and its engine."""

    def __init__(self, run: Run, data: Data, engine: Engine) -> None:
        self.run, self.engine, self.rows = run, engine, data.train
        self.held = self.wrong = None
        if run.noise:  # the rows that choose the epoch are as wrong as those that are trained on
            noisy = with_wrong_labels(data.train, run.noise, data.classes, run.seed)
            self.rows, held = held_out(data.train, noisy.y)
            wrong = self.rows.y != held_out(data.train, data.train.y)[0].y
            self.held = self._plain(held)
            self.wrong = self._plain(Rows(self.rows.x[wrong], self.rows.y[wrong]))
        self.test = self._plain(data.test)
        self.train = Loader(self.rows, engine.device, engine.dtype)
        self.mix = mix_of(run.arm, run.library, data.classes, run.seed)

    def _plain(self, rows: Rows) -> tuple[Tensor, NDArray[np.int64]]:
        return Loader(rows, self.engine.device, self.engine.dtype).plain(), rows.y

    def go(
        self, progress: Progress, save: Callable[[Progress], None], deadline: float
    ) -> Progress | None:
        """The rest of the run, or None where the deadline (of `time.monotonic`) comes first.

        At least one epoch is trained. `save` is called about once a minute, and when it is left.
        """
        saved = time.monotonic()
        while progress.epoch < self.engine.recipe.epochs and not progress.problem:
            before = time.monotonic()
            self._epoch(progress)
            now = time.monotonic()
            progress.seconds += now - before
            left = self.engine.recipe.epochs - progress.epoch
            late = now + 1.5 * (now - before) > deadline
            if left and (late or now - saved > _EVERY):
                save(progress)
                saved = time.monotonic()
            if left and late:
                return None
        return progress

    def _epoch(self, progress: Progress) -> None:
        """Train one epoch, then test."""
        engine, epoch, batch = self.engine, progress.epoch, self.engine.recipe.batch
        steps = len(self.train.y) // batch
        before = time.monotonic()
        self.mix.begin(epoch)
        engine.total.zero_()
        engine.model.train()
        start = mark(engine.device)
        for step, (x, y) in enumerate(self.train.epoch(self.run.seed, epoch, batch)):
            x, target = self.mix.call(x, y, epoch, step)
            done = (epoch * steps + step) / (engine.recipe.epochs * steps)
            engine.step(x, target, engine.recipe.rate(done))
        end = mark(engine.device)
        loss = float(engine.total) / steps
        progress.trained += time.monotonic() - before
        progress.steps_ms.append(milliseconds(start, end) / steps)
        progress.epoch += 1
        if not np.isfinite(loss):
            progress.problem = f"the loss is {loss} in epoch {epoch + 1}"
            return
        self._test(progress)

    def _test(self, progress: Progress) -> None:
        """After each epoch; the slower metrics at the last and where held-out rows choose."""
        logits = self.engine.logits(self.test[0])
        progress.test.append(accuracy(logits, self.test[1]))
        found = held = None
        if self.held:
            held = self.engine.logits(self.held[0]), self.held[1]
            progress.held.append(accuracy(*held))
            if progress.held[-1] > max([-1.0, *progress.held[:-1]]):
                found = self._measured(logits, held)
                progress.best = {"epoch": progress.epoch, **found}
        if progress.epoch == self.engine.recipe.epochs:
            progress.last = found or self._measured(logits, held)

    def _measured(
        self, logits: NDArray[Any], held: tuple[NDArray[Any], NDArray[Any]] | None
    ) -> Metrics:
        found = measured(logits, self.test[1], held)
        if self.wrong:
            found["memorised"] = accuracy(self.engine.logits(self.wrong[0]), self.wrong[1])
        return found

    def mix_ms(self, calls: int = 60) -> float:
        """Median time of mixing one batch while the device waits for it."""
        engine, batch = self.engine, self.engine.recipe.batch
        x, y = next(self.train.epoch(self.run.seed, 0, batch))
        self.mix.begin(0)
        return time_of(self.mix, x, y, engine.device, calls)


def measured(
    logits: NDArray[Any], y: NDArray[Any], held: tuple[NDArray[Any], NDArray[Any]] | None
) -> Metrics:
    """On test rows; the temperature is fitted on held-out rows, where there are some."""
    found: Metrics = {
        "accuracy": accuracy(logits, y), "nll": nll(logits, y), "ece": ece(logits, y, bins=15)
    }  # fmt: skip
    if held is not None:
        temperature = fit_temperature(*held)
        scaled = logits / temperature
        found |= {"temperature": temperature, "nll_scaled": nll(scaled, y)}
        found["ece_scaled"] = ece(scaled, y, bins=15)
    return found


def time_of(mix: Mix, x: Tensor, y: Tensor, device: torch.device, calls: int) -> float:
    """Median milliseconds of a call, the device idle before it: launches are part of it."""
    found = []
    for step in range(calls + 10):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = mark(device)
        mix.call(x, y, 0, step)
        end = mark(device)
        found.append(milliseconds(start, end))
    return statistics.median(found[10:])


def mark(device: torch.device) -> Any:
    """A point in the device's time: an event on a GPU."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def milliseconds(start: Any, end: Any) -> float:
    """Between two marks; on a GPU it waits for the second."""
    if isinstance(start, float):
        return float(end - start) * 1000
    end.synchronize()
    return float(start.elapsed_time(end))


def checkpoint(progress: Progress, engine: Engine) -> State:
    """Copies: the engine's state is written to by the next step."""
    state = engine.state()
    return {
        "progress": asdict(progress),
        "model": {name: value.cpu().clone() for name, value in state["model"].items()},
        "momentum": [value.cpu().clone() for value in state["momentum"]],
    }
