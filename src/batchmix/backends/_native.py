"""The native kernel, for arrays on the host: addresses and strides in, one pass over memory."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix._plan import Plan
from batchmix.backends._memory import Memory, alike, axes_of, in_c_order, int64, rows_at

try:
    _kernel: Any = importlib.import_module("batchmix.backends._kernel")
except ImportError:  # installed without a compiler
    _kernel = None

# dtype -> code and bytes per element; a copy needs the bytes alone
_TYPES = {
    "float64": (0, 8), "float32": (1, 4), "float16": (2, 2), "bfloat16": (3, 2),
    "uint8": (4, 1), "int8": (5, 1), "uint16": (6, 2), "int16": (7, 2),
}  # fmt: skip
# Least for a thread: it takes 0.05 to 0.1 ms to start and to join, a quarter of these 8 MB.
_BYTES_PER_THREAD = 8 << 20
_MISSING = (
    "batchmix was installed without its native kernel; arrays on the host are mixed by the "
    "portable path, several times slower. Reinstall where a C++ compiler is found."
)
_state: dict[str, Any] = {"threads": None, "kernel": None, "interpreted": False, "triton": True}


def kernels() -> dict[str, str | int]:
    """Which kernels mix, and with how many threads at most.

    Returns:
      {"host": "avx512", "avx2" or "baseline", the instruction set of the native kernel, or
      "portable" where it was not built; "cuda": "triton", for PyTorch's tensors on a GPU, or
      "portable" where Triton is not installed, was found not to work, or PyTorch is for ROCm;
      "threads": the setting, 0 for one per core}.

    The environment variable BATCHMIX_KERNEL chooses one of the names of "host" for a process;
    portable is then both. "triton" is for tests without a GPU: PyTorch's tensors on the host go
    through the kernel for GPUs, which Triton interprets.

    Example:
      >>> sorted(kernels())
      ['cuda', 'host', 'threads']
    """
    there = _state["triton"] and importlib.util.find_spec("triton") is not None
    version = getattr(sys.modules.get("torch"), "version", None)
    there = there and chosen() != "portable" and not getattr(version, "hip", None)
    cuda = "triton" if there else "portable"
    return {"host": chosen(), "cuda": cuda, "threads": _state["threads"] or 0}


def without_triton() -> None:
    """From now on."""
    _state["triton"] = False


def interpreted() -> bool:
    """Whether tensors on the host are for the kernel for GPUs."""
    chosen()
    return bool(_state["interpreted"])


def set_threads(n: int | None) -> None:
    """Use at most `n` threads in the native kernel; None goes back to the default.

    The default is the environment variable BATCHMIX_NUM_THREADS; without it PyTorch's own setting
    for its tensors and one per core for NumPy arrays; and one in a worker process. Each thread gets
    8 MB of the batch at least, and lives for one call.

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


Rows = Memory | NDArray[np.int64]  # a batch, or the addresses of rows that lie in C order


def paste(
    x: Rows, other: Rows, out: Memory, dtype: str, plan: Plan, layout: str, threads: int | None
) -> bool:
    """Execute a plan with the native kernel; False where it cannot, and nothing was done.

    Opacities of 0 and 1 copy bits: then `dtype` is any type of the right width.
    """
    code, item = _TYPES[dtype]
    axes = axes_of(layout, out.shape[1:], out.strides[1:], item, plan.axes)
    if axes is None or (out.address | out.strides[0]) % item or chosen() == "portable":
        return False
    own = _readable(x, out, item)
    theirs = own if other is x else _readable(other, out, item)
    if own is None or theirs is None:
        return False
    effort = _effort(out, item, threads)
    _run(_kernel.paste, rows_at(out), own, theirs, axes, *_columns(plan), code, *effort)
    return True


def _readable(rows: Rows, out: Memory, item: int) -> Any:
    """As the kernel is told of them; None where they do not lie as those of `out`."""
    if isinstance(rows, Memory):
        aligned = not (rows.address | rows.strides[0]) % item
        return rows_at(rows) if aligned and alike(rows, out) else None
    return rows if in_c_order(out, item) and not (rows % item).any() else None


