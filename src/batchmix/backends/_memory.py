"""How an array lies in memory: what the native kernel has to know of it."""

from __future__ import annotations

import functools
import sys
from typing import NamedTuple

import numpy as np


class Memory(NamedTuple):
    """Where an array lies: all that the kernel is told of it."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes


def rows_at(memory: Memory) -> tuple[int, int, int]:
    """Address of the first row, bytes from one to the next, and how many there are."""
    return memory.address, memory.strides[0], memory.shape[0]


def alike(x: Memory, other: Memory) -> bool:
    """Whether rows have the same shape and order of memory."""
    axes = zip(x.shape[1:], x.strides[1:], other.strides[1:])
    return x.shape[1:] == other.shape[1:] and (
        x.strides[1:] == other.strides[1:] or all(n == 1 or s == t for n, s, t in axes)
    )


def in_c_order(memory: Memory, item: int) -> bool:
    """Whether the elements of a row lie in the order of its axes, without gaps."""
    for n, stride in zip(memory.shape[:0:-1], memory.strides[:0:-1]):
        if n > 1 and stride != item:
            return False
        item *= n
    return True


@functools.lru_cache(256)
def axes_of(
    layout: str, shape: tuple[int, ...], strides: tuple[int, ...], item: int, axes: str
) -> bytes | None:
    """int64 [rank, 2]: cells and plan axis of each row axis in memory's order; None with gaps."""
    real = [k for k in range(len(shape)) if shape[k] != 1 or layout[k + 1] in axes]
    order = sorted(real, key=lambda k: (-strides[k], k) if shape[k] > 1 else (-sys.maxsize, k))
    expected = item
    for k in reversed(order):
        if shape[k] > 1 and strides[k] != expected:
            return None
        expected *= shape[k]
    if len(order) > 8 or 0 in shape:
        return None
    table = [(shape[k], axes.find(layout[k + 1])) for k in order] or [(1, -1)]
    return np.array(table, np.int64).tobytes()


@functools.lru_cache(256)
def int64(numbers: tuple[int, ...]) -> bytes:
    """Numbers as the kernel reads them."""
    return np.array(numbers, np.int64).tobytes()
