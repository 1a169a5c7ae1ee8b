"""A call that an audit saved, read as what anybody may have written."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batchmix._audit._checks import CHECKS
from batchmix._audit._kinds import BatchKind, kinds
from batchmix._audit._options import check_options
from batchmix._audit._report import FORMAT
from batchmix._errors import mix_error
from batchmix._regular import check_regular

_MOST_BYTES = 2**20  # of what is told; that of an audit has about 1,000
_MOST_CELLS = 2**26  # of the images of all calls; by default 2**18
_MOST_CLASSES = 2**16
_NUMBERS = ("batch", "classes", "calls")


@dataclass(frozen=True)
class Case:
    """Which check looks at which kind of batch, how the code is called, and what else was noted."""

    check: str
    kind: BatchKind
    options: Mapping[str, Any]
    notes: Mapping[str, Any]


def read_case(path: str | Path) -> Case:
    """What `Audit.save` wrote, without the arrays. Whatever is wrong with it is one MixError."""
    try:
        return _checked(_about(path))
    except FileNotFoundError:
        raise
    except Exception as problem:  # zip, header, key, JSON and option errors mean the same thing
        said = " ".join(str(problem).split())[:300].rstrip(".") or type(problem).__name__
        raise mix_error(
            "audit()", f"cannot read {str(path)!r} as a saved call ({said}).",
            f"It is an npz file of format {FORMAT}, without pickled objects.",
            "Pass a file that Audit.save, or batchmix audit --out, wrote.",
        ) from None  # fmt: skip


def _about(path: str | Path) -> Any:
    """The JSON inside, a text without axes; no more bytes are unpacked than it may have."""
    check_regular(path)
    with zipfile.ZipFile(path) as archive, archive.open("about.npy") as member:
        content = member.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"'about' has more than {_MOST_BYTES} bytes")
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("'about' is no array of NumPy's first format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    text = file.read()
    if shape or dtype.kind != "U" or dtype.itemsize != len(text):
        raise ValueError(f"'about' is {dtype.name} {shape}, not one text")
    return json.loads(str(np.frombuffer(text, dtype)[0]))


def _checked(found: Any) -> Case:
    """ValueError, TypeError, or KeyError say what is wrong."""
    about = _mapping("about", found)
    if about.get("format") != FORMAT:
        raise ValueError(f"format {about.get('format')!r}")
    options, notes = (_mapping(name, about.get(name)) for name in ("options", "notes"))
    check = about.get("check")
    if not isinstance(check, str) or check not in CHECKS:
        raise ValueError(f"there is no check {check!r}")
    _check_values(options)
    check_options(options, ())
    known = kinds(options["layout"], options["size"], options["batch"], options["classes"])
    record = _mapping("kind", about.get("kind"))
    kind = known.get(str(record.get("name")))
    if kind is None or kind.record() != record:
        raise ValueError(f"there is no such kind of batch as {record!r}")
    cells = options["calls"] * math.prod(kind.shape(kind.batch))
    if cells > _MOST_CELLS or options["classes"] > _MOST_CLASSES:
        raise ValueError(f"{cells} cells, {options['classes']} classes: that is too much")
    return Case(check, kind, options, notes)


def _check_values(options: Mapping[str, Any]) -> None:
    """The types of the options; what values they may have is checked as for any audit."""
    size, keys = _mapping("size", options.get("size")), _mapping("keys", options.get("keys"))
    whole = [options.get(name) for name in _NUMBERS] + list(size.values())
    if not all(type(n) is int and 0 < n <= _MOST_CELLS for n in whole):
        raise ValueError(f"{', '.join(_NUMBERS)} or sizes are no whole numbers in range")
    share = options.get("max_unmixed")
    if type(share) not in (int, float) or not 0 <= share <= 1:  # type: ignore[operator]
        raise ValueError(f"'max_unmixed' is {share!r}")
    words = [options.get(name) for name in ("call", "labels", "weight", "layout", "box_format")]
    if not all(isinstance(word, str) for word in (*words, *keys.values())):
        raise ValueError("call, labels, weight, layout, box_format or keys are no words")


def _mapping(name: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} is missing, or no object")
    return found
