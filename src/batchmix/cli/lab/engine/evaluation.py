"""How good a model is: after each epoch on held-out rows, at the end on test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from batchmix.cli.lab.engine import loop, score
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.rows import Rows
from batchmix.metrics import fit_temperature


class Parts(NamedTuple):
    """What a run trains on and is measured on, in the labels that it is shown."""

    train: Rows  # with wrong labels
    wrong: NDArray[np.bool_]  # [N] which of them
    held_out: Rows  # as given; the temperature is fitted on them
    noisy: NDArray[Any]  # their labels, as noisy as the training rows'; they choose the epoch
    test: Rows


class Best(NamedTuple):
    """The epoch that was best on held-out rows, and its weights on the host."""

    epoch: int
    rank: tuple[float, float]
    weights: dict[str, Tensor]


class Watch:
    """Measures a run on its held-out rows and remembers the best epoch.

    The best has the best headline metric; of equals the lower NLL, then the earlier epoch.
    """

    def __init__(self, run: loop.Run, parts: Parts, best: Best | None = None) -> None:
        self._run, self._parts, self.best = run, parts, best
        self._feed = Feed(parts.held_out, run.form, run.training, train=False)

    def look(self, epoch: int) -> dict[str, float]:
        """The headline metric with labels as noisy as in training, and with those given."""
        task, logits = self._run.task, loop.predict(self._run, self._feed)
        noisy = score.held_out(task, logits, self._parts.noisy)
        clean = noisy
        if self._parts.noisy is not self._parts.held_out.y:
            clean = score.held_out(task, logits, self._parts.held_out.y)
        rank = score.rank(task.kind, noisy)
        if self.best is None or rank > self.best.rank:
            state = self._run.measured.state_dict()
            self.best = Best(epoch, rank, {k: v.cpu().clone() for k, v in state.items()})
        return {"held_out": noisy[0], "held_out_clean": clean[0]}


def last_and_best(
    run: loop.Run, parts: Parts, best: Best, last: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics on the test rows of the weights as they are, and of the best; those stay loaded."""
    found = _measured(run, parts) | {"epoch": last}
    if best.epoch == last:
        return found, found
    run.measured.load_state_dict(best.weights)
    return found, _measured(run, parts) | {"epoch": best.epoch}


def _measured(run: loop.Run, parts: Parts) -> dict[str, Any]:
    def predicted(rows: Rows) -> Tensor:
        return loop.predict(run, Feed(rows, run.form, run.training, train=False))

    logits = predicted(parts.test)
    found = score.scores(run.task, logits, parts.test.y)
    if run.task.kind == "classes":
        temperature = fit_temperature(predicted(parts.held_out), parts.held_out.y)
        found |= score.scaled(logits, parts.test.y, temperature)
    if parts.wrong.any():
        found["memorised"] = score.memorised(predicted(parts.train), parts.train.y, parts.wrong)
    return found


def keep_model(
    folder: Path,
    run: loop.Run,
    shape: tuple[int, ...],
    temperature: float | None,
    rate: int = 0,
) -> None:
    """Write the measured model where `predict` and timm read it; `rate` is that of sound."""
    from batchmix.cli.lab.saved.export import save_model

    save_model(
        folder,
        loop.in_units(run),
        training=run.training,
        task=run.task,
        form=run.form,
        shape=(*shape[1:], shape[0]),
        mean=run.scale.mean,
        std=run.scale.std,
        temperature=temperature,
        rate=rate,
    )
