"""What a check says of all calls with one kind of batch: its worst number, and where that was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._seen import Seen
from batchmix._audit._session import Answers


class Worst(NamedTuple):
    """The worst number of a check, found if it is over the limit; its call, and where in it."""

    number: float
    limit: float
    call: int
    where: str
    row: int | None = None  # None where it is no single row


def fitting(run: Answers) -> list[Seen]:
    """The calls, if all have the right shapes; else the check of labels tells, and no other."""
    return [] if any(seen.problem for seen in run.seen) else list(run.seen)


def labelled(run: Answers) -> list[Seen]:
    """The fitting calls, if they gave labels."""
    return [seen for seen in fitting(run) if seen.raw is not None]


def mixes(run: Answers) -> list[NDArray[np.float64]]:
    """[B, B] of each call: the share of each row in each image."""
    return [seen.pixels for seen in fitting(run)]


def alike(one: Sequence[NDArray[np.float64]], two: Sequence[NDArray[np.float64]]) -> bool:
    """Whether two series of calls gave the same mixes."""
    return len(one) == len(two) and all(np.allclose(a, b, atol=1e-6) for a, b in zip(one, two))


def peak(errors: Sequence[NDArray[np.float64]]) -> tuple[int, int, int]:
    """Call, row and column of the largest error; NaN counts as the largest."""
    clean = [np.where(np.isnan(e), np.inf, e) for e in errors]
    call = int(np.argmax([e.max() for e in clean]))
    row, column = np.unravel_index(int(clean[call].argmax()), clean[call].shape)
    return call, int(row), int(column)
