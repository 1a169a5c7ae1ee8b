"""Near: partners with a target like one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.pairing._pairing import Other

_AT_ONCE = 1 << 14  # pairs of rows that are looked at together: they stay in the cache
_MOST = 1e140  # of a target; the sum of squares is still a number


@dataclass(frozen=True)
class Near:
    r"""A partner by how near its target is, for regression (C-Mixup).

    .. math:: P(j \mid i) \propto \exp\big(-\|y_i - y_j\|^2 / 2 b^2\big), \quad j \ne i

    A bandwidth so small that all of these vanish gives the nearest row (of equally near ones, any);
    a large one gives every other row alike. A row alone in its batch is left unmixed. Partners come
    from the batch, not from the whole data set as in the paper. With `other=` no row is left out.

    Reads: "target", float [B] or [B, D].

    Args:
      bandwidth: b, > 0, in the units of the target.

    Raises:
      MixError: another bandwidth; at the draw, targets that are NaN or infinite.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> y = np.array([0.0, 0.1, 5.0, 5.2])
      >>> plan = bm.draw(bm.policies.MixUp(2.0), bm.Key(0), 4, {}, pairing=Near(0.5),
      ...                hints={"target": y})
      >>> plan.partner.tolist()
      [1, 0, 3, 2]

    Source: Yao et al., C-Mixup, 2022, https://arxiv.org/abs/2210.05775
    """

    bandwidth: float
    reads: ClassVar[tuple[str, ...]] = ("target",)

    def __post_init__(self) -> None:
        if not (is_number(self.bandwidth) and 1 / _MOST <= self.bandwidth <= _MOST):
            raise mix_error(
                "Near", f"got bandwidth={self.bandwidth!r}.",
                "It is a distance between targets, a number > 0.",
                "Try a tenth of the targets' standard deviation first.",
            )  # fmt: skip

    def pair(
        self,
        rng: np.random.RandomState,
        batch: int,
        hints: Mapping[str, Any],
        other: Other | None = None,
    ) -> NDArray[Any]:
        """One coin for each row, and where it falls among the sums of the weights."""
        mine = _targets(hints["target"])
        theirs = mine if other is None else _targets(other.hints["target"])
        if mine.shape[1] != theirs.shape[1]:
            raise mix_error(
                "Near", f"targets have {mine.shape[1]} numbers, those of the other batch "
                f"{theirs.shape[1]}.", "Distances are between targets of one kind.",
                "Pass both alike.",
            )  # fmt: skip
        coin = rng.random_sample(batch)
        partner = np.zeros(batch, np.intp)
        if len(theirs) - (other is None) < 1:
            return partner
        step = max(1, _AT_ONCE // len(theirs))
        for first in range(0, batch, step):
            rows = slice(first, first + step)
            sums = self._weights(mine[rows], theirs, first if other is None else None).cumsum(1)
            place = coin[rows] * sums[:, -1]
            partner[rows] = (sums <= place[:, None]).sum(1)
        return partner

    def _weights(
        self, mine: NDArray[np.float64], theirs: NDArray[np.float64], first: int | None
    ) -> NDArray[np.float64]:
        """[rows, pool], 1 for the nearest; row k is row `first` + k of the pool, left out."""
        squares = np.zeros((len(mine), len(theirs)))
        for one, many in zip(mine.T, theirs.T):
            squares += (one[:, None] - many) ** 2
        if first is not None:
            np.fill_diagonal(squares[:, first:], np.inf)
        squares -= squares.min(1, keepdims=True)
        with np.errstate(over="ignore", under="ignore"):
            weights: NDArray[np.float64] = np.exp(squares / (-2 * self.bandwidth**2))
        return weights


def _targets(hint: Any) -> NDArray[np.float64]:
    """[B, D]."""
    found = np.asarray(hint)
    if found.ndim not in (1, 2) or found.dtype.kind not in "iubf":
        raise mix_error(
            "Near", f"the hint 'target' has shape {found.shape} and dtype {found.dtype}.",
            "It is numbers [B] or [B, D].", "Flatten what belongs to a row.",
        )  # fmt: skip
    found = found.astype(np.float64)
    found = found[:, None] if found.ndim == 1 else found
    far = ~(np.abs(found) <= _MOST).all(1)
    if far.any():
        raise mix_error(
            "Near", f"the hint 'target' of row {int(far.argmax())} is {found[far][0].tolist()}.",
            "Distances need numbers.", "Leave rows without a target out.",
        )  # fmt: skip
    return found
