"""The order in which rows are written in place, so that none is read after that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Visits(NamedTuple):
    """`rows` in order; `kept`: whether a copy of the row is to be taken before it is written.

    Rows of one group, from starts[k] to starts[k + 1], do not depend on those of others. A row and
    its partner come one after the other. Only the last row of a group reads what was kept.
    """

    rows: list[int]
    kept: list[bool]
    starts: list[int]


def in_order(rows: int) -> Visits:
    """Of rows of which none is written before it is read, as where the result lies elsewhere."""
    return Visits(list(range(rows)), [False] * rows, [])


def visits(partner: NDArray[np.int32], reads: NDArray[np.bool_]) -> Visits:
    """Of rows that read that of their partner where `reads`, before they are written.

    A row is written once all that read it are: first the chains, from their open ends, then the
    cycle that they end in, with a copy of the one row that it starts with.
    """
    to = np.where(reads, partner, -1).tolist()
    readers = np.bincount(partner[reads], minlength=len(partner)).tolist()
    group = [-1] * len(to)
    chains = []
    for end in [row for row, count in enumerate(readers) if not count]:
        chain, row = [], end
        while row >= 0 and not readers[row]:
            chain.append(row)
            readers[row] = -1  # visited
            row = to[row]
            if row >= 0:
                readers[row] -= 1
        chains.append((chain, row))
    kept = [False] * len(to)
    cycles: list[list[int]] = []
    for start, count in enumerate(readers):
        if count > 0 and group[start] < 0:
            row, kept[start] = start, True
            cycles.append([])
            while group[row] < 0:
                group[row] = len(cycles) - 1
                cycles[-1].append(row)
                row = to[row]
    groups: list[list[int]] = [[] for _ in cycles]
    for chain, row in reversed(chains):  # a chain ends in what was visited after it
        if row < 0:
            groups.append([])
        number = len(groups) - 1 if row < 0 else group[row]
        for member in chain:
            group[member] = number
    for chain, _ in chains:
        groups[group[chain[0]]] += chain
    for number, cycle in enumerate(cycles):
        groups[number] += cycle
    rows = [row for members in groups for row in members]
    starts = np.cumsum([0, *map(len, groups)]).tolist()
    return Visits(rows, [kept[row] for row in rows], starts)
