"""One run that goes on where it was stopped: what `train` does once its options are checked."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from batchmix.cli._output import write
from batchmix.cli._progress import Progress
from batchmix.cli._stop import Noted
from batchmix.cli._words import Entry
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.engine.evaluation import Best, Parts, Watch, keep_model, last_and_best
from batchmix.cli.lab.engine.fabric import DDPStrategy, Fabric, enough_memory, open_fabric
from batchmix.cli.lab.engine.optimizer import rate
from batchmix.cli.lab.engine.peers import PATIENCE, Peers
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.loading.workers import ended
from batchmix.cli.lab.outcome import METRICS, headline
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.run import checkpoint
from batchmix.cli.lab.run.logs import Logs, open_logs
from batchmix.cli.lab.run.state import CHECKPOINT, RESULT, RunState, forget, refused
from batchmix.cli.lab.run.steps import Step, log_epoch, log_step
from batchmix.cli.lab.split import split
from batchmix.cli.lab.training import Training


class Job(NamedTuple):
    """A run as its options say."""

    data: Data
    training: Training
    entry: Entry
    limit_train: int | None
    out: Path
    devices: int
    nodes: int
    logs: Sequence[str]
    save_minutes: float


class Interrupted(Exception):
    """The run was asked to end and has been saved."""


def open_job(job: Job, progress: Progress) -> tuple[Fabric, Peers]:
    """The processes of a run, started. What follows runs in each of them."""
    fabric = open_fabric(
        accelerator=job.training.accelerator,
        devices=job.devices,
        num_nodes=job.nodes,
        strategy=DDPStrategy(timeout=PATIENCE) if job.devices * job.nodes > 1 else "auto",
        precision=job.training.precision,
    )
    peers = Peers(fabric, progress.close)
    peers.launch()
    return fabric, peers


@ended()
@enough_memory()
def go_on(
    fabric: Fabric, job: Job, state: RunState, stop: Noted, progress: Progress
) -> dict[str, Any] | str | None:
    """Train to the end; the result, or where a signal ended it. None but in the first process."""
    data, training, path = job.data, job.training, job.out / CHECKPOINT
    splits = split(data, training.seed, job.limit_train)
    wrong = np.zeros(len(splits.train), np.bool_)
    parts = Parts(splits.train, wrong, splits.held_out, splits.held_out.y, splits.test)
    scale = loop.scale_of(parts.train, data.task, data.form, training)
    shape = loop.shape_of(parts.train, data.form, training)
    run = loop.set_up(fabric, training, job.entry, data.task, data.form, shape, scale)
    best: Best | None = None
    if path.exists():
        state, best, totals = checkpoint.load_run(path, run)
        run.total += totals[fabric.global_rank].to(fabric.device)
    elif fabric.is_global_zero and (gone := forget(job.out)):
        progress.say(f"removed from {job.out}, of an earlier run: {', '.join(gone)}")
    names = job.logs if fabric.is_global_zero else ()
    course = _Course(job, run, parts, state, Watch(run, parts, best), stop, progress)
    course.logs = open_logs(names, job.out, state.config, start=course.steps_done)
    try:
        course.train()
    except Interrupted:
        return course.where() if fabric.is_global_zero else None
    finally:
        course.logs.close()
    return course.result(shape) if fabric.is_global_zero else None


class _Course:
    """A run on its way."""

    logs: Logs

    def __init__(
        self,
        job: Job,
        run: loop.Run,
        parts: Parts,
        state: RunState,
        watch: Watch,
        stop: Noted,
        progress: Progress,
    ) -> None:
        self._job, self._run, self._parts, self._state = job, run, parts, state
        self._watch, self._stop, self._progress = watch, stop, progress
        self._fabric, training = run.fabric, run.training
        self._feed = Feed(
            parts.train,
            run.form,
            training,
            train=True,
            mixer=run.mixer if training.mix_on == "workers" else None,
            rank=self._fabric.global_rank,
            world=self._fabric.world_size,
        )
        self._saved = self._began = time.monotonic()

    @property
    def steps_done(self) -> int:
        return self._state.epoch * self._feed.steps + self._state.step

    def where(self) -> str:
        """Where the run was stopped."""
        state, epochs = self._state, self._run.training.epochs
        at = f"after epoch {state.epoch} of {epochs}"
        if state.step:
            now = f"in epoch {state.epoch + 1} of {epochs}"
            at = f"{now}, after step {state.step} of {self._feed.steps}"
        return f"stopped {at}; saved in {self._job.out / CHECKPOINT}"

    def train(self) -> None:
        """All epochs that are left."""
        state, training, first = self._state, self._run.training, self._fabric.is_global_zero
        if state.step > self._feed.steps:
            raise refused(self._job.out / CHECKPOINT, f"'step' is {state.step}")
        if self.steps_done:
            self._progress.say(
                f"goes on in epoch {state.epoch + 1} of {training.epochs}, after step "
                f"{state.step} of {self._feed.steps}"
            )
        self._tell = self._progress.reading("training")
        for epoch in range(state.epoch, training.epochs):
            loss = loop.train_epoch(self._run, self._feed, epoch, state.step, self._after_step)
            if first:
                self._end_epoch(epoch, loss)
            state.epoch, state.step = epoch + 1, 0
            self._run.total.zero_()
            state.finished = state.epoch == training.epochs
            self._save()
            if self._asked() and not state.finished:
                raise Interrupted

    def _end_epoch(self, epoch: int, loss: float) -> None:
        """Measure the epoch, write it down, and say it."""
        training, metric = self._run.training, METRICS[headline(self._run.task.kind)]
        found = {"loss": loss} | self._watch.look(epoch)
        del found["held_out_clean"]  # the same here
        done = (epoch + 1) * self._feed.steps
        line = {"epoch": epoch, "step": done, "lr": rate(training, done - 1, self._feed.steps)}
        self._state.history.append(line | found)
        lines = (json.dumps(line) + "\n" for line in self._state.history)
        write(self._job.out / "metrics.jsonl", "".join(lines).encode())
        log_epoch(self.logs, self._run, epoch, self._feed.steps, found)
        self._progress.say(
            f"epoch {epoch + 1}/{training.epochs}  loss {loss:.4f}  held-out "
            f"{metric.heading} {metric.words(found['held_out'])}  "
            f"{time.monotonic() - self._began:.0f} s"
        )

    def _after_step(self, done: int, lr: float, loss: Tensor, batch: Any) -> None:
        """Between two steps of the optimizer: logs, signals, checkpoints by the clock."""
        self._state.step = done
        self._tell(self.steps_done, self._run.training.epochs * self._feed.steps)
        if self._job.logs and self._fabric.is_global_zero:
            step = Step(self._state.epoch, done - 1, self._feed.steps, lr, loss, batch)
            log_step(self.logs, self._run, step)
        if done == self._feed.steps:  # the end of the epoch saves
            return
        if self._asked():
            self._save()
            raise Interrupted
        late = time.monotonic() - self._saved >= 60 * self._job.save_minutes
        if self._agreed(late):
            self._save()

    def _asked(self) -> bool:
        return self._agreed(bool(self._stop.code))

    def _agreed(self, mine: bool) -> bool:
        """Whether one of the processes says so, which all have to act on at the same step."""
        if self._fabric.world_size == 1:
            return mine
        votes = self._fabric.all_reduce(torch.tensor(float(mine)), reduce_op="sum")
        return bool(votes > 0)

    def _save(self) -> None:
        totals = torch.zeros(self._fabric.world_size, device=self._fabric.device)
        totals[self._fabric.global_rank] = self._run.total
        totals = self._fabric.all_reduce(totals, reduce_op="sum")  # one of each process
        if self._fabric.is_global_zero:
            path = self._job.out / CHECKPOINT
            checkpoint.save_run(path, self._run, totals, self._watch.best, self._state)
        self._saved = time.monotonic()

    def result(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Measure on the test rows; write result.json and the model of the best epoch."""
        assert self._watch.best is not None  # there is an epoch
        training, parts, out = self._run.training, self._parts, self._job.out
        last, best = last_and_best(self._run, parts, self._watch.best, training.epochs - 1)
        rows = {"train": len(parts.train), "held_out": len(parts.held_out), "test": len(parts.test)}
        found = {"last": last, "best": best, "rows": rows, "config": self._state.config}
        found["fingerprint"] = self._state.data["fingerprint"]
        keep_model(out, self._run, shape, best.get("temperature"), self._job.data.rate)
        write(out / RESULT, (json.dumps(found, indent=2) + "\n").encode())
        return found
