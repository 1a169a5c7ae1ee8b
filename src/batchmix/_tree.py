"""Places in a batch: tuples, lists, mappings and dataclasses, nested or not."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchmix._errors import MixError, mix_error

Path = tuple[Any, ...]


def path_of(place: Any) -> Path:
    """A place as a path of one or more steps: an index, a key, a name, or a tuple of these."""
    return place if isinstance(place, tuple) else (place,)


def get_at(batch: Any, path: Path) -> Any:
    """What is at a path.

    Raises:
      MixError: a step that is not there, or a batch that has no places.
    """
    for step in path:
        try:
            batch = _get(batch, step)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _absent(batch, step) from None
    return batch


def _get(batch: Any, step: Any) -> Any:
    kind = type(batch)
    if kind is tuple or kind is list or kind is dict:
        return batch[step]
    if _is_record(batch):
        return getattr(batch, step)
    if isinstance(step, int) and hasattr(batch, "dtype"):
        raise TypeError("a row of an array is no part of a batch")
    if isinstance(batch, Mapping) and step not in batch:
        raise KeyError(step)  # a defaultdict would make it
    return batch[step]


def replaced_at(batch: Any, path: Path, value: Any) -> Any:
    """A shallow copy of `batch` with another value at the end of `path`."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    inner = replaced_at(_get(batch, step), rest, value) if rest else value
    if isinstance(batch, tuple):
        parts = [*batch]
        parts[step] = inner
        return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)
    if _is_record(batch):
        return dataclasses.replace(batch, **{step: inner})
    new = copy.copy(batch)
    new[step] = inner
    return new


def leaves(batch: Any) -> Iterator[Any]:
    """Everything in a batch that is not itself a place with parts."""
    if hasattr(batch, "dtype"):
        yield batch
    elif isinstance(batch, tuple | list):
        for part in batch:
            yield from leaves(part)
    elif isinstance(batch, Mapping):
        yield from leaves([*batch.values()])
    elif _is_record(batch):
        yield from leaves([getattr(batch, f.name) for f in dataclasses.fields(batch)])
    else:
        yield batch


def _is_record(batch: Any) -> bool:
    return hasattr(type(batch), "__dataclass_fields__")


def _absent(batch: Any, step: Any) -> MixError:
    if _is_record(batch):
        names: list[Any] = [f.name for f in dataclasses.fields(batch)]
    elif isinstance(batch, Mapping):
        names = list(batch)
    elif isinstance(batch, Sequence) and not isinstance(batch, str):
        names = list(range(len(batch)))
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
