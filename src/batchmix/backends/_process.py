"""What this process is among those that train together, asked of the frameworks that run in it."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any


def process_rank() -> int:
    """Number of this process among those that train together; 0 where it is the only one.

    Asked of, in this order: torch.distributed and JAX where they are initialised, and the variables
    of the launcher: RANK (torchrun and those who follow it), then those of Open MPI, PMI, Slurm and
    TensorFlow.
    """
    return known_rank() or 0


def known_rank() -> int | None:
    """The rank, None where nothing says that there are several processes."""
    torch: Any = sys.modules.get("torch.distributed")  # only what is imported can be initialised
    if torch is not None and torch.is_available() and torch.is_initialized():
        return int(torch.get_rank())
    jax: Any = getattr(sys.modules.get("jax"), "distributed", None)
    if jax is not None and jax.is_initialized():
        return int(sys.modules["jax"].process_index())
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdigit() else _launched()


@functools.cache
def _launched() -> int | None:
    """By launchers that set their variables before Python starts."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    try:
        config = json.loads(os.environ.get("TF_CONFIG", "{}"))
        task, chiefs = config["task"], len(config["cluster"].get("chief", ()))
        return int(task["index"]) + (chiefs if task["type"] == "worker" else 0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_spawning() -> bool:
    """Whether what is pickled now goes to a process that this one starts."""
    context: Any = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def in_loader_worker() -> bool:
    """Whether this is a worker of a PyTorch DataLoader: one of several copies of the program."""
    data: Any = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None
