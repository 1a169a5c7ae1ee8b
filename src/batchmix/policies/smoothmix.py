"""SmoothMix: the partner fades in around a centre."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from batchmix.policies._paste import Paste, Request, alike, whole
from batchmix.policies.cutmix import shares
from batchmix.policies.fmix import check_cells, grid_of, parts


@dataclass(frozen=True)
class SmoothMix:
    r"""Blend the partner in around a random centre, without edges.

    .. math:: x' = (1 - G) x + G x_p, \qquad
              G = \exp\Big(-\sum_a \frac{(u_a - c_a)^2}{2 \sigma^2}\Big), \qquad
              \lambda = 1 - \mathrm{mean}(G)

    with positions u and centre c as shares of each side, c uniform over the grid and
    :math:`\sigma \sim U(\text{sigma})`. On images the partner has 0.43 of the label on average.

    Args:
      sigma: (low, high), the width of the bump as shares of each side, 0.01..1.
      cells: the mask is drawn on so many cells per axis at most, and stretched; None draws every
        cell of the grid, at a cost that grows with them.

    Raises:
      MixError: a parameter out of range, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(SmoothMix(), bm.Key(seed=0), batch=256, size={"H": 32, "W": 32})
      >>> plan.mask.dtype, bool(0.5 < plan.lam.mean() < 0.65)
      (dtype('uint8'), True)

    Differs from: OpenMixup blends like this and hands each image the label share of the other
    (0.24 of the label wrong on average); the paper keeps the row itself inside the bump. One bump
    per row (wrap in `PerBatch` for one per batch). The mask has 256 levels. On a grid that is not
    square the bump has its proportions. For any number of axes.

    Source: Lee et al., SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust
    Classifiers, CVPR Workshops 2020
    """

    sigma: tuple[float, float] = (0.25, 0.5)
    cells: int | None = 64

    def __post_init__(self) -> None:
        sigma = shares("SmoothMix", "sigma", self.sigma, (0.25, 0.5), least=0.01)
        object.__setattr__(self, "sigma", sigma)
        check_cells("SmoothMix", self.cells)

    def sample(self, request: Request) -> Paste:
        """One bump per row; opacity 1, times the mask."""
        grid = grid_of("SmoothMix", self.cells, tuple(request.size.values()))
        rng, batch = request.rng, len(request.partner)
        low, high = self.sigma
        sigma = low + (high - low) * rng.random_sample((batch, 1))
        centre = rng.random_sample((batch, len(grid)))
        along = []  # for each axis [B, cells]
        for axis, cells in enumerate(grid):
            at = (np.arange(cells) + 0.5) / cells
            bump = np.exp(-0.5 * ((at - centre[:, axis, None]) / sigma) ** 2)
            bump = (np.rint(bump * 4096) / 4096).astype(np.float32)  # alike on every machine
            along.append(bump.reshape(batch, *[1] * axis, cells))
        mask = np.empty((batch, *grid), np.uint8)
        for rows in parts(batch, grid):
            bumps = [bump[rows] for bump in along]
            level = functools.reduce(lambda before, bump: before[..., None] * bump, bumps)
            level *= 255
            level += np.float32(0.5)
            mask[rows] = level
        return Paste(whole(request), *alike(request, 1, 0), mask=mask)
