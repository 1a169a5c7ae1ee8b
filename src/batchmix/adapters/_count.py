"""Counts batches for what a DataLoader calls: the (epoch, step) of this call, also in a worker."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils.data import get_worker_info

from batchmix.extend import Untold, checked_epoch, mix_error

_WORKERS = 64


class BatchCount:
    """Epoch and number of each batch: a loader gives its batches to its workers in turn.

    In the process of the loader the count goes on until `set_epoch` begins a pass. A worker that
    starts knows no earlier pass. Where nobody tells it the epoch, the pass has the number that
    torch seeds its workers with, another one in each pass; if `strict`, that is an error.

    `where` and `fix` are parts of the errors that say that `set_epoch` is missing.
    """

    def __init__(self, where: str, fix: str, *, strict: bool = False) -> None:
        self.where, self.fix, self.strict = where, fix, strict
        # [set_epoch calls, epoch, first step, seed of the workers that started since (-1: the
        # process of the loader has counted), of those that started before], and which processes
        # these are, by number; shared, so that workers which run already see it
        self.shared = torch.zeros(5 + 2 * _WORKERS, dtype=torch.int64)
        if get_worker_info() is None:
            self.shared.share_memory_()
        self.count, self.counted_for = 0, (0, 0)  # calls of set_epoch, process

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy can tell its workers too."""
        vars(self).update(state)
        if get_worker_info() is None:
            self.shared.share_memory_()

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        epoch, (calls, seed) = checked_epoch(epoch, self.where), self.shared[[0, 3]].tolist()
        self.shared[5 + _WORKERS :] = self.shared[5 : 5 + _WORKERS].clone()
        self.shared[5 : 5 + _WORKERS] = 0
        self.shared[:5] = torch.tensor([calls + 1, epoch, step, 0, seed])

    def next(self) -> tuple[int, int]:
        """(epoch, step) of this call."""
        calls, epoch, first, now, earlier = self.shared[:5].tolist()
        worker, process, before = get_worker_info(), os.getpid(), self.counted_for[1]
        if self.counted_for != (calls, process):
            self.count, self.counted_for = 0, (calls, process)
        count = self.count
        self.count += 1
        if worker is None:
            if calls and not count:
                if now > 0:
                    raise self._missing("a pass begins after one in workers, with one `set_epoch`.")
                self.shared[3] = -1
            return epoch if calls else Untold(0), first + count
        seed, slot = worker.seed - worker.id, 5 + worker.id % _WORKERS  # the seed of the pass
        late = seed == earlier and not self.shared[slot + _WORKERS]  # of a pass that is over
        if before != process and not late:  # it has just started
            if calls and (now not in (0, seed) or self.shared[slot] not in (0, process)):
                raise self._missing("new workers begin a second pass after one `set_epoch`.")
            self.shared[3], self.shared[slot] = seed, process
        if not calls and self.strict:
            raise self._missing("a worker of a DataLoader begins a pass without a `set_epoch`.")
        at = first + count * worker.num_workers + worker.id
        return epoch if calls else Untold(seed), at

    def _missing(self, got: str) -> Exception:
        return mix_error(
            self.where, got, "A new worker knows no earlier pass, and would repeat its mixes.",
            self.fix,
        )  # fmt: skip
