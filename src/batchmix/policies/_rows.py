"""Rows that several policies draw, put together as one answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import on_grid
from batchmix._errors import mix_error
from batchmix.policies._paste import COLUMNS, Paste, Policy, Request, nothing


def drawn_by(pick: NDArray[Any], policies: Sequence[Policy | None], request: Request) -> Paste:
    """Row i as ``policies[pick[i]]`` draws it; None leaves a row alone.

    Each policy draws its own rows alone, in the order of the policies. A part that only some of
    them have is filled in.
    """
    pastes, unpicked = [], []
    counts = np.bincount(pick, minlength=len(policies)).tolist()
    for k, (policy, count) in enumerate(zip(policies, counts)):
        if request.hints or request.later or not count:
            own = request.of(np.flatnonzero(pick == k))
        else:  # who they are is not read, but PerPair is to see that it cannot pair them
            nobody = _nobody(len(request.partner))[:count]
            own = request._replace(partner=nobody, row=nobody)
        if count:
            pastes.append(nothing(own) if policy is None else policy.sample(own))
        elif policy is not None:  # the stream stays as it is
            unpicked.append(policy.sample(own._replace(rng=np.random.RandomState(0))))
    # a compiled step has room for one kind of plan: whether a row has a mask is not left to chance
    if not {*map(_form, unpicked)} <= {*map(_form, pastes)}:
        pastes += unpicked
    if len(pastes) < 2:
        return pastes[0] if pastes else nothing(request)
    at = np.empty(len(pick), np.intp)  # where row i is in the draws, one after the other
    at[pick.argsort(kind="stable")] = np.arange(len(pick))
    return _stacked(pastes, tuple(request.size.values()), at)


def _form(paste: Paste) -> tuple[Any, ...]:
    """Which columns each of its layers has, and of what form."""
    return tuple(
        (layer.resample, *((name, v.shape[1:], v.dtype) for name, v in layer.columns().items()))
        for layer in (paste, *paste.above)
    )


def _ways(pastes: Sequence[Paste]) -> list[Any]:
    """How sources are stretched: each way once; [None] where they are copied as they are."""
    ways = dict.fromkeys(paste.resample for paste in pastes if paste.source is not None)
    return [way for way in ways if way is not None] or [*ways]


def _stacked(pastes: Sequence[Paste], size: tuple[int, ...], at: NDArray[Any]) -> Paste:
    """The rows of all, in the order `at`."""
    columns = {}
    for name in COLUMNS:
        values = [vars(paste)[name] for paste in pastes]
        if any(value is not None for value in values):
            values = [_filled(name, v, paste) for v, paste in zip(values, pastes)]
            if name == "mask":
                values = _on_one_grid(values, size)
            columns[name] = np.concatenate(values).take(at, 0)
    way, *others = _ways(pastes) or ["nearest"]
    if others:
        raise mix_error(
            "Switch", "one policy stretches by the nearest cell, another bilinearly.",
            "A batch is stretched in one way.", "Give all of them the same `resample`.",
        )  # fmt: skip
    above = []
    for k in range(max(len(paste.above) for paste in pastes)):
        layer = [p.above[k] if k < len(p.above) else _left_alone(p) for p in pastes]
        above.append(_stacked(layer, size, at))
    return Paste(**columns, resample=way, above=tuple(above))


def _filled(name: str, column: Any, paste: Paste) -> NDArray[Any]:
    """A column, or what means the same as not having it."""
    if column is not None:
        return np.asarray(column)
    rows = len(paste.box)
    if name == "source":
        return paste.box
    if name == "mask":
        return np.full((rows, *[1] * paste.box.shape[1]), 255, np.uint8)
    return np.full(rows, np.nan, np.float32)  # label_lam: by area


def _on_one_grid(masks: list[NDArray[Any]], size: tuple[int, ...]) -> list[NDArray[Any]]:
    """Masks of one shape and dtype that say the same; one cell says it on any grid."""
    grids = {mask.shape[1:] for mask in masks if math.prod(mask.shape[1:]) > 1}
    grid = grids.pop() if len(grids) == 1 else size if grids else masks[0].shape[1:]
    floats = any(mask.dtype != np.uint8 for mask in masks)
    shares = [
        (mask / np.float32(255)).astype(np.float32) if floats and mask.dtype == np.uint8 else mask
        for mask in masks
    ]
    return [on_grid(mask, grid) for mask in shares]


def _left_alone(paste: Paste) -> Paste:
    """A layer that pastes nothing on the rows of another."""
    rows = len(paste.box)
    return Paste(np.zeros_like(paste.box), np.zeros(rows), np.full(rows, -1, np.int8))


@functools.lru_cache(64)
def _nobody(batch: int) -> NDArray[np.int32]:
    return np.full(batch, -1, np.int32)
