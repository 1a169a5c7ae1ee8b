"""What a report of a mistake should name. Needs nothing, and imports nothing to find out."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import metadata

import batchmix

_HOSTS = ("numpy", "torch", "timm", "torchvision", "jax", "tensorflow", "keras", "lightning-fabric")


def print_versions() -> None:
    """Of batchmix, of Python, and of what batchmix can work with here."""
    print(f"batchmix {batchmix.__version__}")
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    for name in _HOSTS:
        with suppress(metadata.PackageNotFoundError):
            print(name, metadata.version(name))
