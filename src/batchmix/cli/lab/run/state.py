"""Where a run is: what the header of its checkpoint says, checked before anything is built."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from batchmix._errors import MixError, mix_error
from batchmix._regular import check_regular
from batchmix.cli._json import parse_json, read_json
from batchmix.cli._output import sync
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.lab.rows import Data

CHECKPOINT = "checkpoint.safetensors"
RESULT = "result.json"  # the last thing that a run writes
MADE = ("model.safetensors", "config.json", "metrics.jsonl", RESULT)  # the result goes last
_FORMAT = 1
_LINE = {"epoch", "step", "lr", "loss", "held_out"}  # of the history, at least
_HEADER = 64 * 2**20  # bytes; 200,000 epochs
_FREE = "workers"  # no figure depends on it
_STATED = ("accelerator", "versions")  # may change, and that is said


@dataclass
class RunState:
    """How far a run is, and what it is a run of."""

    config: dict[str, Any]  # options, resolved
    data: dict[str, Any]  # see `about`
    epoch: int = 0  # done
    step: int = 0  # done of the epoch that goes on
    history: list[dict[str, float]] = field(default_factory=list)  # one entry per epoch done
    best: dict[str, Any] | None = None  # epoch and rank
    scaler: dict[str, Any] = field(default_factory=dict)  # of 16-mixed
    finished: bool = False
    format: int = _FORMAT

    def header(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))


def about(data: Data) -> dict[str, Any]:
    """What tells one data set from another."""
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "fingerprint": data.fingerprint,
        "names": list(data.task.names),
        "rows": {name: len(rows) for name, rows in parts.items() if rows is not None},
    }


def begin(out: Path, config: dict[str, Any], data: Data) -> tuple[RunState, list[str]]:
    """The state to begin with: that of the folder's run, or a new one; and what changed."""
    config = dict(json.loads(json.dumps(config)))  # JSON has no tuples
    path = out / CHECKPOINT
    if not path.exists():
        return RunState(config, about(data)), []
    state = read_state(path)
    differ = [
        f"{_option(name)} was {was!r} and is {config.get(name)!r}"
        for name, was in state.config.items()
        if name not in (*_STATED, _FREE) and config.get(name) != was
    ]
    if differ:
        raise mix_error(
            f"--out {out}",
            f"it holds a run with other options ({'; '.join(differ)}).",
            "The same command continues a run, another one is another run.",
            "Choose another folder with --out, or give the options of that run.",
        )
    now = about(data)
    if now != state.data:
        raise mix_error(
            f"--out {out}",
            f"it holds a run on other data ({_difference(state.data, now)}).",
            "A run goes on with the rows it was begun with.",
            "Choose another folder with --out, or bring the data back.",
        )
    changed = [
        f"{name}: {state.config.get(name)} before, {config[name]} now; figures may differ"
        for name in _STATED
        if state.config.get(name) != config[name]
    ]
    return state, changed


def forget(out: Path) -> list[str]:
    """Remove what a run that has no checkpoint any more has made, and name it.

    It is gone for good before the next run saves anything, else it could pass for that one's. Files
    of these names beside no result of a run are somebody's own.
    """
    if _result(out) is None:
        return []
    found = [name for name in MADE if (out / name).exists()]
    for name in found:
        (out / name).unlink()
    sync(out)
    return found


def result_of(out: Path, state: RunState) -> dict[str, Any] | None:
    """That of the run, which is over; None where it has to be made again."""
    found = _result(out)
    return found if found is not None and _is_of(found, state) else None


def _result(out: Path) -> dict[str, Any] | None:
    """That of any run."""
    try:
        found = read_json(out / RESULT)
    except (OSError, ValueError):
        return None
    return found if _is_result(found) else None


def read_state(path: Path) -> RunState:
    """The header of a checkpoint. Whatever is wrong with it is one MixError."""
    try:
        check_regular(path)
        with safe_open(path, "numpy") as file:
            found = parse_json((file.metadata() or {}).get("batchmix", ""), _HEADER)
        return _checked(found)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise refused(path, str(error)) from None