def mix_normalize(
    rows: NDArray[np.int64], out: Memory, dtype: str, plan: Plan,
    scale: NDArray[np.float32], bias: NDArray[np.float32], threads: int | None,
) -> bool:  # fmt: skip
    """uint8 rows [H, W, C] in C order, mixed and normalised into `out` [B, C, H, W]."""
    code, item = _TYPES[dtype]
    _, channels, height, width = out.shape
    boxes_alone = plan.mask is None and plan.source is None and not plan.above
    if not boxes_alone or not in_c_order(out, item):
        return False
    if chosen() == "portable" or channels > _kernel.MAX_CHANNELS:
        return False
    _run(
        _kernel.mix_normalize, rows_at(out), rows, height, width, channels, plan.partner, plan.box,
        plan.opacity, scale, bias, code, *_effort(out, item, threads),
    )  # fmt: skip
    return True


def mix_labels(
    y: NDArray[Any], other: NDArray[Any], partner: NDArray[np.int32], lam: NDArray[np.float32],
    classes: int, off: float, on: float,
) -> NDArray[np.float32] | None:  # fmt: skip
    """Soft labels [B, classes] of integer ids [B]; None where ids, or their dtype, are not for it.

    `off`, plus lam * on at y, plus (1 - lam) * on at other[partner].
    """
    if chosen() == "portable":
        return None
    target = np.empty((len(y), classes), np.float32)
    done = _run(_kernel.mix_labels, target, y, other, partner, lam, classes, off, on)
    return target if done else None


def chosen() -> str:
    """The kernel in use; decided, and a missing one told of, at the first call."""
    if _state["kernel"] is None:
        asked = os.environ.get("BATCHMIX_KERNEL", "")
        told = os.environ.get("TRITON_INTERPRET") == "1"
        if asked == "triton" and told and importlib.util.find_spec("triton") is not None:
            asked, _state["interpreted"] = "", True
        if _kernel is None and asked in ("", "portable"):
            if not asked:
                warnings.warn(_MISSING, stacklevel=2)
            asked = "portable"
        elif asked != "portable" and (_kernel is None or not _kernel.choose(asked)):
            raise mix_error(
                "BATCHMIX_KERNEL", f"got {asked!r}.",
                "It is portable, baseline, avx2 or avx512, as far as machine and install have it, "
                "or triton where TRITON_INTERPRET=1.",
                "Unset it for the best.",
            )  # fmt: skip
        _state["kernel"] = asked if asked == "portable" else _kernel.name()
    name: str = _state["kernel"]
    return name


def _run(function: Any, *arguments: Any) -> Any:
    """The kernel checks all that it is told; arrays were checked before, so it refuses the plan."""
    try:
        return function(*arguments)
    except ValueError as problem:
        raise unfit(problem) from problem


def unfit(problem: object) -> MixError:
    """The error for a plan that is not what it was."""
    return mix_error(
        "mix", f"the plan does not fit any more ({problem}).",
        "A plan is checked when it is made, and its arrays are not written to after that.",
        "Make another with bm.draw or bm.Plan, not with Plan.unchecked.",
    )  # fmt: skip


def _columns(plan: Plan) -> tuple[Any, ...]:
    grid = () if plan.mask is None else plan.mask.shape[1:]
    shape = int64(grid), plan.source, plan.resample == "bilinear"
    return plan.partner, plan.box, plan.opacity, plan.mask, *shape


def _effort(out: Memory, item: int, threads: int | None) -> tuple[bool, int]:
    """Whether to write `out` past the cache, and with how many threads."""
    size = item * math.prod(out.shape)
    return size > _cache(), _threads(threads, size)


def _threads(framework: int | None, size: int) -> int:
    """Threads for a batch of `size` bytes."""
    asked = _state["threads"] or _default_threads() or framework or _cores()
    return max(1, min(asked, size // _BYTES_PER_THREAD))


@functools.cache
def _default_threads() -> int:
    """BATCHMIX_NUM_THREADS, without it 1 in a worker process, 0 in others: asked once in each."""
    from multiprocessing import parent_process  # not needed until something is mixed

    asked = os.environ.get("BATCHMIX_NUM_THREADS", "0")
    if not asked.isdecimal():
        raise mix_error(
            "BATCHMIX_NUM_THREADS", f"got {asked!r}.", "It counts threads; 0 is one per core.",
            "Set it to a number such as 1, or unset it.",
        )  # fmt: skip
    return int(asked) or int(parent_process() is not None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_default_threads.cache_clear)


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
