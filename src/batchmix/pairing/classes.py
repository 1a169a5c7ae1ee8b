"""Pairings by class: of the same one, of another one, of each equally often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._classes import class_ids
from batchmix._errors import mix_error
from batchmix.pairing._pairing import Other


@dataclass(frozen=True)
class SameClass:
    """A random order within each class: partners have the same label.

    The rows of a class form one random cycle, as in `Derangement`. A row alone in its class is its
    own partner, left unmixed; of another batch (`other=`) that lacks its class it gets any row.

    Reads: "label", ids [B], or [B, C], where the largest counts.

    Raises:
      MixError: at the draw, labels that are neither.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> y = np.array([0, 1, 0, 1, 1, 2])
      >>> plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 6, {"T": 9}, pairing=SameClass(),
      ...                hints={"label": y})
      >>> y[plan.partner].tolist(), int(plan.partner[5])
      ([0, 1, 0, 1, 1, 2], 5)

    Source: the intra-class CutMix of tsai; labels stay hard.
    """

    reads: ClassVar[tuple[str, ...]] = ("label",)

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """Successors within the class; of another batch its rows in a random order, repeated."""
        pool = _pool("SameClass", hints, other)
        order = rng.permutation(pool.rows)
        order = order[pool.theirs[order].argsort(kind="stable")]
        start, count = pool.start[pool.mine], pool.sizes[pool.mine]
        if other is None:
            at = np.empty(batch, np.intp)
            at[order] = np.arange(batch)
            return order[start + (at - start + 1) % count]
        spare = _floor(rng.random_sample(batch) * pool.rows)
        own = pool.mine.argsort(kind="stable")
        rank = np.empty(batch, np.intp)  # of each row among those of its class
        rank[own] = np.arange(batch) - np.searchsorted(pool.mine[own], pool.mine[own])
        position = np.where(count > 0, start + rank % np.maximum(count, 1), spare)
        return order.take(position, mode="clip") if pool.rows else position


@dataclass(frozen=True)
class OtherClass:
    """A partner of another class, each such row equally likely.

    Rows draw on their own, so that some are drawn twice. Where all rows have one class, each is its
    own partner, left unmixed; of another batch (`other=`) that has no other one it gets any row.

    Reads: "label", ids [B], or [B, C], where the largest counts.

    Raises:
      MixError: at the draw, labels that are neither.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> y = np.array([0, 0, 0, 1, 1, 2])
      >>> plan = bm.draw(bm.policies.MixUp(), bm.Key(0), 6, {}, pairing=OtherClass(),
      ...                hints={"label": y})
      >>> bool((y[plan.partner] != y).all())
      True

    Source: Tokozume et al., Between-class Learning, 2018,
    https://arxiv.org/abs/1711.10282
    """

    reads: ClassVar[tuple[str, ...]] = ("label",)

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """A uniform place among the rows by class, the row's own class left out."""
        pool = _pool("OtherClass", hints, other)
        start, count = pool.start[pool.mine], pool.sizes[pool.mine]
        nobody = count == pool.rows
        left_out = np.where(nobody, 0, count)
        at = _floor(rng.random_sample(batch) * (pool.rows - left_out))
        partner = pool.order.take(at + left_out * (at >= start), mode="clip") if pool.rows else at
        return np.where(nobody, np.arange(batch), partner) if other is None else partner


