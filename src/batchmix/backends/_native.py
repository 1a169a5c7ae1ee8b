"""The native kernel, for arrays on the host: addresses and strides in, one pass over memory."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._plan import Plan

try:
    _kernel: Any = importlib.import_module("batchmix.backends._kernel")
except ImportError:  # installed without a compiler
    _kernel = None

_TYPES = ("float64", "float32", "float16", "bfloat16", "uint8", "int8", "uint16", "int16")
_TYPE = {name: code for code, name in enumerate(_TYPES)}
_BYTES_PER_THREAD = 2 << 20  # starting a thread costs more than it gains below
_MISSING = (
    "batchmix was installed without its native kernel; arrays on the host are mixed by the "
    "portable path, several times slower. Reinstall where a C++ compiler is found."
)
_state: dict[str, Any] = {"threads": None, "kernel": None}


class Memory(NamedTuple):
    """Where an array lies: all that the kernel is told of it."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes


def kernels() -> dict[str, str | int]:
    """Which kernel mixes arrays on the host, and with how many threads at most.

    Returns:
      {"host": "avx512", "avx2" or "baseline", the instruction set of the native kernel, or
      "portable" where it was not built; "threads": the setting, 0 for one per core}.

    The environment variable BATCHMIX_KERNEL chooses one of these names for a process.

    Example:
      >>> sorted(kernels())
      ['host', 'threads']
    """
    return {"host": _chosen(), "threads": _state["threads"] or 0}


def set_threads(n: int | None) -> None:
    """Use at most `n` threads in the native kernel; None goes back to the default.

    The default is the environment variable BATCHMIX_NUM_THREADS; without it PyTorch's own setting
    for its tensors and one per core for NumPy arrays; and one in a worker process. Each thread gets
    2 MB of the batch at least, and lives for one call.

    Raises:
      MixError: n is not an integer >= 1.

    Example:
      >>> set_threads(1); kernels()["threads"]
      1
      >>> set_threads(None)
    """
    if n is not None and not (isinstance(n, int) and n >= 1):
        raise mix_error("set_threads()", f"got {n!r}.", "It counts threads, from 1.", "Pass 1.")
    _state["threads"] = n


def paste(
    x: Memory, other: Memory, out: Memory, dtype: str, plan: Plan, layout: str, threads: int | None
) -> bool:
    """Execute a plan with the native kernel; False where it cannot, and nothing was done."""
    if _chosen() == "portable":
        return False
    item = _item(dtype)
    axes = _axes(layout, x.shape[1:], x.strides[1:], item, plan.axes)
    alike = out.strides[1:] == x.strides[1:] == other.strides[1:]
    aligned = all((m.address | m.strides[0]) % item == 0 for m in (x, out, other))
    if axes is None or not alike or not aligned:
        return False
    in_place = out.address == x.address and out.strides == x.strides
    rows = _rows(x)
    _kernel.mix(
        _rows(out), rows, rows if other is x else _rows(other), axes,
        plan.partner, plan.box, plan.opacity, plan.mask, plan.source,
        _TYPE[dtype], in_place, other is x, *_effort(out, dtype, threads),
    )  # fmt: skip
    return True


def paste_rows(
    rows: NDArray[np.int64], out: Memory, dtype: str, plan: Plan, layout: str, threads: int | None
) -> bool:
    """As `paste`, for rows at addresses of their own."""
    item = _item(dtype)
    axes = _axes(layout, out.shape[1:], out.strides[1:], item, plan.axes)
    if _chosen() == "portable" or axes is None or (rows % item).any():
        return False
    _kernel.mix(
        _rows(out), rows, rows, axes, plan.partner, plan.box, plan.opacity, plan.mask, plan.source,
        _TYPE[dtype], False, True, *_effort(out, dtype, threads),
    )  # fmt: skip
    return True


def widen(
    rows: NDArray[np.int64], out: Memory, dtype: str, plan: Plan,
    scale: NDArray[np.float32], bias: NDArray[np.float32], threads: int | None,
) -> bool:  # fmt: skip
    """uint8 rows [H, W, C] at `rows`, mixed and normalised into `out` [B, C, H, W]."""
    if _chosen() == "portable" or plan.mask is not None or plan.source is not None:
        return False
    _, channels, height, width = out.shape
    _kernel.widen(
        _rows(out), rows, height, width, channels, plan.partner, plan.box, plan.opacity, scale, bias,
        _TYPE[dtype], *_effort(out, dtype, threads),
    )  # fmt: skip
    return True


def stream_copy(out: NDArray[Any], x: NDArray[Any]) -> None:
    """Copy past the cache in one thread: the limit that benchmarks compare with."""
    _kernel.stream_copy(out.reshape(-1).view(np.uint8), x.reshape(-1).view(np.uint8))


def _chosen() -> str:
    """The kernel in use; decided, and a missing one told of, at the first call."""
    if _state["kernel"] is None:
        asked = os.environ.get("BATCHMIX_KERNEL", "")
        if _kernel is None and asked in ("", "portable"):
            if not asked:
                warnings.warn(_MISSING, stacklevel=2)
            asked = "portable"
        elif asked != "portable" and (_kernel is None or not _kernel.choose(asked)):
            raise mix_error(
                "BATCHMIX_KERNEL", f"got {asked!r}.",
                "It is portable, baseline, avx2 or avx512, as far as machine and install have it.",
                "Unset it for the best.",
            )  # fmt: skip
        _state["kernel"] = asked if asked == "portable" else _kernel.name()
    name: str = _state["kernel"]
    return name


def _effort(out: Memory, dtype: str, threads: int | None) -> tuple[bool, int]:
    """Whether to write `out` past the cache, and with how many threads."""
    size = _item(dtype) * int(np.prod(out.shape))
    return size > _cache(), _threads(threads, size)


def _threads(framework: int | None, size: int) -> int:
    """Threads for a batch of `size` bytes."""
    asked = _state["threads"] or _from_environment()
    if not asked:
        from multiprocessing import parent_process  # not needed until something is mixed

        worker = parent_process() is not None
        asked = 1 if worker else framework or _cores()
    return max(1, min(asked, size // _BYTES_PER_THREAD))


def _from_environment() -> int:
    """The number of threads that BATCHMIX_NUM_THREADS asks for, 0 without it."""
    asked = os.environ.get("BATCHMIX_NUM_THREADS", "0")
    if not asked.isdecimal():
        raise mix_error(
            "BATCHMIX_NUM_THREADS", f"got {asked!r}.", "It counts threads; 0 is one per core.",
            "Set it to a number such as 1, or unset it.",
        )  # fmt: skip
    return int(asked)


@functools.cache
def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@functools.cache
def _cache() -> int:
    """Bytes of a batch from which the result is written past the cache: half of the last level."""
    try:
        size = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (AttributeError, ValueError, OSError):
        size = 0
    return (size if size > 0 else 32 << 20) // 2


def _item(dtype: str) -> int:
    """Bytes per element."""
    return {"float64": 8, "float32": 4, "uint8": 1, "int8": 1}.get(dtype, 2)


def _rows(memory: Memory) -> NDArray[np.int64]:
    """Addresses of the rows."""
    count = memory.shape[0]
    return memory.address + np.arange(count, dtype=np.int64) * memory.strides[0]


@functools.lru_cache(256)
def _axes(
    layout: str, shape: tuple[int, ...], strides: tuple[int, ...], item: int, axes: str
) -> NDArray[np.int64] | None:
    """[rank, 2]: cells and plan axis of each row axis in the order of memory; None with gaps."""
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
    return np.array(table, np.int64)
