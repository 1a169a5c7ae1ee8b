"""What a number is worth nothing without."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import numpy
import torch

import batchmix
from batchmix.backends import kernels
from processes import cores

_LIBRARIES = (
    "triton", "timm", "torchvision", "kornia", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "jax",
)  # fmt: skip


def machine(device: str) -> dict[str, Any]:
    """The device and the versions; `gpu` is None where there is none."""
    return {
        "gpu": _gpu() if device == "cuda" else None,
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "batchmix": batchmix.__version__,
        "kernels": kernels(),
    }


def _gpu() -> dict[str, Any]:
    """What the driver tells of it."""
    told = torch.cuda.get_device_properties(0)
    return {
        "name": told.name,
        "memory_gib": round(told.total_memory / 2**30, 1),
        "multiprocessors": told.multi_processor_count,
        "l2_mib": round(getattr(told, "L2_cache_size", 0) / 2**20),
    }


def libraries() -> dict[str, str | None]:
    """Versions; None is not installed."""
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
