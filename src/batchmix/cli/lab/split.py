"""Which rows train, fit the temperature, and test; and wrong labels on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.cli.lab.data import Data, Images


@dataclass(frozen=True)
class Splits:
    """What one seed trains on, fits the temperature on, and is measured on."""

    train: Images
    calibration: Images
    test: Images


def split(data: Data, seed: int, limit_train: int | None = None) -> Splits:
    """The parts of the data; parts that it lacks are drawn by seed, with classes in proportion.

    Without val and test, 60 % of the rows (at most `limit_train`) train. Without one of the two, a
    quarter of the held-out rows fits the temperature, and the rest is the test.
    """
    rng = np.random.default_rng(seed)
    train, held = data.train, data.val or data.test
    if held is None:
        count = min(limit_train or len(train), int(0.6 * len(train)))
        order = _stratified(train.y, rng)
        train, held = train.take(order[:count]), train.take(order[count:])
    elif limit_train and limit_train < len(train):
        train = train.take(_stratified(train.y, rng)[:limit_train])
    if data.val and data.test:
        splits = Splits(train, data.val, data.test)
    else:
        order = _stratified(held.y, rng)
        quarter = len(held) // 4
        splits = Splits(train, held.take(order[:quarter]), held.take(order[quarter:]))
    if len(np.unique(train.y)) < len(data.classes) or not len(splits.calibration):
        raise mix_error(
            "DATA",
            f"{len(train)} rows train, {len(splits.calibration)} fit the temperature, "
            f"{len(splits.test)} test, for {len(data.classes)} classes.",
            "Every class needs a training row, and no part may be empty.",
            "Use more images or a larger --limit-train.",
        )
    return splits


def corrupt(
    y: NDArray[np.int64], share: float, classes: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels of which exactly that share is wrong, all other classes equally likely; and which."""
    rng = np.random.default_rng([seed, 1])
    wrong = np.zeros(len(y), np.bool_)
    wrong[rng.permutation(len(y))[: round(share * len(y))]] = True
    return np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y), wrong


def _stratified(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A shuffled order in which every prefix has nearly the class proportions of the whole."""
    at = np.empty(len(y))  # 0..1 in the order
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        at[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(at, kind="stable")