def refused(path: Path, reason: str) -> MixError:
    """The one error of a checkpoint that cannot be gone on with."""
    return mix_error(
        f"--out {path.parent}",
        f"{path.name} is not a checkpoint of this run ({' '.join(reason.split())[:300]}).",
        "A run is continued from the folder that it was written to.",
        "Remove the file to begin anew, or choose another folder with --out.",
    )


def _checked(found: Any) -> RunState:
    """ValueError says what is wrong."""
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError(f"its header is not of format {_FORMAT}")
    names = RunState.__dataclass_fields__.keys()
    if found.keys() != names:
        raise ValueError(f"its header has {sorted(found)}, not {sorted(names)}")
    state = RunState(**found)
    for name in ("config", "data", "scaler"):
        if not isinstance(found[name], dict):
            raise ValueError(f"'{name}' is {found[name]!r}")
    epochs = state.config.get("epochs")
    for name, value, most in (("epoch", state.epoch, epochs), ("step", state.step, 2**40)):
        if type(value) is not int or type(most) is not int or not 0 <= value <= most:
            raise ValueError(f"'{name}' is {value!r} of {most!r}")
    whole = isinstance(state.history, list) and len(state.history) == state.epoch
    if not whole or not all(_is_line(i, line) for i, line in enumerate(state.history)):
        raise ValueError(f"'history' does not have numbers for each of {state.epoch} epochs")
    if not _numbers(state.scaler):
        raise ValueError("'scaler' does not have numbers")
    if (state.best is not None) != (state.epoch > 0) or not _is_best(state.best, state.epoch):
        raise ValueError(f"'best' is {state.best!r} after {state.epoch} epochs")
    if type(state.finished) is not bool or state.finished != (state.epoch == epochs):
        raise ValueError(f"'finished' is {state.finished!r} after {state.epoch} epochs")
    return state


def _is_result(found: Any) -> bool:
    """Whether it has the figures that are shown of it."""
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, dict):
        return False
    if any(type(rows.get(part)) is not int for part in ("train", "held_out", "test")):
        return False
    parts: list[Any] = [found.get("last"), found.get("best")]
    if not all(isinstance(part, dict) and type(part.get("epoch")) is int for part in parts):
        return False
    return all(
        (name in parts[0]) == (name in parts[1])
        and all(type(part.get(name, 0)) in (int, float) for part in parts)
        for name in METRICS
    )


def _is_of(found: Mapping[str, Any], state: RunState) -> bool:
    """Whether it is the result of this run, rather than of another one in its folder."""
    epochs = (found["best"]["epoch"], found["last"]["epoch"])
    best = -1 if state.best is None else state.best["epoch"]
    same = found.get("config") == state.config
    same = same and found.get("fingerprint") == state.data.get("fingerprint")
    return same and epochs == (best, state.epoch - 1)


def _numbers(found: Any) -> bool:
    return isinstance(found, dict) and all(
        type(value) in (int, float) and math.isfinite(value) for value in found.values()
    )


def _is_line(epoch: int, found: Any) -> bool:
    """Whether it has the figures of the epoch."""
    return _numbers(found) and found.get("epoch") == epoch and found.keys() >= _LINE


def _is_best(best: Any, epochs: int) -> bool:
    if best is None:
        return True
    if not isinstance(best, dict) or best.keys() != {"epoch", "rank"}:
        return False
    epoch, rank = best["epoch"], best["rank"]
    two = isinstance(rank, list) and len(rank) == 2 and all(type(x) in (int, float) for x in rank)
    return two and type(epoch) is int and 0 <= epoch < epochs


def _difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In words: classes, numbers of rows, or else files."""
    if was.get("names") != now["names"]:
        return f"{_few(was.get('names'))} then, {_few(now['names'])} now"
    if was.get("rows") != now["rows"]:
        return f"rows {was.get('rows')} then, {now['rows']} now"
    return "as many rows, but other files, sizes or targets"


def _few(names: Any) -> str:
    names = names if isinstance(names, list) else []
    return f"{len(names)} names ({', '.join(map(repr, names[:3]))}{', ...' * (len(names) > 3)})"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
