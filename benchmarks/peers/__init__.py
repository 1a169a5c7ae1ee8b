"""The libraries that batchmix is compared with: one module each, with a function `cases`.

Where one lets its parameters be given, it gets those of the work; where it draws them, it is set up
to draw the same amount of work, and what it drew is noted for the check.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import NamedTuple

MODULES = {  # library: module here, of the same name as the package
    "timm": "timm",
    "torchvision": "torchvision",
    "kornia": "kornia",
    "Composer": "composer",
    "fastai": "fastai",
    "Keras": "keras",
    "JAX": "jax",
    "Keras on JAX": "keras",
    "TensorFlow": "tensorflow",
    "Keras on TensorFlow": "keras",
    "Datarax": "datarax",
    "formula": "formula",
}


class Process(NamedTuple):
    """Libraries that can live in one process."""

    group: str  # of its tables
    libraries: tuple[str, ...]
    keras: str = "torch"  # Keras' backend, chosen at its import


MAIN = Process(
    "float32", ("timm", "torchvision", "kornia", "Composer", "fastai", "formula")
)  # the one that has uint8 images and all shapes too
FRONT_DOOR = Process("front door", ("timm", "torchvision"))
POLICIES = Process("policies", ("torchvision", "kornia"))
DATARAX = Process("JAX, NHWC", ("Datarax",), "jax")  # asks for versions that no other library has
PROCESSES = (
    MAIN,
    FRONT_DOOR,
    Process("float32, own process", ("Keras",)),
    Process("JAX", ("JAX", "Keras on JAX"), "jax"),
    Process("TensorFlow", ("TensorFlow", "Keras on TensorFlow"), "tensorflow"),
    DATARAX,
)


def load(library: str) -> ModuleType | str:
    """The module of a library, or why it is absent."""
    try:
        return importlib.import_module(f"{__name__}.{MODULES[library]}")
    except Exception as problem:  # a broken install raises anything, RuntimeError above all
        return f"{type(problem).__name__}: {problem}".splitlines()[0]


def version(library: str) -> str | None:
    """The version that is installed, if any, whatever its distribution is called."""
    owners = _owners().get(MODULES[library])
    return importlib.metadata.version(owners[0]) if owners else None


@cache
def _owners() -> Mapping[str, list[str]]:
    """Package: the distributions that it comes from; a slow look-up."""
    return importlib.metadata.packages_distributions()
