"""Trials with a log each, wherever they run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from typing import Any

from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Data
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.child import ENGINE


@dataclass(frozen=True)
class Logged:
    """Runs a trial and logs it in a folder of its own, `ARM-noise-seed`."""

    names: tuple[str, ...]  # of logs
    out: Path

    def __call__(self, trial: Trial, data: Data, training: Training, **options: Any) -> Outcome:
        from batchmix.cli.lab.run.logs import open_logs  # not before a process is there for it

        folder = self.out / f"{trial.arm[:150]}-{trial.noise:g}-{trial.seed}"
        rmtree(folder, ignore_errors=True)  # of a process that was killed: the trial begins anew
        config = asdict(replace(training, seed=trial.seed)) | {
            "data": data.name,
            "arm": trial.arm,
            "label_noise": trial.noise,
            "limit_train": options.get("limit_train"),
        }
        logs = open_logs(self.names, folder, config)
        try:
            outcome: Outcome = import_module(ENGINE).run_trial(
                trial, data, training, logs=logs, **options
            )
            return outcome
        finally:
            logs.close()
