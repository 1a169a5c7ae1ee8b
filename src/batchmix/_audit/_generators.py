"""Global random generators: reading, seeding and restoring them."""

from __future__ import annotations

import contextlib
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Generator(NamedTuple):
    """One global generator; the state of some cannot be read."""

    name: str
    seed: Callable[[int], Any]
    read: Callable[[], Any] | None = None
    restore: Callable[[Any], Any] | None = None


def known(array: Any) -> list[Generator]:
    """The generators of Python, of NumPy, and of the package that `array` belongs to."""
    package = type(array).__module__.partition(".")[0]
    found = [
        Generator("Python's random", random.seed, random.getstate, random.setstate),
        Generator("numpy.random", np.random.seed, np.random.get_state, np.random.set_state),
    ]
    own: Any = sys.modules.get(package)
    if hasattr(own, "manual_seed"):
        found.append(Generator(package, own.manual_seed, own.get_rng_state, own.set_rng_state))
    elif hasattr(getattr(own, "random", None), "set_seed"):
        found.append(Generator(f"{package}.random", own.random.set_seed))
    return found


def seed(generators: list[Generator], number: int) -> None:
    for generator in generators:
        generator.seed(number)


def states(generators: list[Generator]) -> dict[str, bytes]:
    """The states that can be read, for comparison."""
    return {g.name: pickle.dumps(_comparable(g.read())) for g in generators if g.read}


@contextlib.contextmanager
def kept(generators: list[Generator]) -> Iterator[None]:
    """Restores the states at the end."""
    found = [(g.restore, g.read()) for g in generators if g.read and g.restore]
    try:
        yield
    finally:
        for restore, state in found:
            restore(state)


def _comparable(state: Any) -> Any:
    """The state with its arrays as bytes."""
    if isinstance(state, tuple):
        return tuple(_comparable(part) for part in state)
    return np.asarray(state).tobytes() if hasattr(state, "dtype") else state
