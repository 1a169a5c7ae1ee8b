"""Where NumPy's arrays lie, and what may be read and written there."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix.backends._contract import COMPUTE
from batchmix.backends._host import WIDTHS, lie_apart
from batchmix.backends._memory import Memory


@cache
def kernel_type(dtype: np.dtype[Any]) -> str | None:
    """What the kernel takes elements for, or None where it must not have them."""
    if dtype.name in COMPUTE:
        return dtype.name if dtype.isnative else None
    bare = dtype.kind in "biufcmMSUV" and not dtype.hasobject  # references are to be counted
    return WIDTHS.get(dtype.itemsize) if bare else None


def addressable(x: Any) -> bool:
    """Whether nothing but its memory says what an array holds; of a subclass nobody knows."""
    return type(x) is np.ndarray or type(x) is np.memmap


def memory(x: Any) -> Memory:
    return Memory(x.__array_interface__["data"][0], x.shape, x.strides)


def lie_dense(arrays: list[Any]) -> bool:
    """Whether all lie in memory in the order of their axes, without gaps."""
    return all(addressable(x) and x.flags.c_contiguous and x.flags.aligned for x in arrays)


def addresses(rows: Any) -> NDArray[np.int64]:
    return np.array([row.__array_interface__["data"][0] for row in rows], np.int64)


def overlap(out: Any, x: Any) -> Literal["same", "none", "partial"]:
    """By the bounds of both."""
    if out is x or out.__array_interface__ == x.__array_interface__:
        return "same"
    return "partial" if np.may_share_memory(out, x) else "none"


def writable(out: Any) -> bool:
    """Not read-only memory, nor where elements share some."""
    apart = out.flags.forc or lie_apart(out.shape, out.strides, out.itemsize)
    return bool(out.flags.writeable) and apart
