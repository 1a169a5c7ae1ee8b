"""Epoch and step from the index of a batch, for hosts that number batches over all epochs."""

from __future__ import annotations

from typing import Any

from batchmix.extend import Untold, mix_error


def checked_length(where: str, steps_per_epoch: int | None) -> int | None:
    """Batches per epoch, or None where nobody knows."""
    if steps_per_epoch is None or (isinstance(steps_per_epoch, int) and steps_per_epoch >= 1):
        return steps_per_epoch
    raise mix_error(
        where, f"got steps_per_epoch={steps_per_epoch!r}.", "It counts batches, from 1.",
        "Pass the number of batches in one pass over the data, before they repeat.",
    )  # fmt: skip


def epoch_and_step(index: Any, steps_per_epoch: int | None) -> tuple[Any, Any]:
    """Without a length all batches are steps of one epoch, and nobody told which."""
    return divmod(index, steps_per_epoch) if steps_per_epoch else (Untold(0), index)
