"""SpecMix: bands of time and of frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import Paste, Request
from batchmix.policies.gridmix import opaque


@dataclass(frozen=True)
class SpecMix:
    r"""Paste bands of the partner, whole along the other axes: times, and frequencies.

    .. math:: M = \bigcup_a \bigcup_{j \le k_a} \{ c : s_{aj} \le c_a < s_{aj} + w_a \}, \quad
              k_a \sim U\{0, \ldots, \mathrm{bands}\}, \quad
              w_a = \lfloor \mathrm{width} \cdot n_a \rfloor

    for each axis :math:`a` of :math:`n_a` cells; a band starts anywhere where it fits, and bands
    may overlap. The label counts the cells of the mask. No band at all leaves the row alone.

    A spectrogram has the axes H (or F) and T; a `Mixer` is told so, ``axes="HT"``. Of a waveform
    bands are spans of time.

    Args:
      bands: most bands along each axis, 1 to 64.
      width: of a band, as a share of its axis, 0..1; a cell at least.

    Raises:
      MixError: a parameter out of range, or a draw without axes.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(SpecMix(), bm.Key(seed=0), batch=64, size={"H": 64, "T": 100})
      >>> plan.mask.shape, bool((plan.lam > 0.5).all())
      ((64, 64, 100), True)

    Differs from: the authors' code draws at most two bands of an axis, ``bands=2``, which do not
    start in the last cell that fits, and bands of a tenth of the axis, the default here.

    Source: Kim, Han, Ko, SpecMix, 2021, https://arxiv.org/abs/2108.03020
    """

    bands: int = 3
    width: float = 0.1

    def __post_init__(self) -> None:
        bands = is_whole(self.bands) and 1 <= self.bands <= 64
        if not (bands and is_number(self.width) and 0 < self.width <= 1):
            raise mix_error(
                "SpecMix", f"got bands={self.bands!r} and width={self.width!r}.",
                "bands counts those of an axis at most, 1 to 64; width is a share of it, above 0.",
                "The usual values are bands=3 and width=0.1.",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """As many starts as there may be bands on each axis; the first `k` count."""
        if not request.size:
            raise mix_error(
                "SpecMix", "the draw has size={}, no axes.", "Bands lie along axes.",
                "Draw with size={'H': bands, 'T': frames}; a Mixer takes axes='HT'.",
            )  # fmt: skip
        batch, axes = len(request.partner), len(request.size)
        chosen = np.zeros((batch, *[1] * axes), bool)
        for axis, n in enumerate(request.size.values()):
            shape = [batch, *[1] * axes]
            shape[axis + 1] = n
            chosen = chosen | self._on(n, batch, request.rng).reshape(shape)
        return opaque(request, np.ascontiguousarray(chosen))

    def _on(self, n: int, batch: int, rng: np.random.RandomState) -> NDArray[np.bool_]:
        """[B, n]: the cells of an axis that are in a band."""
        width = max(1, int(self.width * n + 1e-9))  # 0.29 * 100 is a little less than 29
        count = rng.randint(0, self.bands + 1, batch)
        start = (rng.random_sample((batch, self.bands)) * (n - width + 1)).astype(np.int64)
        at = np.arange(n)
        found = np.zeros((batch, n), bool)
        for k in range(self.bands):
            low = start[:, k, None]
            found |= (at >= low) & (at < low + width) & (k < count[:, None])
        return found
