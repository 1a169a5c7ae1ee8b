"""CutMix: a box of the partner, opaque."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Rows
from batchmix.policies.mixup import beta, check_alpha


@dataclass(frozen=True)
class CutMix:
    r"""Paste a box of the partner over the row.

    .. math:: s_a = n_a (1 - \lambda)^{1/A}, \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with sides :math:`s_a` on the :math:`A` axes of :math:`n_a` cells, so that the box holds
    :math:`1 - \lambda` of the grid before it is clipped. The label follows the cells that were
    really pasted. The surprising fact: the paper's box is clipped at the border, so at alpha 1 it
    pastes 0.31 of the image on average, not 0.50.

    Args:
      alpha: parameter of the Beta distribution, > 0. 1.0 is the usual choice; below 1 many boxes
        are empty on small images.
      placement: "clipped", the paper's: the centre is uniform over the grid and what hangs over
        the border is cut off. "inside": the position is uniform among those that fit, so that the
        pasted share really is Beta distributed.
      minmax: (low, high) shares of each side, 0..1; the sides are then uniform in between,
        independently, the box always inside, and alpha is not used (timm's `cutmix_minmax`).

    Raises:
      MixError: a parameter out of range, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(CutMix(1.0), bm.Key(seed=0), batch=256, size={"H": 32, "W": 32})
      >>> bool((plan.opacity == 1).all()), bool(0.6 < plan.lam.mean() < 0.8)
      (True, True)

    Differs from: one box per row (wrap in `PerBatch` for the one box per batch of timm,
    torchvision, Composer and the paper's code). The paper's code and torchvision lose up to a
    column and a row of an odd-sided box; here, as in timm >= 1.0.31, the box before clipping has
    exactly ``floor(s)`` cells. ``placement="inside"`` is kornia's, with sides rounded to the
    nearest cell instead of down. `minmax` includes its upper bound. For any number of axes: a span
    of a waveform ("T"), a box of a volume ("DHW").

    Source: Yun et al., CutMix, 2019, eq. 1 and 2, https://arxiv.org/abs/1905.04899
    """

    alpha: float = 1.0
    placement: Literal["clipped", "inside"] = "clipped"
    minmax: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_alpha("CutMix", self.alpha)
        if self.placement not in ("clipped", "inside"):
            raise mix_error(
                "CutMix",
                f"got placement={self.placement!r}.",
                "A box is 'clipped' at the border (the paper's) or lies 'inside'.",
                "Pass one of the two.",
            )
        if self.minmax is None:
            return
        object.__setattr__(self, "minmax", tuple(self.minmax))
        if len(self.minmax) != 2 or not 0 <= self.minmax[0] <= self.minmax[1] <= 1:
            raise mix_error(
                "CutMix",
                f"got minmax={self.minmax!r}.",
                "It is (low, high), shares of a side, 0 <= low <= high <= 1.",
                "timm's usual value is (0.2, 0.8).",
            )

    def sample(self, rows: Rows) -> Paste:
        """One box per row, opacity 1."""
        batch = len(rows.partner)
        if self.minmax is None:
            _, box = drawn_box(rows.rng, self.alpha, self.placement, batch, rows.size)
        else:
            size = _cells(rows.size)
            low, high = (np.floor(size * share).astype(np.int64) for share in self.minmax)
            span = rows.rng.random_sample((batch, len(size))) * (high - low + 1)
            side = low + span.astype(np.int64)
            box = _inside(rows.rng, side, size)
        return Paste(box, np.ones(batch), kind=np.zeros(batch, np.int8))


def drawn_box(
    rng: np.random.RandomState,
    alpha: float,
    placement: Literal["clipped", "inside"],
    batch: int,
    size: Mapping[str, int],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """lam [B] ~ Beta(alpha, alpha), and boxes [B, A, 2] whose share is 1 - lam before clipping."""
    cells = _cells(size)
    lam = beta(rng, alpha, batch)
    side = cells * ((1 - lam) ** (1 / len(cells)))[:, None]  # [B, A]
    if placement == "inside":
        return lam, _inside(rng, np.rint(side).astype(np.int64), cells)
    return lam, _clipped(rng, side.astype(np.int64), cells)


def _cells(size: Mapping[str, int]) -> NDArray[np.int64]:
    if not size:
        raise mix_error(
            "CutMix",
            "the draw has size={}, no axes.",
            "A box needs at least one axis to lie on.",
            "Use MixUp for tables, or cut columns with size={'C': columns} and layout 'NC'.",
        )
    return np.array(list(size.values()), np.int64)


def _clipped(
    rng: np.random.RandomState, side: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.int32]:
    """[B, A, 2]: boxes of `side` cells around a uniform centre, cut off at the border."""
    low = (rng.random_sample(side.shape) * size).astype(np.int64) - side // 2
    return _boxes(np.maximum(low, 0), np.minimum(low + side, size))


def _inside(
    rng: np.random.RandomState, side: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.int32]:
    """[B, A, 2]: boxes of `side` cells at a uniform position among those that fit."""
    low = (rng.random_sample(side.shape) * (size - side + 1)).astype(np.int64)
    return _boxes(low, low + side)


def _boxes(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int32]:
    """[B, A, 2] of both ends."""
    box = np.empty((*low.shape, 2), np.int32)
    box[..., 0], box[..., 1] = low, high
    return box
