"""Places in a batch: tuples (named too), lists, mappings and dataclasses, nested or not."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batchmix._errors import MixError, mix_error

Path = tuple[Any, ...]
_DEEPEST = 100


def path_of(place: Any) -> Path:
    """A place as a path of one or more steps: an index, a key, a name, or a tuple of these."""
    return place if isinstance(place, tuple) else (place,)


def get_at(batch: Any, path: Path) -> Any:
    """What is at a path.

    Raises:
      MixError: a step that is not there, or a batch that has no places.
    """
    for step in path:
        batch = _get(batch, step)
    return batch


def _get(batch: Any, step: Any) -> Any:
    try:
        return _part(batch, step)
    except (LookupError, TypeError, AttributeError):
        raise _absent(batch, step) from None


def _part(batch: Any, step: Any) -> Any:
    kind = type(batch)
    if kind is dict:
        return batch[step]
    if isinstance(step, slice):
        raise TypeError("several parts are no part")
    if kind is tuple or kind is list:
        return batch[step]
    if isinstance(batch, tuple):
        return batch[_index(batch, step)]
    if _is_record(batch):
        return getattr(batch, step)
    if hasattr(batch, "dtype") and not isinstance(step, str):
        raise TypeError("rows of an array are no part of a batch")
    if isinstance(batch, Mapping) and step not in batch:
        raise KeyError(step)  # a defaultdict would make it
    return batch[step]


def replaced_at(batch: Any, path: Path, value: Any) -> Any:
    """A shallow copy of `batch` with another value at the end of `path`.

    Raises:
      MixError: as for `get_at`: nothing is added.
    """
    if not path:
        return value
    step = path[0]
    inner = replaced_at(_get(batch, step), path[1:], value)
    try:
        return _remade(batch, step, inner)
    except (TypeError, ValueError) as problem:  # of its own constructor
        raise mix_error(
            "Mixer", f"a {type(batch).__name__} cannot be made with another {step!r} ({problem}).",
            "The mixed batch has the structure of the batch.",
            "Pass its parts as a tuple or a dict.",
        ) from problem  # fmt: skip


def _remade(batch: Any, step: Any, value: Any) -> Any:
    if isinstance(batch, tuple):
        parts = [*batch]
        parts[_index(batch, step)] = value
        return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)
    if _is_record(batch):
        return dataclasses.replace(batch, **{step: value})
    new = copy.copy(batch)
    new[step] = value
    return new


def leaves(batch: Any, depth: int = 0) -> Iterator[Any]:
    """Everything in a batch that is not itself a place with parts.

    Raises:
      MixError: a batch that contains itself, or is nested without end.
    """
    if depth > _DEEPEST:
        raise mix_error(
            "Mixer", f"the batch is nested more than {_DEEPEST} deep, or contains itself.",
            "To write in place, every array in it has to be known.",
            "Take that part out of the batch, or use inplace=False.",
        )  # fmt: skip
    if hasattr(batch, "dtype"):
        yield batch
        return
    parts: Iterable[Any]
    if isinstance(batch, tuple | list):
        parts = batch
    elif isinstance(batch, Mapping):
        parts = batch.values()
    elif _is_record(batch):
        parts = [getattr(batch, f.name) for f in dataclasses.fields(batch)]
    else:
        yield batch
        return
    for part in parts:
        yield from leaves(part, depth + 1)


def _names(batch: Any) -> list[Any]:
    """How the parts of a tuple or list are called: those of a named tuple by their names."""
    return list(getattr(batch, "_fields", range(len(batch))))


def _index(batch: Any, step: Any) -> Any:
    names = _names(batch)
    return names.index(step) if step in names else step


def _is_record(batch: Any) -> bool:
    return hasattr(type(batch), "__dataclass_fields__")


def _absent(batch: Any, step: Any) -> MixError:
    if _is_record(batch):
        names: list[Any] = [f.name for f in dataclasses.fields(batch)]
    elif isinstance(batch, Mapping):
        names = list(batch)
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        names = _names(batch)
    else:
        return mix_error(
            "Mixer", f"field {step!r} is looked for in a {type(batch).__name__}.",
            "A batch is a tuple, list, mapping or dataclass, nested or not.",
            "Pass for example (images, labels) with fields {0: ..., 1: ...}.",
        )  # fmt: skip
    near = difflib.get_close_matches(str(step), [str(n) for n in names], 1)
    return mix_error(
        "Mixer", f"field {step!r} is not in the batch; it has {names}.",
        "Every named field must be present.",
        f"Did you mean {near[0]!r}?" if near else "Name one of these.",
    )  # fmt: skip
