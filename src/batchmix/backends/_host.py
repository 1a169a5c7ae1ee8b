"""Arrays in memory of the host: how they lie, and what is always so of NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# ids are copied: for the kernel the bytes of one are a number of the same size
WIDTHS = {1: "uint8", 2: "uint16", 4: "float32", 8: "float64"}


def lie_apart(shape: Sequence[int], strides: Sequence[int], item: int) -> bool:
    """Whether no two elements share memory; False also where that is hard to tell."""
    end = item
    for step, n in sorted((abs(step), n) for step, n in zip(strides, shape) if n > 1):
        if step < end:
            return False
        end += (n - 1) * step
    return True


def dense(x: Any) -> bool:
    """Always: masked arrays and matrices are refused by their type."""
    return True


def allocated(x: Any) -> bool:
    return True


def together(x: Any, y: Any) -> bool:
    return True


def traced(x: Any) -> bool:
    return False
