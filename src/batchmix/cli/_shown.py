"""What `batchmix preview` shows: some rows of a data set, and what a plan does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli._arms import Arm
from batchmix.cli._data import Data, Rows
from batchmix.policies import Policy

_MANY = 4096  # rows that distributions are counted over


class Part(NamedTuple):
    """A part of a soft label."""

    name: str
    share: float
    whose: str  # 'own', 'partner' or 'others'


@dataclass(frozen=True)
class Batch:
    """The rows that are shown, and the labels of many more."""

    rows: Rows
    many: NDArray[np.int64]  # [_MANY]
    classes: tuple[str, ...]
    seed: int

    def draw(self, policy: Policy | None) -> bm.Plan:
        """The plan for the rows shown; partners are the same for every policy."""
        return bm.draw(policy, bm.Key(self.seed), len(self.rows), self._size)

    def show(self, arm: Arm) -> Shown:
        """An arm on the rows shown."""
        return self.apply(arm.name, self.draw(arm.policy), arm.smoothing)

    def apply(self, name: str, plan: bm.Plan, smoothing: float = 0.0) -> Shown:
        """A plan on the rows shown."""
        nothing = np.zeros((*self.rows.x.shape[:3], 1), np.float32)
        return Shown(
            name,
            self,
            plan,
            bm.mix(nothing, plan, "NHWC", other=nothing + 1)[..., 0],
            bm.mix(self.rows.x, plan, "NHWC"),
            bm.mix_labels(self.rows.y, plan, len(self.classes), smoothing=smoothing),
        )

    def lam(self, policy: Policy) -> NDArray[np.float32]:
        """[_MANY]: shares of own content."""
        return bm.draw(policy, bm.Key(self.seed), _MANY, self._size).lam

    def hardness(self, arm: Arm) -> NDArray[np.float32]:
        """[_MANY]: the largest probability of each soft label."""
        plan = bm.draw(arm.policy, bm.Key(self.seed), _MANY, self._size)
        soft = bm.mix_labels(self.many, plan, len(self.classes), smoothing=arm.smoothing)
        return np.asarray(soft.max(1))

    def name(self, row: int) -> str:
        """The name of a row's class, not too long to stand under an image."""
        name = self.classes[int(self.rows.y[row])]
        return name if len(name) <= 10 else name[:9] + "…"

    @property
    def _size(self) -> dict[str, int]:
        """Cells per axis."""
        return dict(zip("HW", self.rows.x.shape[1:3]))


@dataclass(frozen=True)
class Shown:
    """What a plan does to the rows shown."""

    name: str
    batch: Batch
    plan: bm.Plan
    weight: NDArray[np.float32]  # [B, H, W], of the partner, as executed
    mixed: NDArray[np.uint8]  # [B, H, W, C]
    soft: NDArray[np.float32]  # [B, classes]

    def parts(self, row: int) -> list[Part]:
        """The soft label of a row: its own class, its partner's, and all others."""
        y, partner = self.batch.rows.y, int(self.plan.partner[row])
        found = [Part(self.batch.name(row), float(self.soft[row, y[row]]), "own")]
        if y[partner] != y[row] and self.plan.lam[row] < 1:
            share = float(self.soft[row, y[partner]])
            found.append(Part(self.batch.name(partner), share, "partner"))
        rest = 1 - sum(part.share for part in found)
        return [*found, Part("others", rest, "others")] if rest > 0.005 else found


def choose(data: Data, count: int, seed: int) -> Batch:
    """Rows of the training part at random by `seed`, the classes in turn."""
    order = np.random.default_rng(seed).permutation(len(data.train))
    y = data.train.y[order]
    turn = np.empty(len(y), np.int64)  # how many rows of its class come before each row
    for label in np.unique(y):
        turn[y == label] = np.arange((y == label).sum())
    shown = order[np.argsort(turn, kind="stable")][:count]
    return Batch(data.train.take(shown), np.resize(y, _MANY), data.classes, seed)
