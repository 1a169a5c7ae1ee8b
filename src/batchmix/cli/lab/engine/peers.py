"""Processes that train together: where one is lost, the others end, and say why.

A process that is gone is seen by the one that started it or was started by it, and by its closed
connections; one that is there but stands still misses a barrier of the engine, which names it. The
barriers are passed by a thread, so that no wait of the training itself, however long, is taken for
a loss.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from batchmix._errors import mix_error
from batchmix.cli.lab.engine.fabric import Fabric

SILENCE = 60.0  # seconds without a sign of life; half as much again for the first process
PATIENCE = timedelta(hours=2)  # of the engine, for a process that lives and does not come on
_BEAT = 1.0  # seconds between two barriers
_GRACE = 5.0  # seconds in which a loss that broke a step is seen here too
_LOST = 2  # exit code
_FIRST = "BATCHMIX_FIRST"  # what the first process tells those that it starts: its own number


class Peers:
    """The other processes of a run, watched from `launch` to the end of a `with` block."""

    def __init__(self, fabric: Fabric, quiet: Callable[[], None]) -> None:
        self._fabric, self._quiet = fabric, quiet  # `quiet` is called before the last line
        self._started: dict[int, Any] = {}  # processes by rank
        self._parent = 0
        self._done, self._over = threading.Event(), threading.Event()
        self._beat: threading.Thread | None = None
        self._last_word = threading.Lock()

    def launch(self) -> None:
        """Start the others, or find them."""
        if self._fabric.world_size == 1:
            self._fabric.launch()
            return
        if _FIRST in os.environ:
            self._parent = int(os.environ[_FIRST])
        elif "TORCHELASTIC_RUN_ID" in os.environ:
            self._parent = os.getppid()
        else:
            os.environ[_FIRST] = str(os.getpid())
        threading.Thread(target=self._watch, daemon=True).start()
        self._fabric.launch()
        group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=2 * SILENCE))
        self._beat = threading.Thread(target=self._listen, args=(group,), daemon=True)
        self._beat.start()

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        """Without an error all leave together; the last to finish is waited for."""
        if self._beat is not None and kind is None:
            self._done.set()
            self._beat.join()
        broken = kind is not None and issubclass(kind, RuntimeError)
        if self._beat is not None and broken:
            self._beat.join(_GRACE)  # it ends this process if another one is lost
        self._over.set()
        if self._beat is not None:  # left in a barrier, it would abort this process at its exit
            self._beat.join(_GRACE)
        if broken and ("gloo" in str(error) or isinstance(error, distributed.DistError)):
            raise _late(str(error)) from None

    def _watch(self) -> None:
        """Look after those that this process has started, and the one that has started it."""
        launcher: Any = self._fabric.strategy.launcher
        while not self._over.wait(_BEAT / 4):
            procs = getattr(launcher, "procs", [])
            if procs and len(procs) == self._fabric.strategy.num_processes - 1:
                first = self._fabric.strategy.node_rank * (len(procs) + 1)
                self._started = dict(enumerate(procs, first + 1))
                procs.clear()  # else Fabric would kill this process too, without a word
            if any(process.poll() is not None for process in self._started.values()):
                self._lose("another process has ended")
            if self._parent and os.getppid() != self._parent:
                if _FIRST in os.environ:
                    self._lose("process 0 has ended")
                os.kill(os.getpid(), signal.SIGTERM)  # the launcher is gone: save and end
                return

    def _listen(self, group: Any) -> None:
        """Pass a barrier with the others every second, until all are done."""
        rank = self._fabric.global_rank
        limit = SILENCE if rank == 0 else 1.5 * SILENCE  # the first has seen more
        while True:
            began = time.monotonic()
            try:
                distributed.monitored_barrier(
                    group, timeout=timedelta(seconds=limit), wait_all_ranks=True
                )
                done = torch.tensor(int(self._done.is_set()))
                distributed.all_reduce(done, group=group)
            except RuntimeError as error:
                silent = time.monotonic() - began >= limit
                self._lose(_who(str(error), rank, limit if silent else 0), silent)
                return
            if int(done) == self._fabric.world_size or self._over.is_set():
                return
            if rank:  # the first waits for the others, and so sees at once that one is gone
                time.sleep(_BEAT)

    def _lose(self, what: str, silent: bool = False) -> None:
        """End this process and all that it has started: nothing that waits can be woken."""
        if self._over.wait(_BEAT):  # it ends for a reason of its own
            return
        self._last_word.acquire()  # and never given back
        for rank, process in self._started.items():
            if process.poll() is not None:
                what = f"process {rank} {_ended(process.returncode)}"
        self._quiet()
        next_ = "this one ends too; the same command goes on from the last checkpoint"
        print(f"batchmix: {what}; {next_}.", file=sys.stderr, flush=True)
        for worker in multiprocessing.active_children():
            worker.kill()
        for process in self._started.values():
            process.kill()
        if silent and _FIRST in os.environ and self._parent and os.getppid() == self._parent:
            with suppress(OSError):
                os.kill(self._parent, signal.SIGKILL)
        os._exit(_LOST)


def _who(said: str, rank: int, silence: float) -> str:
    """Which process is lost, from what the engine says."""
    found = re.search(r"Ranks? ([\d, ]+) failed to pass", said)
    name = f"process {found[1]}" if found else "another process" if not silence else "process 0"
    return f"{name} gave no sign of life for {silence:g} s" if silence else f"{name} has ended"


def _ended(code: int) -> str:
    if code >= 0:
        return f"has ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")


def _late(said: str) -> Exception:
    return mix_error(
        "--devices",
        f"the processes have lost each other ({' '.join(said.split())[:200]}).",
        "Each has to come to the same step within two hours.",
        "See what holds one of them up; the same command goes on.",
    )
