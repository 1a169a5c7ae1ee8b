"""Which runs there are to do, and which are done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchmix.extend import mix_error
from cifar.mixing import ARMS, OURS, RIVAL_ARMS, RIVALS
from cifar.recipes import GUESSED, RECIPES

_MIXED = ["none", "mixup:1", "cutmix:1", "switch:1,1"]
SEEDS = {"resnet18": 5, "fast": 10, "noise": 10, "equal": 10}
_LONG_NOISE = 3  # seeds of the noise runs of ResNet-18


@dataclass(frozen=True)
class Run:
    """One training; `library` is what mixes."""

    part: str
    recipe: str
    arm: str
    seed: int
    noise: float = 0.0  # share of wrong labels
    library: str = OURS

    def __str__(self) -> str:
        noise = f", {100 * self.noise:g} % wrong labels" if self.noise else ""
        by = f" by {self.library}" if self.library != OURS else ""
        return f"{self.part}: {self.recipe}, {self.arm}{by}{noise}, seed {self.seed}"


def runs_of(part: str, seeds: int | None = None) -> list[Run]:
    """Seed by seed, so that what is done by any time can be compared."""
    return [run for seed in range(seeds or SEEDS[part]) for run in _of_seed(part, seed)]


def _of_seed(part: str, seed: int) -> Iterator[Run]:
    if part == "resnet18":
        yield from (Run(part, "resnet18", arm, seed) for arm in _MIXED)
    elif part == "fast":
        for recipe in ("fast-x1", "fast-x4"):
            yield from (Run(part, recipe, arm, seed) for arm in ARMS if arm != "mixup:8")
    elif part == "noise":
        arms = ["none", "smooth:0.2", "mixup:1", "mixup:8", "cutmix:1", "switch:1,1"]
        yield from (Run(part, "fast-x4", arm, seed, 0.4) for arm in arms)
        if seed < _LONG_NOISE:
            yield from (Run(part, "resnet18-60", arm, seed, 0.4) for arm in _MIXED)
    else:
        for ours, theirs in RIVALS.items():
            for arm in RIVAL_ARMS[theirs]:
                yield from (Run(part, "fast-x1", arm, seed, library=one) for one in (ours, theirs))


def seconds_of(run: Run, lines: Sequence[Mapping[str, Any]]) -> tuple[float, bool]:
    """What a run takes, and whether that is a guess: by runs of the same network, else guessed."""
    net = RECIPES[run.recipe].net
    timed = [
        line["seconds"] / len(line["test"])
        for line in lines
        if RECIPES[line["run"]["recipe"]].net == net and line["test"] and not line["overrides"]
    ]
    each = sum(timed) / len(timed) if timed else GUESSED[net]
    return each * RECIPES[run.recipe].epochs, not timed


class Store:
    """A folder: one line for each run that is over, and the state of those that are not.

    A file is written under another name first and then takes the place of the old one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = self._read()

    def done(self, run: Run, overrides: Sequence[str], digest: str) -> bool:
        """Whether it is over, on these data and with these overrides."""
        key = (asdict(run), list(overrides), digest)
        return any((one["run"], one["overrides"], one["data"]) == key for one in self.lines)

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep a run that is over."""
        lines = [*self.lines, dict(line)]
        text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in lines)
        write(self.folder / "runs.jsonl", text.encode())
        self.lines = lines

    def checkpoint(self, run: Run) -> Path:
        """Where the state of a run is kept while it is not over."""
        words = (run.part, run.recipe, run.arm, run.library, f"{run.noise:g}", str(run.seed))
        name = "-".join(words).replace(":", "").replace(",", "-").replace("=", "")
        return self.folder / f"{name}.pt"

    def _read(self) -> list[dict[str, Any]]:
        path = self.folder / "runs.jsonl"
        if not path.exists():
            return []
        lines = []
        for number, text in enumerate(path.read_text().splitlines(), 1):
            try:
                line = json.loads(text)
                RECIPES[Run(**line["run"]).recipe]
                _ = line["overrides"], line["data"], line["seconds"], line["test"]
            except (ValueError, KeyError, TypeError) as problem:
                raise mix_error(
                    "runs.jsonl", f"line {number} is not that of a run.",
                    "Each line is one run, written by this script.", "Remove the line.",
                ) from problem  # fmt: skip
            lines.append(line)
        return lines


def write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
