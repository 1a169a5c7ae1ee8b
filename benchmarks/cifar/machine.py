"""Where runs were made, and with what."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import batchmix
from batchmix.backends import kernels

_LIBRARIES = ("torch", "triton", "numpy", "timm", "torchvision")
_HERE = Path(__file__).parent


def machine(device: torch.device) -> dict[str, Any]:
    """Device, versions, and which state of the sources ran."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or "CPU",
        "versions": {"python": platform.python_version(), "batchmix": batchmix.__version__}
        | {name: found for name in _LIBRARIES if (found := _version(name))}
        | ({"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if cuda else {}),
        "kernels": kernels(),
        "revision": _revision(),
        "sources": _sources(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """That of git, where there is one: a copy of the tree has none."""
    command = ["git", "-C", str(_HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _sources() -> str:
    """A digest of the library and of these scripts, which a copy has too."""
    folders = (Path(batchmix.__file__).parent, _HERE)
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
