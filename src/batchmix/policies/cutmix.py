"""CutMix: a box of the partner, opaque."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.policies._paste import Paste, Request, alike
from batchmix.policies.mixup import beta, check_alpha


@dataclass(frozen=True)
class CutMix:
    r"""Paste a box of the partner over the row.

    .. math:: s_a = n_a (1 - \lambda)^{1/A}, \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with sides :math:`s_a` on the :math:`A` axes of :math:`n_a` cells, so that the box holds
    :math:`1 - \lambda` of the grid before it is clipped. The label follows the cells that were
    really pasted. The paper's box is clipped at the border, so at alpha 1 it pastes 0.32 of a large
    image on average (0.31 at 32 x 32), not 0.50.

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
      >>> sorted(set(plan.opacity.tolist())), bool(0.6 < plan.lam.mean() < 0.8)
      ([0.0, 1.0], True)

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
        object.__setattr__(self, "minmax", shares("CutMix", "minmax", self.minmax, (0.2, 0.8)))

    def sample(self, request: Request) -> Paste:
        """One box per row, opacity 1."""
        return Paste(drawn_box(self, request)[1], *alike(request, 1, 0))


def shares(
    policy: str, name: str, given: Sequence[float], usual: tuple[float, float], least: float = 0
) -> tuple[float, float]:
    """(low, high) of a range of shares."""
    pair = tuple(given) if isinstance(given, Sequence | np.ndarray) else ()
    if not (all(map(is_number, pair)) and len(pair) == 2 and least <= pair[0] <= pair[1] <= 1):
        raise mix_error(
            policy, f"got {name}={given!r}.",
            f"It is (low, high), shares of a side, {least:g} <= low <= high <= 1.",
            f"The usual value is {usual}.",
        )  # fmt: skip
    return float(pair[0]), float(pair[1])


def drawn_box(policy: CutMix, request: Request) -> tuple[NDArray[np.float64] | None, Any]:
    """(lam as drawn [B], None with `minmax`; box int32 [B, A, 2], which clipping makes smaller)."""
    if not request.size:
        raise mix_error(
            "CutMix", "the draw has size={}, no axes.", "A box needs at least one axis to lie on.",
            "Use MixUp for tables, or cut columns with size={'C': columns} and layout 'NC'.",
        )  # fmt: skip
    rng, batch = request.rng, len(request.partner)
    size = np.array([*request.size.values()], np.int32)  # [A]
    if policy.minmax is not None:
        low, high = (np.floor(size * share) for share in policy.minmax)
        span = rng.random_sample((batch, len(size))) * (high - low + 1)
        return None, inside(rng, (low + span).astype(np.int32), size)
    lam = beta(rng, policy.alpha, batch)
    side = size * ((1 - lam) ** (1 / len(size)))[:, None]  # [B, A]
    if policy.placement == "inside":
        return lam, inside(rng, np.rint(side).astype(np.int32), size)
    return lam, _clipped(rng, side.astype(np.int32), size)


def _clipped(
    rng: np.random.RandomState, side: NDArray[np.int32], size: NDArray[np.int32]
) -> NDArray[np.int32]:
    """[B, A, 2]: boxes of `side` cells around a uniform centre, cut off at the border."""
    return around((rng.random_sample(side.shape) * size).astype(np.int32), side, size)


def around(
    centre: NDArray[np.int32], side: NDArray[np.int32], size: NDArray[np.int32]
) -> NDArray[np.int32]:
    """[B, A, 2]: boxes of `side` cells around `centre`, cut off at the border."""
    low = centre - (side >> 1)
    box = np.empty((*side.shape, 2), np.int32)
    np.maximum(low, 0, out=box[..., 0])
    np.minimum(low + side, size, out=box[..., 1])
    return box


def inside(
    rng: np.random.RandomState, side: NDArray[np.int32], size: NDArray[np.int32]
) -> NDArray[np.int32]:
    """[B, A, 2]: boxes of `side` cells at a uniform position among those that fit."""
    low = (rng.random_sample(side.shape) * (size - side + 1)).astype(np.int32)
    return np.stack([low, low + side], -1)
