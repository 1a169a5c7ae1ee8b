"""ResizeMix: the whole partner, made small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Request, alike, whole
from batchmix.policies.cutmix import inside, shares

Resample = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class ResizeMix:
    r"""Paste the whole partner, made smaller, over a box of the row.

    .. math:: s_a = \max(1, \mathrm{round}(\tau n_a)), \qquad \tau \sim U(\text{scale}), \qquad
              \lambda = 1 - \prod_a s_a / n_a

    with one :math:`\tau` for all axes, so that the partner keeps its shape. Nothing of it is cut
    off: what its label says is there is there.

    Args:
      scale: (low, high), the sides of the box as shares of those of the grid, 0..1.
      resample: "bilinear", or "nearest", the nearest cell (which ids always take).

    Raises:
      MixError: a scale out of range, an unknown resample, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(ResizeMix(), bm.Key(seed=0), batch=256, size={"H": 32, "W": 32})
      >>> plan.source[0].tolist(), bool(0.33 < plan.lam.min() and plan.lam.max() < 1)
      ([[0, 32], [0, 32]], True)

    Differs from: the box lies inside, as in the paper; OpenMixup squeezes the partner into a box
    that was cut off at the border, which changes its shape. One box per row (wrap in `PerBatch` for
    one per batch). Bilinear without a filter, as PyTorch's `interpolate`: below half the size some
    cells of the partner have no part. For any number of axes.

    Source: Qin et al., ResizeMix, 2020, https://arxiv.org/abs/2012.11101
    """

    scale: tuple[float, float] = (0.1, 0.8)
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", shares("ResizeMix", "scale", self.scale, (0.1, 0.8)))
        check_resample("ResizeMix", self.resample)

    def sample(self, request: Request) -> Paste:
        """One box per row, the whole partner in it."""
        if not request.size:
            raise mix_error(
                "ResizeMix", "the draw has size={}, no axes.",
                "A partner is made smaller along its axes.", "Use MixUp for tables.",
            )  # fmt: skip
        size = np.array([*request.size.values()], np.int32)  # [A]
        low, high = self.scale
        tau = low + (high - low) * request.rng.random_sample(len(request.partner))
        side = np.maximum(np.rint(tau[:, None] * size), 1).astype(np.int32)  # [B, A]
        box = inside(request.rng, side, size)
        return Paste(box, *alike(request, 1, 0), source=whole(request), resample=self.resample)


def check_resample(policy: str, resample: str) -> None:
    """One of the two ways to stretch."""
    if resample not in ("nearest", "bilinear"):
        raise mix_error(
            policy, f"got resample={resample!r}.",
            "A partner is stretched by the nearest cell or linearly.",
            "Pass 'nearest' or 'bilinear'.",
        )  # fmt: skip
