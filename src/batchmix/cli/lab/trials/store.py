"""Outcomes of trials in a file, a line each, that survives whatever ends the run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import batchmix
from batchmix._errors import mix_error
from batchmix._regular import check_regular
from batchmix.cli._json import parse_json
from batchmix.cli._output import plain, sync
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data, Task
from batchmix.cli.lab.training import Training

FORMAT = 1
LONGEST = 4 * 2**20  # bytes of a line; a trial of 21,000 classes and 1,000 epochs has 1 MiB
_BEGIN = b'{"format": '  # of the first line
# what does not change a result: a trial's own seed counts, and results do not depend on the rest
_FREE = {"seed", "workers", "accelerator"}


def configuration(data: Data, training: Training, limit_train: int | None) -> dict[str, Any]:
    """What all trials of a store have in common; with it a `Trial` decides its outcome."""
    config = {
        "format": FORMAT,
        "data": data.name,
        "fingerprint": data.fingerprint,
        "limit_train": limit_train,
        "training": {k: v for k, v in asdict(training).items() if k not in _FREE},
        "versions": versions(),
    }
    # rows that are left out change every split; they are known once rows were checked
    return config | {"skipped": [name for name, _ in data.skipped]} if data.skipped else config


def open_store(out: Path, data: Data, training: Training, limit_train: int | None) -> Store:
    """What there is of these trials; whatever is of others is refused."""
    return Store(out, configuration(data, training, limit_train), data.task)


def versions() -> dict[str, str]:
    """Of what made the outcomes; nothing is imported for it."""
    found = {"python": python_version(), "batchmix": batchmix.__version__}
    for name in ("numpy", "torch", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Store:
    """The outcomes in OUT/trials.jsonl, by trial; the first line holds the configuration.

    Whoever opens one holds the folder's lock. A last line that was half written is cut off.
    """

    def __init__(self, out: Path, config: Mapping[str, Any], task: Task | None = None) -> None:
        self.path = out / "trials.jsonl"
        self.outcomes: dict[Trial, Outcome] = {}
        self.other: dict[str, tuple[str, str]] = {}  # versions then and now, where they differ
        self._first = b""  # the line of the configuration, where it is yet to be written
        lines = self._lines()
        if len(lines) < 2:  # a run that ended before its first trial binds nobody
            self._first = self._line(config)
            return
        self._check(lines[0], config)
        for number, found in enumerate(lines[1:], 2):
            try:
                self._take(found, config, task)
            except ValueError as error:
                raise self._foreign(number, f"cannot be read ({error})") from None

    def _take(self, line: dict[str, Any], config: Mapping[str, Any], task: Task | None) -> None:
        """A line of the file; ValueError where it is no trial of this comparison."""
        found = {name: value for name, value in line.items() if name != "format"}
        outcome = Outcome.of_json(found, task)
        trained, asked = len(outcome.history["loss"]), config.get("training", {}).get("epochs")
        if asked not in (None, trained):
            raise ValueError(f"{trained} epochs, not {asked}")
        before = self.outcomes.get(outcome.trial, outcome)
        if replace(outcome, seconds=before.seconds, notes=before.notes) != before:
            raise ValueError(f"{outcome.trial} is there before, with another result")
        self.outcomes[outcome.trial] = outcome

    def add(self, outcome: Outcome) -> None:
        """Keep it for good: it is on the disk when this returns."""
        line = self._line({"format": FORMAT} | outcome.as_json())
        if self._first:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")
            self._append(self._first)
            sync(self.path.parent)
            self._first = b""
        self._append(line)
        self.outcomes[outcome.trial] = outcome

    def _line(self, what: Mapping[str, Any]) -> bytes:
        """As it is kept; what could not be read again is not written."""
        line = (json.dumps(plain(what), allow_nan=False) + "\n").encode()
        if len(line) > LONGEST:
            raise mix_error(
                f"--out {self.path.parent}",
                f"a line of {self.path} would have {len(line) / 2**20:.1f} MiB.",
                f"It has {LONGEST / 2**20:g} MiB at most, names of files that are left out too.",
                "Mend these files, or take them out of the data.",
            )
        return line

    def _append(self, line: bytes) -> None:
        with self.path.open("ab") as file:
            end = file.tell()
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except BaseException as error:
                os.truncate(self.path, end)
                if isinstance(error, OSError):
                    raise self._full(error) from None
                raise

    def _full(self, error: OSError) -> Exception:
        return mix_error(
            f"--out {self.path.parent}",
            f"{self.path} cannot be written to ({error.strerror}).",
            f"{len(self.outcomes)} trials are kept there.",
            "Make room; the same command goes on.",
        )

    def _lines(self) -> list[dict[str, Any]]:
        """What the lines hold; a rest without an end, or a last one that is no JSON, is cut off."""
        found, whole = list[dict[str, Any]](), 0
        try:
            check_regular(self.path)
            file = self.path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            while line := file.readline(LONGEST + 1):
                number, ended = len(found) + 1, line.endswith(b"\n")
                if len(line) > LONGEST:
                    raise self._foreign(number, f"is longer than {LONGEST / 2**20:g} MiB")
                inside = _object(line) if ended else None
                if inside is None:
                    ours = number > 1 or (not ended and line.startswith(_BEGIN[: len(line)]))
                    after = file.readline(LONGEST + 1)
                    if not ours or after.endswith(b"\n") or len(after) > LONGEST:
                        raise self._foreign(number)
                    break
                if inside.get("format") != FORMAT:
                    raise self._foreign(number)
                found.append(inside)
                whole += len(line)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)
        return found

    def _foreign(self, number: int, why: str = "cannot be read") -> Exception:
        return mix_error(
            f"--out {self.path.parent}",
            f"line {number} of {self.path} {why}.",
            f"It holds one JSON object a line, in format {FORMAT}.",
            "Choose another folder with --out, or remove the file.",
        )

    def _check(self, was: dict[str, Any], config: Mapping[str, Any]) -> None:
        """The store was made of the same data by the same training."""
        then, now = _flat(was), _flat(json.loads(json.dumps(config)))
        names = [name for name in now if not name.startswith("versions.") and name != "data"]
        differ = [
            f"{_option(name)} was {then.get(name)!r} and is {now[name]!r}"
            for name in names
            if then.get(name) != now[name]
        ]
        if then.get("fingerprint") != now["fingerprint"]:
            differ = [
                f"other data: {then.get('data')!r} with other files or targets than "
                f"{now['data']!r} has now"
            ]
        if differ:
            raise mix_error(
                f"--out {self.path.parent}",
                f"it holds trials of another comparison ({'; '.join(differ)}).",
                "Trials that are compared share data and training.",
                "Choose another folder with --out, or give the options of that comparison.",
            )
        self.other = {
            name.removeprefix("versions."): (str(then.get(name)), str(value))
            for name, value in now.items()
            if name.startswith("versions.") and then.get(name) != value
        }


def _object(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None where it is no JSON object."""
    try:
        found = parse_json(line, LONGEST)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested names joined by a dot."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        inner = _flat(value) if isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return flat


def _option(name: str) -> str:
    return "--" + name.removeprefix("training.").replace("_", "-")
