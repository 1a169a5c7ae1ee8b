"""What a saved model says of rows, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from batchmix.cli.lab.engine.fabric import open_fabric
from batchmix.cli.lab.loading.feed import Feed, prepare
from batchmix.cli.lab.loading.workers import ended
from batchmix.cli.lab.rows import Rows
from batchmix.cli.lab.saved.config import Saved
from batchmix.cli.lab.saved.export import load_model

_FEW = 64  # rows that are decoded sooner than workers start


class Said(NamedTuple):
    """Of one batch: what the model gives, and what it means."""

    logits: NDArray[np.float32]  # [B, K]; divided by the temperature, where there is one
    values: NDArray[np.float32]  # [B, K] probabilities, or numbers


def predictions(
    folder: Path, rows: Rows, *, batch_size: int, accelerator: str | None, workers: int
) -> Iterator[Said]:
    """The batches of all rows in their order. Memory is that of the model and a few batches."""
    fabric = open_fabric(accelerator=accelerator or "auto", devices=1)
    model, saved = load_model(folder)
    model = fabric.to_device(model)
    training = replace(
        saved.training, batch_size=batch_size, workers=workers if len(rows) > _FEW else 0,
        accelerator=fabric.device.type, mix_on="device",
    )  # fmt: skip
    with ended():
        for batch in Feed(rows, saved.form, training, train=False).epoch(0):
            x = prepare(fabric.to_device(batch.x), list(saved.mean), list(saved.std), saved.form)
            with torch.inference_mode():
                found: Any = model(x).float().cpu()
            if saved.temperature:
                found = found / saved.temperature
            yield Said(found.numpy(), _meant(found, saved).numpy())


def _meant(logits: Any, saved: Saved) -> Any:
    if saved.task.kind == "classes":
        return logits.softmax(1)
    return logits.sigmoid() if saved.task.kind == "labels" else logits
