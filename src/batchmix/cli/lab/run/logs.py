"""`--log`: the values and the first mixed batch of a run, where people look at their runs."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import os
import sys
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix._errors import mix_error
from batchmix.cli._output import write

# the module that each needs; the package has the same name
NEEDS: dict[str, str | None] = {
    "csv": None, "mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb",
}  # fmt: skip


class Log(Protocol):
    """One place that a run is logged to; `step` counts batches from 0 and never falls."""

    def values(self, step: int, values: Mapping[str, float]) -> None: ...
    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None: ...
    def close(self) -> None: ...


class Logs:
    """Several logs as one. Without any it does nothing: so are the ranks other than 0."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._logs = logs

    def values(self, step: int, values: Mapping[str, float]) -> None:
        for log in self._logs:
            log.values(step, values)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        """A picture, uint8 [H, W, 3]."""
        for log in self._logs:
            log.image(step, name, array)

    def close(self) -> None:
        for log in self._logs:
            log.close()


def check_logs(words: Sequence[str]) -> tuple[str, ...]:
    """Names of logs, from words that may hold several with commas; each is installed."""
    names = dict.fromkeys(name for word in words for name in word.split(",") if name)
    for name in names:
        if name not in NEEDS:
            raise mix_error(
                "--log", f"got {name!r}.", f"It is one of {', '.join(NEEDS)}.",
                "Write for example --log tensorboard,csv.",
            )  # fmt: skip
        module = NEEDS[name]
        if module and importlib.util.find_spec(module) is None:
            raise mix_error(
                f"--log {name}", f"{module} is not installed.", "It writes this log.",
                f"pip install {module}, or use --log csv.",
            )  # fmt: skip
    return tuple(names)


def open_logs(
    names: Sequence[str], out: Path, config: Mapping[str, Any], *, start: int = 0
) -> Logs:
    """The logs of the run in `out`. A run that goes on at step `start` goes on in the same logs."""
    config = json.loads(json.dumps(dict(config), default=str))
    return Logs([_LOGS[name](out, config, start) for name in names])


def written(names: Sequence[str]) -> list[str]:
    """What these logs leave in the folder of the run."""
    kept = {"csv": ["log.csv", "first_batch.png"], "tensorboard": ["tensorboard"]}
    return [file for name in names for file in kept.get(name, [])]


class _Csv:
    """log.csv, a line per step; pictures are PNG files beside it.

    Not Fabric's CSVLogger, which deletes the file of the run that it should continue.
    """

    def __init__(self, out: Path, config: Mapping[str, Any], start: int) -> None:
        self._path = out / "log.csv"
        self._columns, kept = ["step"], list[dict[str, Any]]()
        if start and self._path.is_file():
            with self._path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if _before(start, row)]
        for row in kept:
            self._columns += [key for key in row if key and key not in self._columns]
        self._rewrite(kept)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        new = [key for key in values if key not in self._columns]
        if new:
            with self._path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._rewrite(rows)
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow({"step": step} | dict(values))

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(array).save(content, "png")
        write(self._path.with_name(f"{name.rpartition('/')[2]}.png"), content.getvalue())

    def close(self) -> None:
        pass

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        content = io.StringIO(newline="")
        writer = csv.DictWriter(content, self._columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write(self._path, content.getvalue().encode())


def _before(start: int, row: Mapping[str, str | None]) -> bool:
    """Whether a line is whole, and of a step that is not made again."""
    step = row.get("step") or ""
    return step.isdecimal() and int(step) < start and None not in row.values()


class _TensorBoard:
    """Event files in `tensorboard`, by Fabric's logger."""

    def __init__(self, out: Path, config: Mapping[str, Any], start: int) -> None:
        # TensorBoard asks for this module, and takes its own stub of TensorFlow where it is there
        if "tensorflow" not in sys.modules:
            sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
        from batchmix.cli.lab.engine.fabric import TensorBoardLogger

        # what was written beyond the checkpoint is hidden, so that no step stands there twice
        hidden = {"purge_step": start} if start else {}
        self._log = TensorBoardLogger(out, name="", version="tensorboard", **hidden)
        if not start:
            text = json.dumps(config, indent=2).replace("\n", "\n    ")
            self._log.experiment.add_text("config", f"    {text}", 0)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._log.log_metrics(dict(values), step)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        self._log.experiment.add_image(name, array, step, dataformats="HWC")

    def close(self) -> None:
        self._log.finalize("success")


class _Wandb:
    """A run of Weights & Biases; where to is said by its own variables, as WANDB_PROJECT."""

    def __init__(self, out: Path, config: Mapping[str, Any], start: int) -> None:
        self._wandb = importlib.import_module("wandb")
        place = out / "wandb-run.txt"
        name = place.read_text() if start and place.is_file() else uuid.uuid4().hex[:8]
        out.mkdir(parents=True, exist_ok=True)
        try:
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", "batchmix"), name=out.name, id=name,
                dir=str(out), config=config, resume="allow",
            )  # fmt: skip
        except Exception as error:  # no account, no network: kinds of its own
            raise _refused("wandb", error, "wandb login, or WANDB_MODE=offline") from None
        write(place, name.encode())

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        self._run.log({name: self._wandb.Image(array)}, step=step)

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    """A run of MLflow; where to is said by its own variables, as MLFLOW_TRACKING_URI."""

    def __init__(self, out: Path, config: Mapping[str, Any], start: int) -> None:
        self._mlflow = importlib.import_module("mlflow")
        place = out / "mlflow-run.txt"
        known = place.read_text() if start and place.is_file() else None
        try:
            run = self._mlflow.start_run(run_id=known, run_name=None if known else out.name)
            if known is None:
                self._mlflow.log_params({key: str(value) for key, value in config.items()})
        except Exception as error:  # no server: kinds of its own
            raise _refused("mlflow", error, "set MLFLOW_TRACKING_URI") from None
        write(place, run.info.run_id.encode())

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def image(self, step: int, name: str, array: NDArray[np.uint8]) -> None:
        self._mlflow.log_image(array, f"{name}.png")

    def close(self) -> None:
        self._mlflow.end_run()


def _refused(name: str, error: Exception, fix: str) -> bm.MixError:
    said = " ".join(str(error).split()).rstrip(".")
    return mix_error(f"--log {name}", f"{said}.", "It could not be started.", f"Try: {fix}.")


_LOGS: Mapping[str, Callable[[Path, Mapping[str, Any], int], Log]] = {
    "csv": _Csv,
    "mlflow": _MLflow,
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
}
