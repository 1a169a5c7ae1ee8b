"""Trials on this machine, a process each: what one does or dies of, the others do not feel."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from batchmix._errors import mix_error
from batchmix.cli._stop import held
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.child import ENGINE, Work, child

_SERVER = "batchmix.cli.lab.trials.server"
_ENVIRONMENT = {  # of the server and the processes that it makes
    "PYTHONSAFEPATH": "1",  # nothing is imported from the working directory
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave their core to other trials
}


class Event(NamedTuple):
    """News of a trial.

    "started"; "epoch" (the epoch and its figures); then one of "outcome", "failed" (why, in a
    line) and "stopped". "again" (why) comes where its process was killed and it starts anew.
    """

    trial: Trial
    kind: Literal["started", "epoch", "outcome", "again", "failed", "stopped"]
    value: Any = None


@dataclass(eq=False)
class _Running:
    """A trial and its process."""

    trial: Trial
    keep: Path | None
    process: Any
    pipe: Connection
    slot: int
    first: bool  # False: its first process was killed


class Pool:
    """Processes from a server that has imported the engine once, so that each starts at once.

    To be used in a `with` block: none outlives it, nor this process, whatever ends it.
    `threads` of each; sums, and so results, depend on it in their last digits. `log` is a file for
    what processes write, tracebacks included.
    """

    def __init__(
        self,
        data: Data,
        training: Training,
        *,
        jobs: int | None = None,
        threads: int = 1,
        limit_train: int | None = None,
        log: Path | None = None,
        work: Work | None = None,
    ) -> None:
        self._devices = devices(training.accelerator)
        self.jobs = jobs or len(self._devices) or cores()
        self._threads = threads
        self._what = (work, data, training, limit_train)
        self._log = log
        self._waiting: deque[tuple[Trial, Path | None, bool]] = deque()
        self._running: list[_Running] = []
        self._stopped: set[Trial] = set()

    def __enter__(self) -> Pool:
        warm()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        for one in list(self._running):
            self._end(one)
        if self._log:
            drop_if_empty(self._log)

    def submit(self, trial: Trial, keep: Path | None = None) -> None:
        """Run it when a process is free; `keep` is a folder for its model."""
        self._waiting.append((trial, keep, True))

    def stop(self, trial: Trial) -> None:
        """End a trial without an outcome, where it is not over."""
        self._stopped.add(trial)

    def events(self) -> Iterator[Event]:
        """News as it comes, until every trial that was submitted is over."""
        while self._waiting or self._running or self._stopped:
            yield from self._stop()
            while self._waiting and len(self._running) < self.jobs:
                trial, keep, first = self._waiting.popleft()
                try:
                    with held():  # half started, a process would write a traceback
                        self._running.append(self._start(trial, keep, first))
                except OSError as error:
                    raise mix_error(
                        "trials",
                        f"no process can be started ({error.strerror}).",
                        "Each trial has a process; trials that are over are kept.",
                        "Raise the limit (ulimit -n, ulimit -u); the same command goes on.",
                    ) from None
                if first:
                    yield Event(trial, "started")
            ends = {one.process.sentinel: one for one in self._running}
            pipes = {one.pipe: one for one in self._running}
            ready = connection.wait([*pipes, *ends], timeout=1)
            for one in dict.fromkeys((pipes | ends)[each] for each in ready):
                yield from self._news(one)

    def _stop(self) -> Iterator[Event]:
        for trial in list(self._stopped):
            self._stopped.discard(trial)
            waiting = [each for each in self._waiting if each[0] == trial]
            running = [one for one in self._running if one.trial == trial]
            for each in waiting:
                self._waiting.remove(each)
            for one in running:
                self._end(one)
            if waiting or running:
                yield Event(trial, "stopped")

    def _start(self, trial: Trial, keep: Path | None, first: bool) -> _Running:
        slot = min(set(range(self.jobs)) - {one.slot for one in self._running})
        device = self._devices[slot % len(self._devices)] if self._devices else None
        ours, its = _context().Pipe()
        process = _context().Process(
            target=child, args=(its, self._log, self._threads, device, trial, keep, *self._what)
        )
        process.start()
        its.close()
        return _Running(trial, keep, process, ours, slot, first)

    def _news(self, one: _Running) -> Iterator[Event]:
        """What a process said; its last word ends it."""
        over = not one.process.is_alive()
        while one.trial not in self._stopped:
            try:
                if not one.pipe.poll():
                    break
                kind, value = one.pipe.recv()
            except (EOFError, OSError):
                over = True
                break
            if kind != "epoch":
                self._end(one)
                yield Event(one.trial, kind, value)
                return
            yield Event(one.trial, kind, value)
        if not over or one.trial in self._stopped:
            return
        one.process.join(5)
        why = _ended(one.process.exitcode)
        self._end(one)
        if one.first:
            self._waiting.appendleft((one.trial, one.keep, False))
            yield Event(one.trial, "again", why)
        else:
            yield Event(one.trial, "failed", f"{why}, twice")

    def _end(self, one: _Running) -> None:
        """Nothing of its process is left, loader workers included."""
        self._running.remove(one)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(one.process.pid, signal.SIGKILL)
        if one.process.is_alive():  # so new that it is in no group of its own yet
            one.process.kill()
        one.process.join()
        one.pipe.close()


def drop_if_empty(log: Path) -> None:
    """A log in which no process has written is none."""
    with suppress(FileNotFoundError):
        if not log.stat().st_size:
            log.unlink()


def _ended(exitcode: int | None) -> str:
    """Why a process ended, such as 'its process was killed (SIGKILL, often for want of memory)'."""
    if exitcode == -signal.SIGKILL:
        return "its process was killed (SIGKILL, often for want of memory)"
    if exitcode is not None and exitcode < 0:
        return f"its process was killed ({signal.Signals(-exitcode).name})"
    return f"its process ended without a word (exit code {exitcode})"


def _context() -> Any:
    return get_context("forkserver")


def warm() -> None:
    """Start the server, which imports the engine while this process goes on."""
    _context().set_forkserver_preload([_SERVER, ENGINE])
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT | {k: v for k, v in before.items() if v is not None})
    main = threading.current_thread() is threading.main_thread()
    # the server inherits it: Ctrl-C while it imports would end it with a traceback
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        forkserver.ensure_running()
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices(accelerator: str) -> list[str]:
    """The GPUs that trials are spread over, as CUDA_VISIBLE_DEVICES names them; [] for others."""
    if accelerator not in ("cuda", "gpu", "auto"):
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(i) for i in range(count)]
