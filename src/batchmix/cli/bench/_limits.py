"""What the memory allows: copying a batch, and scaling it in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from batchmix.backends import _native
from batchmix.cli.bench._cases import LIMIT, Batch, Case

COPY, SCALE = "copy", "scale"  # how each of them starts


def cases(batch: Batch) -> Iterator[Case]:
    """Two of each; the faster one is the limit."""
    x, out, work = batch.x.numpy(), batch.out.numpy(), batch.work.numpy()
    yield Case("limit", LIMIT, f"{COPY}: streaming stores", _in_parts(_native.stream_copy, out, x))
    yield Case("limit", LIMIT, f"{COPY}: torch copy_", lambda: batch.out.copy_(batch.x))
    minus = np.float32(-1)
    yield Case("limit", LIMIT, f"{SCALE}: NumPy", lambda: np.multiply(work, minus, out=work))
    yield Case("limit", LIMIT, f"{SCALE}: torch mul_", lambda: batch.work.mul_(-1.0))


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
