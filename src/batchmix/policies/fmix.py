"""FMix: regions of any shape, from random waves."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import Paste, Request
from batchmix.policies.gridmix import highest, opaque
from batchmix.policies.mixup import beta, check_alpha

_FAINTEST = 256  # waves of less than this part of the strongest are left out
_LATTICE = 4096  # parts of 1 that waves are rounded to
_AT_ONCE = 1 << 16  # cells


@dataclass(frozen=True)
class FMix:
    r"""Paste regions of random shape: where a sum of random waves is high.

    .. math:: z = \sum_f g_f\, \max(|f|, 1/n)^{-\delta}\, w_f, \qquad
              \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with waves :math:`w_f` of frequency f in cycles per cell, random amplitudes :math:`g_f`, and n
    the longest side. The share :math:`1 - \lambda` of cells where z is highest shows the partner,
    to the nearest cell. The regions are smooth, large, and often several.

    Args:
      alpha: parameter of the Beta distribution of lam, > 0.
      decay: the power :math:`\delta`, 0.1 to 100; lower for smaller, more ragged regions.
      cells: the mask is drawn on so many cells per axis at most, and stretched. None draws every
        cell of the grid, at a cost that grows with them.

    Raises:
      MixError: a parameter out of range, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(FMix(), bm.Key(seed=0), batch=256, size={"H": 224, "W": 224})
      >>> plan.mask.shape, plan.mask.dtype, sorted(set(plan.mask.ravel().tolist()))
      ((256, 32, 32), dtype('uint8'), [0, 255])

    Differs from: one mask per row; the paper's code and OpenMixup draw one per batch, with scipy,
    for one size that is set beforehand. Labels follow the cells: theirs follow lam as drawn. Waves
    along each axis are equally strong; in their half spectrum those along the first axis alone have
    0.7 of the amplitude of the others. Amplitudes are sums of four bytes, not normal numbers, and
    waves fainter than 1/256 of the strongest are left out, so that all sums are of integers and a
    key gives one mask on every machine. For any number of axes; no soft edges. With another `cells`
    the regions are the same, drawn finer or coarser.

    Source: Harris et al., FMix, 2020, https://arxiv.org/abs/2002.12047
    """

    alpha: float = 1.0
    decay: float = 3.0
    cells: int | None = 32

    def __post_init__(self) -> None:
        check_alpha("FMix", self.alpha)
        if not (is_number(self.decay) and 0.1 <= self.decay <= 100):
            raise mix_error(
                "FMix", f"got decay={self.decay!r}.",
                "It is the power by which waves get fainter with their frequency, 0.1 to 100.",
                "The paper's is 3.",
            )  # fmt: skip
        check_cells("FMix", self.cells)

    def sample(self, request: Request) -> Paste:
        """One mask per row, opacity 1."""
        size = tuple(request.size.values())
        grid = grid_of("FMix", self.cells, size)
        rng, batch, cells = request.rng, len(request.partner), math.prod(grid)
        count = np.rint((1 - beta(rng, self.alpha, batch)) * cells).astype(np.intp)
        strength, waves = spectrum(size, grid, float(self.decay))
        amplitude = four_bytes(rng, (batch, *strength.shape))
        chosen = np.empty((batch, cells), bool)
        for rows in parts(batch, grid):
            z = summed(amplitude[rows] * strength, waves).reshape(-1, cells).astype(np.float32)
            z -= z.min(1, keepdims=True)
            z *= np.float32(65535) / np.maximum(z.max(1, keepdims=True), 1)
            chosen[rows] = highest(z.astype(np.uint16), count[rows])
        return opaque(request, chosen.reshape(batch, *grid))


def four_bytes(rng: np.random.RandomState, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Sums of four random bytes less their mean: whole numbers, and nearly normal."""
    bits = np.frombuffer(rng.bytes(4 * math.prod(shape)), "<u4")
    pairs = (bits & 0xFF00FF) + (bits >> 8 & 0xFF00FF)
    return ((pairs & 0xFFFF) + (pairs >> 16) - 510.0).reshape(shape)


def summed(z: NDArray[np.float64], waves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """[B, *grid]: the waves of each axis [k, cells] times their amplitudes [B, k, ...]."""
    for axis, wave in enumerate(waves):  # sums of integers below 2^53: exact, in any order
        if axis:  # as large as at first
            z /= _LATTICE
            np.rint(z, z)
        shape = (len(z), *z.shape[2:], wave.shape[1])
        # row by row: too small for the threads of BLAS, which would wait for each other
        z = z.reshape(len(z), len(wave), -1).transpose(0, 2, 1) @ wave
        z = z.reshape(shape)
    return z


@functools.lru_cache(64)
def spectrum(
    size: tuple[int, ...], grid: tuple[int, ...], decay: float
) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], ...]]:
    """Strengths [k, ...] of all products of waves; for each axis its waves [k, cells]."""
    longest, waves, squares = max(size), [], np.zeros(())
    for n, cells in zip(size, grid):
        top = int(_FAINTEST ** (1 / decay) * n / longest)
        k = np.arange(-min(top, cells // 2), min(top, (cells - 1) // 2) + 1)
        angle = np.outer(k, np.arange(cells)) % cells * (2 * np.pi / cells)
        # Hartley's waves: real, and of one length whatever the frequency
        waves.append(np.rint(_LATTICE * (np.cos(angle) + np.sin(angle))))
        squares = np.add.outer(squares, (k / n) ** 2)
    relative = np.maximum(np.sqrt(squares) * longest, 1)
    return np.rint(2**16 * relative**-decay), tuple(waves)


def check_cells(policy: str, cells: int | None) -> None:
    """A number of cells per axis, or None for all."""
    if cells is not None and not (is_whole(cells) and cells >= 1):
        raise mix_error(
            policy, f"got cells={cells!r}.",
            "A mask is drawn on so many cells per axis at most, a whole number >= 1, or None.",
            "Leave it out, or pass None to draw every cell.",
        )  # fmt: skip


def grid_of(policy: str, cells: int | None, size: tuple[int, ...]) -> tuple[int, ...]:
    """Cells of a mask on each axis."""
    if not size:
        raise mix_error(
            policy, "the draw has size={}, no axes.", "A mask lies on one or more axes.",
            "Use MixUp for tables, or Columns() with size={'C': columns}.",
        )  # fmt: skip
    return tuple(n if cells is None else min(int(cells), n) for n in size)


def parts(batch: int, grid: tuple[int, ...]) -> Iterator[slice]:
    """The rows, a few at a time: what is worked on stays in the cache."""
    step = max(1, _AT_ONCE // math.prod(grid))
    return (slice(k, k + step) for k in range(0, batch, step))
