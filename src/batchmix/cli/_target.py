"""What is audited: code that a user names, imported and made."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from batchmix._errors import MixError, mix_error

_MAKERS = {  # framework: module, function that makes its array of NumPy's
    "torch": ("torch", "tensor"),
    "jax": ("jax.numpy", "asarray"),
    "tensorflow": ("tensorflow", "convert_to_tensor"),
}


def build(target: str, arguments: dict[str, Any]) -> Callable[..., Any]:
    """What `target` names: an instance of a class, or a function with its keyword arguments."""
    module, colon, name = target.rpartition(":")
    if not (module and colon and name):
        raise mix_error(
            "audit", f"got {target!r}.", "It is module:callable or file.py:callable.",
            "Write for example timm.data.mixup:Mixup.",
        )  # fmt: skip
    try:
        found = functools.reduce(_part, name.split("."), _module(module))
        if isinstance(found, type):
            return _callable(target, found(**arguments))
        found = _callable(target, found)
        return functools.partial(found, **arguments) if arguments else found
    except MixError:
        raise
    except Exception as error:  # any kind, as the code is not ours
        raise mix_error(
            "audit", f"{target} could not be made ({type(error).__name__}: {error}).",
            "It is imported, and a class is called with --args.", "Check both in Python.",
        ) from None  # fmt: skip


def _module(name: str) -> Any:
    """A module by its name or its file."""
    if not name.endswith(".py") and not {"/", "\\"} & {*name}:
        _look_in("")
        return importlib.import_module(name)
    known = f"audited_{Path(name).stem}"  # a file called numpy.py takes the place of no module
    spec = importlib.util.spec_from_file_location(known, name)
    if spec is None or spec.loader is None or not Path(name).is_file():
        raise mix_error(
            "audit", f"there is no file {name}.", "The callable is in a Python file.",
            "Check the path.",
        )  # fmt: skip
    _look_in(str(Path(name).resolve().parent))  # as `python file.py` would
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _part(whole: Any, name: str) -> Any:
    """What is called so in a module or a class."""
    if isinstance(whole, ModuleType) and not hasattr(whole, name):
        there = [n for n, one in vars(whole).items() if callable(one) and not n.startswith("_")]
        raise mix_error(
            "audit", f"{Path(whole.__file__ or whole.__name__).name} has no {name!r}.",
            "It is a function or a class by its name.",
            f"There is {', '.join(there[:8]) or 'none'}.",
        )  # fmt: skip
    return getattr(whole, name)


def _look_in(folder: str) -> None:
    """Find modules there, too: what lies there replaces nothing installed; "" is where we are."""
    if folder not in sys.path:
        sys.path.append(folder)


def _callable(target: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise mix_error(
            "audit", f"{target} is of type {type(found).__name__}.", "It is called with a batch.",
            "Name a function, or a class whose instances can be called.",
        )  # fmt: skip
    return found  # type: ignore[no-any-return]


def maker(framework: str) -> Callable[[Any], Any] | None:
    """What makes its arrays of NumPy's; None for NumPy."""
    if framework == "numpy":
        return None
    module, function = _MAKERS[framework]
    try:
        maker: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as missing:
        if missing.name not in (module, framework):
            raise
        raise mix_error(
            "--framework", f"{framework} is not installed.", "Its arrays are what the code gets.",
            f"pip install {framework}",
        ) from None  # fmt: skip
    return maker
