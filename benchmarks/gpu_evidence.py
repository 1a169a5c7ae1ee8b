"""The evidence of docs/evidence.md: CIFAR-10 on one GPU, a part at a time.

    python benchmarks/gpu_evidence.py resnet18 --data cifar10-jpeg.tar.gz --out FOLDER --minutes 9
    python benchmarks/gpu_evidence.py fast|noise|equal|all --out FOLDER
    python benchmarks/gpu_evidence.py status --out FOLDER
    python benchmarks/gpu_evidence.py report --out FOLDER     (writes benchmarks/gpu-evidence.json)

Each call works off what is not done yet, for so many minutes, and the same command goes on from
there: a run that was left goes on after its last epoch that was kept. What --limit, --epochs or
--device cpu made is marked, and never part of the report.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from batchmix import MixError
from batchmix.extend import mix_error
from cifar import data as cifar_data
from cifar import summary
from cifar.data import Data
from cifar.engine import Engine
from cifar.machine import machine
from cifar.mixing import absent
from cifar.recipes import RECIPES, Recipe
from cifar.runs import SEEDS, Run, Store, runs_of, seconds_of, write
from cifar.training import Course, Progress, checkpoint

_BEGAN = time.monotonic()
KEPT = Path(__file__).parent / "gpu-evidence.json"
ALL = ["equal", "fast", "noise", "resnet18"]  # the order of `all`, the shortest first


def main(argv: Sequence[str] | None = None) -> int:
    """Work, tell or report; the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.device == "cuda" and args.part in (*SEEDS, "all") and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu tries it out, outside of the report")
    try:
        store = Store(args.out)
        if args.part == "status":
            _status(store, args)
        elif args.part == "report":
            found = summary.report(store.lines)
            write(args.kept, (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
            print(args.kept)
        else:
            Work(store, args).go(ALL if args.part == "all" else [args.part])
    except (MixError, OSError, tarfile.TarError) as problem:
        print(f"gpu_evidence: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=[*SEEDS, "all", "status", "report"])
    parser.add_argument("--data", type=Path, help="CIFAR-10 as JPEGs: a folder, or an archive")
    parser.add_argument("--out", type=Path, default=Path("batchmix-gpu-evidence"))
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--seeds", type=int, help="of each arm; left out, as the page has them")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--no-graph", action="store_true", help="without a CUDA graph of the step")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--limit", type=int, help="rows of each part of the data")
    parser.add_argument("--epochs", type=int, help="of each run")
    parser.add_argument("--only", help="runs with this text in their names")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where `report` writes")
    return parser


class Work:
    """One call: the data, the engine of the last recipe, and what differs from the page's runs."""

    def __init__(self, store: Store, args: argparse.Namespace) -> None:
        self.store, self.args = store, args
        self.deadline = _BEGAN + 60 * args.minutes
        self.device = torch.device(args.device)
        torch.backends.cudnn.benchmark = True
        data = cifar_data.load(args.data, args.out)
        self.overrides = overrides(args, data)
        if args.limit:
            train, test = (cifar_data.limited(rows, args.limit) for rows in data[:2])
            data = data._replace(train=train, test=test)
        self.data: Data = data
        self.where = machine(self.device)
        self.engines: dict[str, Engine] = {}

    def go(self, parts: Sequence[str]) -> None:
        """Runs in their order, until all are over or the time is."""
        for run in (run for part in parts for run in runs_of(part, self.args.seeds)):
            if self.store.done(run, self.overrides, self.data.digest) or not _asked(run, self.args):
                continue
            if why := absent(run.library):
                print(f"{run}: not run, {why}", file=sys.stderr)
                continue
            if not self._done(run):
                print(f"{run}: to be continued by the same command", file=sys.stderr)
                return
            if time.monotonic() > self.deadline:
                return

    def _done(self, run: Run) -> bool:
        """Train a run, from its beginning or from where it was left; whether it is over."""
        engine, path = self._engine(run), self.store.checkpoint(run)
        address = {"run": asdict(run), "overrides": self.overrides, "data": self.data.digest}
        kept = _kept(path, address)
        course = Course(run, self.data, engine)
        progress = Progress(**kept["progress"]) if kept else Progress()
        engine.load(kept or engine.initial(run.seed, course.rows))

        def save(progress: Progress) -> None:
            content = io.BytesIO()
            torch.save({**address, **checkpoint(progress, engine)}, content)
            write(path, content.getvalue())

        if course.go(progress, save, self.deadline) is None:
            return False
        self.store.add(address | self._line(progress, course))
        path.unlink(missing_ok=True)
        accuracy = f"{100 * progress.test[-1]:.2f} %" if progress.test else "no test"
        told = progress.problem or accuracy
        print(f"{run}: {told}, {progress.seconds:.0f} s", file=sys.stderr)
        return True

    def _line(self, progress: Progress, course: Course) -> dict[str, Any]:
        """What is kept of a run."""
        engine, found = course.engine, asdict(progress)
        del found["epoch"]
        settings = asdict(engine.recipe) | {
            "dtype": str(engine.dtype).removeprefix("torch."),
            "compiled": self.args.compile,
            "graph": engine.graph is not None,
        }
        return found | {
            "images_per_s": 1000 * engine.recipe.batch / statistics.median(progress.steps_ms),
            "mix_ms": course.mix_ms(),
            "weights": engine.digest(),
            "settings": settings,
            **self.where,
        }

    def _engine(self, run: Run) -> Engine:
        recipe = self._recipe(run)
        if run.recipe not in self.engines:
            self.engines.clear()  # its memory is another's
            shape = (3, *self.data.train.x.shape[1:3])
            self.engines[run.recipe] = Engine(
                recipe,
                shape,
                self.data.classes,
                self.device,
                compiled=self.args.compile,
                graphed=not self.args.no_graph,
            )
        return self.engines[run.recipe]

    def _recipe(self, run: Run) -> Recipe:
        recipe = RECIPES[run.recipe]
        rows = len(self.data.train.y) * 9 // 10 // 2 * 2  # some may be held out; timm wants pairs
        recipe = replace(recipe, batch=min(recipe.batch, rows))
        return replace(recipe, epochs=self.args.epochs) if self.args.epochs else recipe


def overrides(args: argparse.Namespace, data: Data) -> list[str]:
    """How these runs differ from those that the page is about."""
    found = [f"{name}={value}" for name in ("limit", "epochs") if (value := getattr(args, name))]
    if args.device != "cuda":
        found.append(f"device={args.device}")
    if not data.whole:
        found.append(f"data={len(data.train.y)}+{len(data.test.y)}")
    return found


def _asked(run: Run, args: argparse.Namespace) -> bool:
    return args.only is None or args.only in str(run)


def _kept(path: Path, address: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in which a run was left, or None."""
    if not path.exists():
        return None
    try:
        kept: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as problem:  # whatever the file holds
        raise mix_error(
            path.name, f"it cannot be read: {type(problem).__name__}.",
            "It is the state of a run that was left.", "Remove it; the run begins anew.",
        ) from problem  # fmt: skip
    if any(kept[name] != value for name, value in address.items()):
        print(f"{path.name} is of other data or options; the run begins anew", file=sys.stderr)
        return None
    return kept


def _status(store: Store, args: argparse.Namespace) -> None:
    """What is done, and about how long the rest takes."""
    lines = [line for line in store.lines if not line["overrides"]]
    there = [line["run"] for line in lines]
    for part in ALL:
        runs = [run for run in runs_of(part, args.seeds) if _asked(run, args)]
        left = [run for run in runs if asdict(run) not in there]
        able = [run for run in left if not absent(run.library)]
        guessed = any(seconds_of(run, lines)[1] for run in able)
        minutes = sum(seconds_of(run, lines)[0] for run in able) / 60
        told = f"{part}: {len(runs) - len(left)} of {len(runs)} runs done"
        told += f", about {minutes:.0f} minutes to go{' (a guess)' if guessed else ''}" * bool(able)
        for why in sorted({absent(run.library) or "" for run in left} - {""}):
            told += f"; {why}: not run"
        print(told)
    for path in sorted(store.folder.glob("*.pt")):
        print(f"begun: {path.name}")
    if marked := len(store.lines) - len(lines):
        print(f"{marked} runs with other settings, not for the report")


if __name__ == "__main__":
    sys.exit(main())
