"""The libraries that batchmix is compared with: one module each, with a function `cases`.

Where one lets its parameters be given, it gets those of the work; where it draws them, it is set up
to draw the same amount of work, and what it drew is noted for the check.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType

MODULES = {  # library: (module here, distribution whose version is told)
    "timm": ("timm", "timm"),
    "torchvision": ("torchvision", "torchvision"),
    "kornia": ("kornia", "kornia"),
    "Composer": ("composer", "mosaicml"),
    "fastai": ("fastai", "fastai"),
    "Keras": ("keras", "keras"),
    "formula": ("formula", "torch"),
}
ALONE = ("Keras",)  # needs a process of its own: a backend is chosen at import


def load(library: str) -> ModuleType | str:
    """The module of a library, or why it is absent."""
    module, _ = MODULES[library]
    try:
        return importlib.import_module(f"{__name__}.{module}")
    except Exception as problem:  # a broken install raises anything, RuntimeError above all
        return f"{type(problem).__name__}: {problem}".splitlines()[0]


def version(library: str) -> str | None:
    """The version that is installed, if any."""
    try:
        return importlib.metadata.version(MODULES[library][1])
    except importlib.metadata.PackageNotFoundError:
        return None