@dataclass(frozen=True)
class Balanced:
    """A partner whose class is drawn first, so that rare classes are partners as often as others.

    The class is uniform over those of the batch, or as likely as `weights` say; then the row is
    uniform within the class. A row is its own partner, left unmixed, only where no other one can be
    drawn; of another batch (`other=`) it gets any row then.

    Reads: "label", ids [B], or [B, C], where the largest counts.

    Args:
      weights: for each class a number >= 0, such as 1 / its count in the data; of classes that a
        batch lacks they are not used.

    Raises:
      MixError: weights that are no such numbers; at the draw, labels beyond them.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> y = np.array([0] * 990 + [1] * 10)
      >>> plan = bm.draw(bm.policies.MixUp(), bm.Key(0), 1000, {}, pairing=Balanced(),
      ...                hints={"label": y})
      >>> bool(450 < y[plan.partner].sum() < 550)
      True

    Source: Park et al., The Majority Can Help the Minority (CMO), 2022,
    https://arxiv.org/abs/2112.00412; there from the whole data set, here from the batch.
    """

    weights: Sequence[float] | None = None
    reads: ClassVar[tuple[str, ...]] = ("label",)

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        try:
            weights = np.asarray(self.weights, float)
        except (TypeError, ValueError):
            weights = np.zeros(0)
        if not (weights.ndim == 1 and (weights >= 0).all() and 0 < weights.sum() < np.inf):
            raise mix_error(
                "Balanced", f"got weights={self.weights!r}.",
                "They are a number >= 0 for each class, one of them > 0.",
                "Pass for example weights=[1 / n for n in counts].",
            )  # fmt: skip
        object.__setattr__(self, "weights", tuple(weights.tolist()))

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """A class by its weight, then a place within it; the row itself is left out of both."""
        pool = _pool("Balanced", hints, other)
        coins = rng.random_sample((2, batch))
        weight = np.where(pool.sizes > 0, self._weight(pool.ids), 0)
        ends = np.concatenate([[0], weight.cumsum()])
        alone = (pool.sizes[pool.mine] == 1) & (other is None)
        left_out = np.where(alone, weight[pool.mine], 0)
        place = coins[0] * (ends[-1] - left_out)
        place += left_out * (place >= ends[pool.mine])
        drawn = np.searchsorted(ends[1:], place, "right")
        drawn = np.minimum(drawn, np.flatnonzero(weight)[-1:].sum())  # where rounding went too far
        at = np.empty(pool.rows, np.intp)
        at[pool.order] = np.arange(pool.rows)
        count = pool.sizes.take(drawn) if batch else drawn
        own = (drawn == pool.mine) & (other is None)
        position = _floor(coins[1] * (count - own))
        start = pool.start.take(drawn) if batch else drawn
        if other is None:
            position += own & (position >= at - start)
        nobody = (ends[-1] - left_out <= 0) | (count - own <= 0)
        anywhere = np.arange(batch) if other is None else _floor(coins[1] * pool.rows)
        partner = pool.order.take(start + position, mode="clip") if pool.rows else position
        return np.where(nobody, anywhere, partner)

    def _weight(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.weights is None:
            return np.ones(len(ids))
        if ids.size and not 0 <= ids[0] <= ids[-1] < len(self.weights):
            raise mix_error(
                "Balanced", f"a label is {ids[0] if ids[0] < 0 else ids[-1]}, and there are "
                f"{len(self.weights)} weights.", "Each class has a weight.",
                "Give as many weights as there are classes.",
            )  # fmt: skip
        return np.asarray(self.weights)[ids]


class _Pool(NamedTuple):
    """The rows that partners are taken from, by class."""

    rows: int  # how many
    ids: NDArray[np.int64]  # the classes, in order; the others are places in this
    mine: NDArray[np.intp]  # class of each row that gets a partner
    theirs: NDArray[np.intp]  # class of each row that is one
    order: NDArray[np.intp]  # the latter, one class after the other
    start: NDArray[np.intp]  # where in that order a class starts
    sizes: NDArray[np.intp]  # and how many rows it has


def _pool(where: str, hints: Mapping[str, Any], other: Other | None) -> _Pool:
    mine = class_ids(where, hints["label"])
    found = [mine] if other is None else [mine, class_ids(where, other.hints["label"])]
    ids, at = np.unique(np.concatenate(found), return_inverse=True)
    theirs = at[-len(found[-1]) :] if len(found[-1]) else at[:0]
    count = np.bincount(theirs, minlength=len(ids))
    order = theirs.argsort(kind="stable")
    return _Pool(len(theirs), ids, at[: len(mine)], theirs, order, count.cumsum() - count, count)


def _floor(places: NDArray[np.float64]) -> NDArray[np.intp]:
    return places.astype(np.intp)
