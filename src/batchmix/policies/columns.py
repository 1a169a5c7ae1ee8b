"""Columns: random columns of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Request
from batchmix.policies.gridmix import opaque


@dataclass(frozen=True)
class Columns:
    r"""Take each column of a table from the partner with some probability.

    .. math:: m_c \sim \mathrm{Bernoulli}(p), \qquad \lambda = 1 - \mathrm{mean}(m)

    Columns are taken whole, so that ids and other categorical columns stay what they are.

    Args:
      prob: probability that a column is the partner's, 0..1.

    Raises:
      MixError: prob is not in 0..1, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(Columns(0.3), bm.Key(seed=0), batch=256, size={"C": 20})
      >>> bool(abs(plan.lam.mean() - 0.7) < 0.02)
      True

    Differs from: the columns need not lie side by side, as those of `CutMix` do. Where there are
    more axes, columns are the cells of the last one: whole columns of pixels. SAINT shares no
    labels (it learns to tell which rows belong together); here they follow the columns.

    Source: Somepalli et al., SAINT, 2021 (its CutMix, p = 0.3),
    https://arxiv.org/abs/2106.01342; for images Summers and Dinneen, 2018, https://arxiv.org/abs/1805.11272
    """

    prob: float = 0.3

    def __post_init__(self) -> None:
        number = isinstance(self.prob, int | float | np.number) and not isinstance(self.prob, bool)
        if not (number and 0 <= self.prob <= 1):
            raise mix_error(
                "Columns", f"got prob={self.prob!r}.",
                "It is the probability that a column is the partner's, 0..1.",
                "Pass for example prob=0.3.",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """A coin for each column of each row."""
        if not request.size:
            raise mix_error(
                "Columns", "the draw has size={}, no axes.", "The columns are an axis.",
                "Draw with size={'C': columns} and mix in the layout 'NC'; a Mixer takes axes='C'.",
            )  # fmt: skip
        *others, columns = request.size.values()
        batch = len(request.partner)
        chosen = request.rng.random_sample((batch, columns)) < self.prob
        return opaque(request, chosen.reshape(batch, *[1] * len(others), columns))
