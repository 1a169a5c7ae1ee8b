"""Columns: random columns of a table, and shares of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import LATTICE
from batchmix._errors import MixError, mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import Paste, Request, alike, whole
from batchmix.policies.gridmix import opaque
from batchmix.policies.mixup import beta, check_alpha

_PROB = 0.3
Group = int | tuple[int, ...]


@dataclass(frozen=True)
class Columns:
    r"""Take each column of a table from the partner with some probability.

    .. math:: m_c \sim \mathrm{Bernoulli}(p), \qquad \lambda = 1 - \mathrm{mean}(m)

    Columns are taken whole, so that ids and other categorical columns stay what they are. Where it
    is said which ones are `categorical`, the others are numbers and are blended, :math:`m_c = p`.

    Args:
      prob: probability that a column is the partner's, and the partner's share of a number, 0..1.
      categorical: places of the columns that are taken whole; None for all of them. Columns that
        belong together, such as a one-hot category, are one entry: ``[0, (3, 4, 5), range(6, 9)]``.
      alpha: where given, ``p = 1 - lam`` is drawn for each row, lam from Beta(alpha, alpha);
        `prob` is then left out. Numbers are blended by multiples of 1/4096.

    Raises:
      MixError: prob is not in 0..1, or given beside alpha; a column named twice; a draw without
        axes, or with fewer columns.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(Columns(0.3), bm.Key(seed=0), batch=256, size={"C": 20})
      >>> bool(abs(plan.lam.mean() - 0.7) < 0.02)
      True
      >>> policy = Columns(0.25, categorical=[0, (2, 3)])
      >>> bm.draw(policy, bm.Key(seed=5), batch=2, size={"C": 5}).mask.tolist()
      [[0.0, 0.25, 0.0, 0.0, 0.25], [0.0, 0.25, 1.0, 1.0, 0.25]]

    Differs from: the columns need not lie side by side, as those of `CutMix` do. Where there are
    more axes, columns are the cells of the last one: whole columns of pixels. SAINT shares no
    labels (it learns to tell which rows belong together); here they follow the columns, each alike.
    ExcelFormer's FEAT-MIX is ``Columns(alpha=0.5)`` with labels by how much each column tells:
    ``plan.relabel(scores)``.

    Source: Somepalli et al., SAINT, 2021 (its CutMix, p = 0.3),
    https://arxiv.org/abs/2106.01342; for images Summers and Dinneen, 2018, https://arxiv.org/abs/1805.11272
    """

    prob: float = _PROB
    categorical: Sequence[int | Sequence[int]] | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.prob) and 0 <= self.prob <= 1):
            raise mix_error(
                "Columns", f"got prob={self.prob!r}.",
                "It is the probability that a column is the partner's, 0..1.",
                "Pass for example prob=0.3.",
            )  # fmt: skip
        if self.alpha is not None:
            check_alpha("Columns", self.alpha)
            if self.prob != _PROB:
                raise mix_error(
                    "Columns", f"got prob={self.prob!r} and alpha={self.alpha!r}.",
                    "With alpha the probability is drawn for each row.", "Leave one of them out.",
                )  # fmt: skip
        if self.categorical is not None:  # tuples, so that it can be hashed
            object.__setattr__(self, "categorical", _groups(self.categorical))

    def sample(self, request: Request) -> Paste:
        """A coin for each column of each row, or for each group of them."""
        if not request.size:
            raise mix_error(
                "Columns", "the draw has size={}, no axes.", "The columns are an axis.",
                "Draw with size={'C': columns} and mix in the layout 'NC'; a Mixer takes axes='C'.",
            )  # fmt: skip
        *others, columns = request.size.values()
        batch = len(request.partner)
        share: Any = self.prob
        if self.alpha is not None:
            lam = beta(request.rng, self.alpha, batch)
            share = _on_lattice(1 - lam)[:, None]
        if self.categorical is None:
            chosen = request.rng.random_sample((batch, columns)) < share
            return opaque(request, chosen.reshape(batch, *[1] * len(others), columns))
        mask = np.empty((batch, columns), np.float32)
        mask[:] = _on_lattice(share)
        coins = request.rng.random_sample((batch, len(self.categorical))) < share
        for group, coin in zip(self.categorical, coins.T):
            mask[:, self._places(group, columns)] = coin[:, None]
        mask = mask.reshape(batch, *[1] * len(others), columns)
        return Paste(whole(request), *alike(request, 1, 0), mask=mask)

    def _places(self, group: Any, columns: int) -> NDArray[np.intp]:
        places = np.atleast_1d(np.asarray(group, np.intp))
        if places.max() >= columns:
            raise mix_error(
                "Columns", f"the draw has {columns} columns, and column {places.max()} is "
                "categorical.", "Columns are counted from 0.", "Check the layout and the axis.",
            )  # fmt: skip
        return places


def _on_lattice(share: Any) -> Any:
    return np.rint(share * LATTICE) / LATTICE


def _groups(given: Any) -> tuple[Group, ...]:
    """Places of columns, one by one or several together; none of them twice."""
    entries: Any = given if isinstance(given, Sequence | np.ndarray) else [None]
    found: list[Group] = []
    for entry in entries:
        several = isinstance(entry, Sequence | np.ndarray) and not isinstance(entry, str)
        group: tuple[Any, ...] = tuple(entry) if several else (entry,)
        if not group or not all(_is_place(place) for place in group):
            raise _not_columns(given)
        places = tuple(map(int, group))
        found.append(places if several else places[0])
    flat = [int(n) for entry in found for n in (entry if isinstance(entry, tuple) else (entry,))]
    if len(set(flat)) < len(flat):
        raise _not_columns(given)
    return tuple(found)


def _is_place(place: Any) -> bool:
    return is_whole(place) and 0 <= place < 2**31


def _not_columns(given: Any) -> MixError:
    return mix_error(
        "Columns", f"got categorical={given!r}.",
        "They are places of columns from 0, none twice; those of one category are one entry.",
        "Pass for example categorical=[0, 2, (5, 6, 7)].",
    )  # fmt: skip
