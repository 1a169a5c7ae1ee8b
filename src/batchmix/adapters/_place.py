"""Where a collate function is in its stream, in the main process and in workers of a DataLoader."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils.data import get_worker_info

from batchmix._errors import mix_error


class Place:
    """Epoch and number of each batch; `where` and `fix` are parts of the error."""

    def __init__(self, where: str, fix: str) -> None:
        self.where, self.fix = where, fix
        # the epoch, its first step, how often they were set, which of these times worker 0 began
        self.told = torch.zeros(4, dtype=torch.int64)
        self.at: Any = None
        self.count = 0

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """In shared memory, so that workers that are kept from pass to pass are told too."""
        self.told.share_memory_()
        self.told[:3] = torch.tensor([epoch, step, int(self.told[2]) + 1])

    def next(self) -> tuple[int, int]:
        """(epoch, step); a loader deals its batches to its workers in turn."""
        epoch, first, times, begun = self.told.tolist()
        if self.at != (times, os.getpid()):
            self.at, self.count = (times, os.getpid()), 0
        count, worker = self.count, get_worker_info()
        self.count += 1
        if worker is None:
            return epoch, first + count
        if times == 0 or (count == worker.id == 0 and begun == times):
            raise mix_error(
                self.where,
                "a worker of a DataLoader begins a pass without a `set_epoch` of its own.",
                "A new worker knows no earlier pass, and would repeat its mixes.",
                self.fix,
            )
        if worker.id == 0:
            self.told[3] = times
        return epoch, first + count * worker.num_workers + worker.id
