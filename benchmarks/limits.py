"""What the memory allows: copying a batch, and scaling it in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

import cases as c
from batchmix.backends import _native


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Two of each; the faster one is the limit."""
    x, out, work = batch.x.numpy(), batch.out.numpy(), batch.work.numpy()
    yield c.Case("limit", "limit", "copy: streaming stores", _in_parts(_streamed, out, x))
    yield c.Case("limit", "limit", "copy: torch copy_", lambda: batch.out.copy_(batch.x))
    minus = np.float32(-1)
    yield c.Case("limit", "limit", "scale: NumPy", lambda: np.multiply(work, minus, out=work))
    yield c.Case("limit", "limit", "scale: torch mul_", lambda: batch.work.mul_(-1.0))


def _streamed(out: NDArray[np.float32], x: NDArray[np.float32]) -> None:
    """Copy past the cache."""
    _native._kernel.stream_copy(out.reshape(-1).view(np.uint8), x.reshape(-1).view(np.uint8))


def _in_parts(
    copy: Callable[[NDArray[np.float32], NDArray[np.float32]], None],
    out: NDArray[np.float32],
    x: NDArray[np.float32],
) -> Callable[[], object]:
    """A copy on as many threads as torch uses."""
    threads = torch.get_num_threads()
    if threads == 1:
        return lambda: copy(out, x)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(out, threads), np.array_split(x, threads)))
    return lambda: [done.result() for done in [pool.submit(copy, *part) for part in parts]]
