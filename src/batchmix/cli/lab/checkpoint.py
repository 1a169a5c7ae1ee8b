"""A run in one file: tensors as safetensors, everything else as JSON in its header.

One file, so that it is replaced by a single rename: after a crash the last checkpoint is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from batchmix._errors import mix_error
from batchmix.cli._output import write
from batchmix.cli.lab.loop import Run


def save_run(path: Path, run: Run, state: Mapping[str, Any]) -> None:
    """Write weights, optimizer, mixer and `state`, which is anything that JSON can hold."""
    tensors = {f"model.{name}": value for name, value in run.model.module.state_dict().items()}
    for i, slots in run.optimizer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in slots.items()}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    header = json.dumps(dict(state) | {"mixer": run.mixer.state_dict()})
    write(path, save(tensors, metadata={"batchmix": header}))


def begin(path: Path, config: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """The state of a new run, or of the checkpoint that was made with the same options."""
    if not resume and path.exists():
        raise mix_error(
            "--out",
            f"{path.parent} already holds a run.",
            "A run is not overwritten.",
            "Continue it with --resume, or choose another folder.",
        )
    if not resume:
        return {"config": dict(config), "epochs_done": 0, "history": []}
    state = _read(path)
    for name, value in config.items():
        was = state["config"].get(name)
        if json.loads(json.dumps(value)) != was:  # JSON has no tuples
            option = "--" + name.replace("_", "-")
            raise mix_error(
                "--resume",
                f"{option} is {value!r}, the checkpoint was made with {was!r}.",
                "Only the same run can be continued.",
                "Pass the same options, or choose another --out.",
            )
    return state


def _read(path: Path) -> dict[str, Any]:
    """The state, without the tensors."""
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["batchmix"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        raise mix_error(
            "--resume",
            f"{path} is not there or not a checkpoint.",
            "A run is continued from the folder it was written to.",
            "Give that folder with --out, or leave --resume out.",
        ) from None
    return state


def load_run(path: Path, run: Run) -> None:
    """Put the tensors of a checkpoint into a run that was set up with the same options."""
    tensors = load_file(path)
    weights, slots = {}, dict[int, dict[str, Any]]()
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "model":
            weights[rest] = value
        else:
            i, _, slot = rest.partition(".")
            slots.setdefault(int(i), {})[slot] = value
    run.model.module.load_state_dict(weights)
    groups = run.optimizer.optimizer.state_dict()["param_groups"]
    run.optimizer.optimizer.load_state_dict({"state": slots, "param_groups": groups})
