"""Plans as files: npz, without pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from batchmix._columns import COLUMNS, checked_grid, entry_shape
from batchmix._errors import MixError, mix_error
from batchmix._npz import Arrays, open_npz

FORMAT = 1  # of saved plans; a change in what a column means is a new number
_MOST_AXES = 1000  # of a saved plan
_MOST_LAYERS = 1000
_Made = TypeVar("_Made")


def write(path: str | Path, form: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Write the arrays of a plan to a file."""
    with Path(path).open("wb") as file:  # given a name, savez would append ".npz" to it
        np.savez(file, **arrays(form, columns))


def arrays(form: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a plan that are not derived, and what else it is made of."""
    given = {name: v for name, v in columns.items() if not COLUMNS[name.partition(".")[0]].derived}
    told = {name: value for name, value in form.items() if value is not None}
    return given | told | {"format": FORMAT, "size": np.asarray(form["size"], int)}


def read(path: str | Path, made: Callable[[list[dict[str, Any]]], _Made]) -> _Made:
    """``made(arguments of a plan for each layer)`` of a saved one.

    Raises:
      FileNotFoundError, MixError: as `Plan.load` does.
    """
    try:
        with open_npz(path) as file:
            return made(_layers(file))
    except FileNotFoundError:
        raise
    except Exception as problem:  # zip, value and memory errors all mean the same thing
        raise _unreadable(path, problem) from None


def _unreadable(path: str | Path, problem: Exception) -> MixError:
    said = " ".join(str(problem).partition("\n")[0].split())[:200]
    said = said if said.isprintable() else ascii(said)
    return mix_error(
        "Plan.load()", f"cannot read {str(path)!r} as a plan ({said.rstrip('.')}).",
        f"A plan is an npz file of format {FORMAT}, without pickled objects.",
        "Write it with plan.save(path), by a version of batchmix no newer than this one.",
    )  # fmt: skip


def _layers(file: Arrays) -> list[dict[str, Any]]:
    """Shapes and dtypes are those that the size of the plan asks for."""
    version = file.read("format", "i", ()).item()
    if version != FORMAT:
        raise ValueError(f"format {version}")
    ends = [""]
    while f"partner.{len(ends) + 1}" in file.names and len(ends) < _MOST_LAYERS:
        ends.append(f".{len(ends) + 1}")
    given = [name for name, column in COLUMNS.items() if not column.derived]
    known = {name + end for name in given for end in ends}
    foreign = set(file.names) - {"format", "axes", "size", "resample", "others"} - known
    if foreign:
        raise ValueError(f"it has a foreign array {min(foreign)[:80]!r}")
    axes = str(file.read("axes", "U", ()))
    if len(axes) > _MOST_AXES:
        raise ValueError(f"it has {len(axes)} axes")
    size = checked_grid(axes, file.read("size", "i", (len(axes),)).tolist())
    form: dict[str, Any] = {"axes": axes, "size": size}
    if "resample" in file.names:
        form["resample"] = str(file.read("resample", "U", ()))
    if "others" in file.names:
        form["others"] = file.read("others", "i", ()).item()
    return [form | _columns(file, given, end, size) for end in ends]


def _columns(file: Arrays, given: list[str], end: str, size: tuple[int, ...]) -> dict[str, Any]:
    """Those of one layer."""
    found: dict[str, Any] = {}
    rows = None
    for name in given:
        if name + end in file.names or name in ("partner", "box", "opacity"):
            column = COLUMNS[name]
            dtypes = [np.dtype(d).str[1:] for d in (column.dtype, column.also) if d]
            wanted = dtypes[0] if len(dtypes) == 1 else tuple(dtypes)
            found[name] = file.read(name + end, wanted, (rows, *entry_shape(name, size)))
            rows = len(found["partner"])
    return found
