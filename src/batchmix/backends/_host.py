"""What backends share whose arrays lie in memory that can be written to: NumPy and PyTorch."""

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


def traced(x: Any) -> bool:
    """Never: what torch.compile traces has values, too, wherever Python asks for them."""
    return False
