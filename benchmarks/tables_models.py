"""The models of tables_evidence.py: what is trained, what chooses, how it is scored."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.fields import Features, Labels, Targets
from batchmix.pairing import Derangement

EVERY, BATCH, WIDTH, RATE = 10, 64, 128, 1e-3  # of mlp
COPIES, PENALTIES, TREES = 2, (0.01, 0.1, 1.0, 10.0, 100.0), 100  # of the others


class Arm(NamedTuple):
    """What is done to a batch."""

    policy: Any = None
    pairing: Any = Derangement()
    smoothing: float = 0.0
    axes: str | None = None


class Part(NamedTuple):
    """Some rows of a set."""

    x: NDArray[np.float32]
    y: NDArray[Any]  # ids, or float32 standardised by the training rows


class Split(NamedTuple):
    """The rows of a set as one seed has them."""

    train: Part
    val: Part
    test: Part
    classes: int  # 0: numbers are predicted
    scale: float  # of a number, in the set's own units


def batches(rows: int, seed: int) -> Iterator[NDArray[Any]]:
    """Numbers of rows, without end: each pass in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        yield from np.array_split(rng.permutation(rows), max(1, round(rows / BATCH)))


def mlp(data: Split, arm: Arm, seed: int, steps: int) -> dict[str, float]:
    """Train, keep the weights of the step that the validation rows choose, score the test rows."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    columns, out = data.train.x.shape[1], data.classes or 1
    model = nn.Sequential(
        nn.Linear(columns, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, out),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    target = Labels(data.classes, arm.smoothing) if data.classes else Targets()
    fields = {0: Features("NC"), 1: target}
    mixer = bm.Mixer(arm.policy, fields, pairing=arm.pairing, seed=seed, axes=arm.axes)
    x, y = (torch.from_numpy(part) for part in data.train)
    loss = nn.CrossEntropyLoss() if data.classes else nn.MSELoss()
    best: tuple[float, int, Any] = (np.inf, 0, None)
    for step, rows in enumerate(batches(len(x), seed), 1):
        mixed, wanted = mixer((x[rows], y[rows]))
        given = model(mixed)
        error = loss(given if data.classes else given[:, 0], wanted)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        if step % EVERY == 0:
            chosen = scores(_predicted(model, data.val.x, data.classes), data.val.y)["loss"]
            if chosen < best[0]:
                best = chosen, step, copy.deepcopy(model.state_dict())
        if step == steps:
            break
    model.load_state_dict(best[2])
    found = scores(_predicted(model, data.test.x, data.classes), data.test.y, data.scale)
    return found | {"step": float(best[1])}


def linear(data: Split, arm: Arm, seed: int, steps: int) -> dict[str, float]:
    """The penalty that the validation rows choose, and the score of the test rows."""
    from sklearn.linear_model import LogisticRegression, Ridge

    best: tuple[float, float, Any] = (np.inf, 0.0, None)
    for penalty in PENALTIES:
        inner = (
            LogisticRegression(C=1 / penalty, max_iter=steps) if data.classes else Ridge(penalty)
        )
        model = _fitted(inner, data, arm, seed)
        given = model.predict_proba if data.classes else model.predict
        found = scores(given(data.val.x), data.val.y)["loss"]
        if found < best[0]:
            best = found, penalty, given
    return scores(best[2](data.test.x), data.test.y, data.scale) | {"penalty": best[1]}


def trees(data: Split, arm: Arm, seed: int, steps: int) -> dict[str, float]:
    """The number of boosted trees that the validation rows choose, and the score of the test."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    inner = kind(max_iter=min(steps, TREES), early_stopping=False, random_state=seed)
    fitted = _fitted(inner, data, arm, seed).estimator_
    staged = fitted.staged_predict_proba if data.classes else fitted.staged_predict
    losses = [scores(given, data.val.y)["loss"] for given in staged(data.val.x)]
    best = int(np.argmin(losses))
    given = next(islice(staged(data.test.x), best, None))
    return scores(given, data.test.y, data.scale) | {"step": best + 1.0}


def _fitted(inner: Any, data: Split, arm: Arm, seed: int) -> Any:
    """An estimator of scikit-learn, fitted to mixed rows."""
    from batchmix.adapters.sklearn import MixedClassifier, MixedRegressor

    mixed = MixedClassifier if data.classes else MixedRegressor
    options = {"pairing": arm.pairing, "copies": COPIES, "random_state": seed}
    return mixed(inner, arm.policy, **options).fit(*data.train)


def _predicted(model: Any, x: NDArray[np.float32], classes: int) -> NDArray[np.float64]:
    """Probabilities [N, C], or numbers [N]."""
    import torch

    with torch.no_grad():
        given = model(torch.from_numpy(x)).double()
        return (given.softmax(1) if classes else given[:, 0]).numpy()  # type: ignore[no-any-return]


def scores(given: NDArray[Any], y: NDArray[Any], scale: float = 1.0) -> dict[str, float]:
    """Log-loss and accuracy of probabilities; of numbers the root of the mean square error."""
    if given.ndim == 2:
        right = given[np.arange(len(y)), y]
        loss = float(-np.log(np.maximum(right, 1e-12)).mean())
        return {"loss": loss, "accuracy": float((given.argmax(1) == y).mean())}
    return {"loss": scale * float(np.sqrt(((given - y) ** 2).mean()))}


MODELS = {"mlp": mlp, "linear": linear, "trees": trees}
