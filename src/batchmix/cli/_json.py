"""JSON of files that anybody may have written. Whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from batchmix._regular import check_regular

MOST = 16 * 2**20  # bytes; the names of ImageNet-21k have less than 2. Some 30 times as much in use


def read_json(path: Path, most: int = MOST) -> Any:
    """The content of a file; no more than `most` bytes are read."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    return parse_json(content, most)


def parse_json(content: bytes | str, most: int = MOST) -> Any:
    """As `json.loads`; refuses what is large, deep, not finite, or says a name twice."""
    if len(content) > most:
        raise ValueError(f"it is larger than {most / 2**20:g} MiB")
    try:
        return json.loads(
            content,
            object_pairs_hook=_once,
            parse_constant=_not_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has {name[:80]!r} twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_finite(text[:80])


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"it has {name}, which is no finite number")
