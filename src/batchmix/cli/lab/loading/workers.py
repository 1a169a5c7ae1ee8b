"""Processes that read batches: they outlive a pass, and end with the process that trains."""

from __future__ import annotations

import atexit
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.util import Finalize
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader

from batchmix._errors import mix_error

_LIVE: WeakSet[Workers] = WeakSet()


@contextmanager
def ended() -> Iterator[None]:
    """A worker that was killed is one line: torch says so wherever this process is just then."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        said = " ".join(str(error).partition("\n")[0].split()).rstrip(".")
        raise mix_error(
            "--workers",
            f"a worker that reads rows was ended ({said}).",
            "Memory, or shared memory (/dev/shm), may be too small for the batches under way.",
            "Lower --workers or --batch-size.",
        ) from None


class Workers:
    """A DataLoader over `source`, started at the first pass; which pass it is, its sampler says."""

    def __init__(self, source: Any, count: int, pin: bool) -> None:
        self._source, self._count, self._pin = source, count, pin
        self._order = _Order()
        self._loader: Any = None

    def read(self, places: Sequence[Any]) -> Iterator[Any]:
        """source[place] of each place, in order."""
        self._order.places = places
        with ended(), warnings.catch_warnings():
            # how many there are is for the user to say
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            if self._loader is None:
                self._loader = self._open()
                _LIVE.add(self)
                # a child of multiprocessing comes not to atexit; 100: before queues close, at 10
                Finalize(self, _end, args=(self._loader,), exitpriority=100)
            # workers use none of the threads and locks that a fork leaves behind
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            batches = iter(self._loader)
        with ended():
            yield from batches

    def _open(self) -> Any:
        return DataLoader(
            self._source,
            batch_size=None,
            sampler=self._order,
            num_workers=self._count,
            collate_fn=_as_it_is,
            pin_memory=self._pin,
            persistent_workers=True,
            worker_init_fn=_start,
            # quick, and shares the names of all rows; workers never touch a device
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            generator=torch.Generator(),  # else a pass would move the one that dropout reads
        )


class _Order:
    """The batches of the pass that is about to be read."""

    def __init__(self) -> None:
        self.places: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _as_it_is(found: Any) -> Any:
    return found


def _start(_: int) -> None:
    """Let the process that trains answer signals, which all of its group get; the worker reads on.

    A second SIGTERM is one of this worker's own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _end(loader: Any) -> None:
    """End the workers, also where a pass is broken off."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()


@atexit.register  # before torch's own, after which nothing can be told to end
def _end_all() -> None:
    for workers in list(_LIVE):
        _end(workers._loader)
