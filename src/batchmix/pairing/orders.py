"""Pairings that look at nothing but the order of the rows, and groups of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_whole
from batchmix.pairing._pairing import Other, Pairing, _check_pairing


@dataclass(frozen=True)
class Reverse:
    """Row i with row B-1-i: mutual partners, no randomness.

    The middle row of an odd batch is its own partner.

    Example:
      >>> Reverse().pair(np.random.RandomState(0), 5, {}).tolist()
      [4, 3, 2, 1, 0]

    Differs from: timm pairs like this and refuses an odd batch. Shuffle the data: the pairs depend
    on the order of rows alone.
    """

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        rows = batch if other is None else other.rows
        return (rows - 1 - np.arange(batch, dtype=np.int32)) % max(rows, 1)


@dataclass(frozen=True)
class Roll:
    """Row i with row i - n, around the end: no randomness, no row alone unless B divides n.

    Args:
      n: how far, any integer; 1 is what torchvision and big_vision do.

    Example:
      >>> Roll(1).pair(np.random.RandomState(0), 4, {}).tolist()
      [3, 0, 1, 2]
    """

    n: int = 1

    def __post_init__(self) -> None:
        if not is_whole(self.n):
            raise mix_error("Roll", f"got n={self.n!r}.", "It counts rows.", "Pass an integer.")

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        rows = batch if other is None else other.rows
        return (np.arange(batch, dtype=np.int32) - int(self.n) % max(rows, 1)) % max(rows, 1)


@dataclass(frozen=True)
class Permutation:
    """A uniformly random order. On average one row per batch is its own partner, left unmixed.

    Example:
      >>> sorted(Permutation().pair(np.random.RandomState(0), 4, {}).tolist())
      [0, 1, 2, 3]

    Differs from: the papers' code, Composer and fastai pair like this. At B = 2 half of all batches
    are not mixed; `Derangement` never does that.
    """

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        return rng.permutation(batch) if other is None else _from_other(rng, batch, other)


@dataclass(frozen=True)
class Derangement:
    """A random order in which no row is its own partner (from B = 2 on). The default.

    The rows form one random cycle and each takes the next as its partner, so that every other row
    is equally likely.

    Example:
      >>> partner = Derangement().pair(np.random.RandomState(0), 5, {})
      >>> bool((partner != np.arange(5)).all())
      True
    """

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """Successors in a random cycle; of another batch any rows, as none is the same."""
        if other is not None:
            return _from_other(rng, batch, other)
        cycle = rng.permutation(batch)
        partner = np.empty(batch, np.int32)
        partner[cycle[:-1]], partner[cycle[-1:]] = cycle[1:], cycle[:1]
        return partner


@dataclass(frozen=True)
class Within:
    """Partners stay inside groups of consecutive rows, so that a sharded batch needs no exchange.

    Args:
      groups: number of groups, >= 1; their sizes differ by one at most when B is not a multiple.
      inner: pairing inside each group.

    Raises:
      MixError: groups < 1, or an `inner` that is no pairing; at the draw, hints of another length.

    Example:
      >>> Within(2, Roll(1)).pair(np.random.RandomState(0), 6, {}).tolist()
      [2, 0, 1, 5, 3, 4]
    """

    groups: int
    inner: Pairing = Derangement()

    def __post_init__(self) -> None:
        if not is_whole(self.groups) or self.groups < 1:
            raise mix_error(
                "Within",
                f"got groups={self.groups!r}.",
                "It is the number of groups the batch is split into, >= 1.",
                "Pass the number of shards.",
            )
        _check_pairing("Within", self.inner)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(getattr(self.inner, "reads", ()))

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """The inner pairing of each group, moved to where the group starts."""
        groups = np.array_split(np.arange(batch), self.groups)
        theirs = groups if other is None else np.array_split(np.arange(other.rows), self.groups)
        hints = _checked_hints(hints, batch)
        outer = {} if other is None else _checked_hints(other.hints, other.rows)
        parts = []
        for rows, pool in zip(groups, theirs):
            inside = {name: hint[rows] for name, hint in hints.items()}
            more: tuple[Any, ...] = ()
            if other is not None:
                more = (Other(len(pool), {name: hint[pool] for name, hint in outer.items()}),)
            partner = self.inner.pair(rng, len(rows), inside, *more)
            try:
                parts.append(pool[partner])
            except IndexError:
                raise mix_error(
                    "Within", f"{self.inner!r} gave {partner!r} for a group of {len(pool)} rows.",
                    "A pairing gives integers, each a row of its group.", "Correct its `pair`.",
                ) from None  # fmt: skip
        return np.concatenate(parts)


def _checked_hints(hints: Mapping[str, Any], rows: int) -> dict[str, NDArray[Any]]:
    found = {name: np.asarray(value) for name, value in hints.items()}
    for name, hint in found.items():
        if hint.shape[:1] != (rows,):
            raise mix_error(
                "Within", f"the hint {name!r} has shape {hint.shape}, the batch {rows} rows.",
                "A hint has an entry for each row, so that each group gets its own.",
                "Pass hints of the same batch.",
            )  # fmt: skip
    return found


def _from_other(rng: np.random.RandomState, batch: int, other: Other) -> NDArray[Any]:
    """Rows of another batch in a random order, again and again until there are enough."""
    rounds = -(-batch // max(other.rows, 1))
    orders = [rng.permutation(other.rows) for _ in range(rounds)]
    return np.concatenate([np.zeros(0, int), *orders])[:batch]
