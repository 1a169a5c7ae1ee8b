"""What a search may see of the data, and what is kept for measuring what it found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batchmix.cli.lab.rows import Data, Rows
from batchmix.cli.lab.split import in_proportion

_SHARE = 0.2  # of the training rows, held out in a search
_TEST = 0.4  # of all rows, as in `split`


def reserved(data: Data) -> Data:
    """The data with a test part that is the same for every seed, so that no search has seen it."""
    if data.test is not None:
        return data
    test, train = _part(data, data.train, round(_TEST * len(data.train)))
    return replace(data, train=train, test=test, fingerprint=f"{data.fingerprint}-reserved")


def searched(data: Data, limit_train: int | None) -> Data:
    """Training rows alone, some of them held out: those of val, else of train.

    They stand for the test rows too, which no candidate sees.
    """
    train, held_out = data.train, data.val
    if held_out is None:
        count = round(_SHARE * len(train))
        if limit_train:  # rows that do not train may be held out: as many as train, at most
            count = min(max(count, len(train) - limit_train), limit_train)
        held_out, train = _part(data, train, count)
    fingerprint = f"{data.fingerprint}-search"
    return replace(data, train=train, val=held_out, test=held_out, fingerprint=fingerprint)


def _part(data: Data, rows: Rows, count: int) -> tuple[Rows, Rows]:
    """So many rows, and the others, in the order of the data; classes in proportion."""
    order: NDArray[np.int64] = in_proportion(data, rows, np.random.default_rng(0))
    return rows.take(np.sort(order[:count])), rows.take(np.sort(order[count:]))
