"""GridMix: random patches of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_whole
from batchmix.policies._paste import Paste, Request, alike, whole
from batchmix.policies.mixup import beta, check_alpha


@dataclass(frozen=True)
class GridMix:
    r"""Paste random patches of a grid, as many as the drawn share says.

    .. math:: k = \mathrm{round}((1 - \lambda) g), \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    of :math:`g` patches, every choice of k equally likely. The patches of a row are spread over the
    whole image, so that less of what either label says is hidden than by one box of their area.

    Args:
      cells: patches along each axis, or a number for each axis; never more than the axis has cells.
        Patches are equal where they divide the axis, else one cell wider or narrower.
      alpha: parameter of the Beta distribution of lam, > 0.

    Raises:
      MixError: cells that are no whole numbers >= 1, alpha out of range, a draw without axes or
        with other ones.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(GridMix(cells=4), bm.Key(seed=0), batch=256, size={"H": 32, "W": 32})
      >>> plan.mask.shape, sorted(set((16 * plan.lam).tolist())) == list(range(17))
      ((256, 4, 4), True)

    Differs from: OpenMixup's GridMix cuts a hole into every cell of a grid, as GridMask does; here
    whole cells are chosen, as in the paper. The paper also trains a second head that says for each
    cell which image it is of. ``cells=14`` on 224 pixels is the random part of TokenMix for patches
    of 16 pixels, without its blocks of patches and its labels by attention (`Plan.relabel`).

    Source: Baek, Bang, Shim, GridMix: Strong regularization through local context mapping, 2021,
    https://doi.org/10.1016/j.patcog.2020.107594
    """

    cells: int | Sequence[int] = 4
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_alpha("GridMix", self.alpha)
        given: Any = self.cells
        several = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
        counts = tuple(given) if several else (given,)
        whole_numbers = all(is_whole(n) and n >= 1 for n in counts)
        if not (counts and whole_numbers):
            raise mix_error(
                "GridMix", f"got cells={given!r}.",
                "It counts the patches along an axis, whole numbers >= 1.",
                "Pass for example cells=4, or cells=(4, 8) for two axes.",
            )  # fmt: skip
        if several:  # a tuple, so that it can be hashed
            object.__setattr__(self, "cells", tuple(map(int, counts)))

    def sample(self, request: Request) -> Paste:
        """One choice of patches per row, opacity 1."""
        grid = self._grid(request.size)
        batch, patches = len(request.partner), int(np.prod(grid))
        lam = beta(request.rng, self.alpha, batch)
        order = request.rng.randint(0, 1 << 16, (batch, patches), np.uint16)
        chosen = highest(order, np.rint((1 - lam) * patches).astype(np.intp))
        return opaque(request, chosen.reshape(batch, *grid))

    def _grid(self, size: Mapping[str, int]) -> tuple[int, ...]:
        cells: Any = self.cells
        counts = cells if isinstance(cells, tuple) else (cells,) * len(size)
        if not size or len(counts) != len(size):
            raise mix_error(
                "GridMix", f"got cells={self.cells!r} for size={dict(size)!r}.",
                "Patches lie on one or more axes; `cells` is a number for all or for each.",
                "Pass cells=4. For tables use Columns(), or MixUp.",
            )  # fmt: skip
        return tuple(min(int(count), n) for count, n in zip(counts, size.values()))


def opaque(request: Request, chosen: NDArray[np.bool_]) -> Paste:
    """The partner in the chosen cells [B, *grid], the row in the others."""
    mask = chosen.view(np.uint8) * np.uint8(255)
    return Paste(whole(request), *alike(request, 1, 0), mask=mask)


def highest(values: NDArray[np.uint16], count: NDArray[Any]) -> NDArray[np.bool_]:
    """[B, n]: the `count` highest values of each row; of equal ones those that come first."""
    rows, n = values.shape
    # of 16 bits a stable sort is a radix sort, on any machine
    ranked, row = np.sort(values, 1, kind="stable"), np.arange(rows)
    least = ranked[row, np.minimum(n - count, n - 1)]
    chosen: NDArray[np.bool_] = values >= least[:, None]
    # rows where one that is not to be chosen is equal to the least, few
    some = np.flatnonzero(ranked[row, np.maximum(n - count - 1, 0)] == least)
    equal = values[some] == least[some, None]
    kept = count[some] - np.count_nonzero(values[some] > least[some, None], 1)
    chosen[some] &= ~equal | (equal.cumsum(1) <= kept[:, None])
    return chosen
