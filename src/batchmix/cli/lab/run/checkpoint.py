"""A run in one file: tensors as safetensors, everything else as JSON in its header.

One file, so that it is replaced by a single rename: after a crash the last checkpoint is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from batchmix._errors import mix_error
from batchmix.cli._output import sync, write
from batchmix.cli.lab.engine.evaluation import Best
from batchmix.cli.lab.engine.loop import Run
from batchmix.cli.lab.run.state import RunState, read_state, refused


def save_run(path: Path, run: Run, totals: Tensor, best: Best | None, state: RunState) -> None:
    """Write the run; the checkpoint before is there until this one has been read back."""
    tensors = dict(_tensors(run)) | {"loss": totals}
    if best is not None:
        tensors |= {f"best.{name}": value for name, value in best.weights.items()}
        state.best = {"epoch": best.epoch, "rank": list(best.rank)}
    state.scaler = run.fabric.strategy.precision.state_dict()
    # own memory each, as two names may share one
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    content = save(plain, metadata={"batchmix": state.header()})
    new = path.with_name(f"{path.stem}-new{path.suffix}")
    try:
        write(new, content)
        if new.read_bytes() != content:
            raise OSError(None, "what was read back differs", str(new))
        new.replace(path)
        sync(path.parent)
    except OSError as error:
        kept = f"{path} is whole" if path.exists() else "there is no checkpoint yet"
        raise mix_error(
            f"--out {path.parent}",
            f"the checkpoint cannot be written ({error.strerror or error}).",
            f"{kept[0].upper()}{kept[1:]}.",
            "Make room; the same command goes on.",
        ) from None
    finally:
        with suppress(OSError):
            new.unlink()


def load_run(path: Path, run: Run) -> tuple[RunState, Best | None, Tensor]:
    """Put a checkpoint into a run that was set up alike; its state, and the sums of losses.

    Every tensor must have a name, dtype and shape that the run has, and none may be missing.
    """
    state = read_state(path)
    expected = dict(_expected(run, state))
    try:
        with safe_open(path, "pt") as file:
            for name in sorted(expected.keys() ^ set(file.keys())):
                what = "lacks" if name in expected else "has a foreign tensor"
                raise refused(path, f"it {what} {name[:200]!r}")
            found = {name: file.get_tensor(name) for name in expected}
    except (
        OSError,
        SafetensorError,
        AttributeError,
    ) as error:  # the last for dtypes of newer torch
        raise refused(path, str(error)) from None
    for name, own in expected.items():
        theirs = found[name]
        if (own.dtype, own.shape) != (theirs.dtype, theirs.shape):
            raise refused(
                path,
                f"{name!r} is {theirs.dtype} {tuple(theirs.shape)}, the model's is {own.dtype} "
                f"{tuple(own.shape)}",
            )
    _load(run, found)
    if state.scaler:
        try:
            run.fabric.strategy.precision.load_state_dict(state.scaler)
        except (KeyError, RuntimeError, TypeError) as error:
            raise refused(path, f"'scaler' lacks {error}") from None
    best = None
    if state.best is not None:
        rank = (float(state.best["rank"][0]), float(state.best["rank"][1]))
        best = Best(state.best["epoch"], rank, _under("best.", found))
    return state, best, found["loss"]


def _tensors(run: Run) -> Iterator[tuple[str, Tensor]]:
    """All that a step changes, by name."""
    for name, value in run.module.state_dict().items():
        yield f"model.{name}", value
    for i, slots in run.optimizer.optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                yield f"optimizer.{i}.{slot}", value
    if run.average is not None:
        for name, value in run.average.state_dict().items():
            yield f"average.{name}", value


def _expected(run: Run, state: RunState) -> Iterator[tuple[str, Tensor]]:
    """Tensors like those that a run in this state writes."""
    yield "loss", torch.zeros(run.fabric.world_size)
    for name, value in run.module.state_dict().items():
        yield f"model.{name}", value
    if run.average is not None:
        for name, value in run.average.state_dict().items():
            yield f"average.{name}", value
    if state.best is not None:
        for name, value in run.measured.state_dict().items():
            yield f"best.{name}", value
    if not (state.epoch or state.step):
        return
    i = 0
    for group in run.optimizer.optimizer.param_groups:
        waits = run.training.finetune and not state.epoch and group["times"] != 1
        for weight in group["params"]:
            if not waits:
                yield from _slots(run.training.optimizer, i, weight)
            i += 1


def _slots(optimizer: str, i: int, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What the optimizer keeps of a weight."""
    if optimizer == "sgd":
        yield f"optimizer.{i}.momentum_buffer", weight
        return
    yield f"optimizer.{i}.step", torch.zeros(())
    yield f"optimizer.{i}.exp_avg", weight
    yield f"optimizer.{i}.exp_avg_sq", weight


def _load(run: Run, found: dict[str, Tensor]) -> None:
    run.module.load_state_dict(_under("model.", found))
    if run.average is not None:
        run.average.load_state_dict(_under("average.", found))
    slots = dict[int, dict[str, Any]]()
    for name, value in _under("optimizer.", found).items():
        i, _, slot = name.partition(".")
        slots.setdefault(int(i), {})[slot] = value
    groups = run.optimizer.optimizer.state_dict()["param_groups"]
    run.optimizer.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _under(start: str, found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
