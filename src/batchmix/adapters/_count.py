"""Counts batches for a collate function: the (epoch, step) of this call, also in a worker."""

from __future__ import annotations

import os

import torch
from torch.utils.data import get_worker_info

from batchmix.extend import mix_error


class BatchCount:
    """Epoch and number of each batch.

    `where` and `fix` are parts of the error that says that `set_epoch` is missing. Without
    `needs_epoch` it is an error only once `set_epoch` was called; before, all is epoch 0.
    """

    def __init__(self, where: str, fix: str, *, needs_epoch: bool = True) -> None:
        self.where, self.fix, self.needs_epoch = where, fix, needs_epoch
        # [epoch, first step, number of set_epoch calls, call at which worker 0 last started]
        self.shared = torch.zeros(4, dtype=torch.int64)
        if not needs_epoch:  # workers may start before the first set_epoch
            self.shared.share_memory_()
        self.count, self.counted_for = 0, (0, 0)  # number of set_epoch calls, process

    @property
    def was_set(self) -> bool:
        """Whether an epoch was ever set."""
        return bool(self.shared[2])

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        self.shared.share_memory_()  # so that workers that are kept from pass to pass see it
        self.shared[:3] = torch.tensor([epoch, step, int(self.shared[2]) + 1])

    def next(self) -> tuple[int, int]:
        """(epoch, step) of this call; a loader gives its batches to its workers in turn."""
        epoch, first, times_set, started = self.shared.tolist()
        if self.counted_for != (times_set, os.getpid()):
            self.count, self.counted_for = 0, (times_set, os.getpid())
        count, worker = self.count, get_worker_info()
        self.count += 1
        if worker is None:
            return epoch, first + count
        starts_again = times_set > 0 and count == worker.id == 0 and started == times_set
        if starts_again or (self.needs_epoch and not times_set):
            raise mix_error(
                self.where,
                "a worker of a DataLoader begins a pass without a `set_epoch` of its own.",
                "A new worker knows no earlier pass, and would repeat its mixes.",
                self.fix,
            )
        if worker.id == 0:
            self.shared[3] = times_set
        return epoch, first + count * worker.num_workers + worker.id
