"""SNR: the partner as noise, so many decibels below the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.policies._loudness import rms, waves_of
from batchmix.policies._paste import Paste, Request, alike, whole


@dataclass(frozen=True)
class SNR:
    r"""Add the partner to the row at a signal-to-noise ratio that is drawn in decibels.

    .. math:: x' = \frac{x + g\, x_p}{1 + g}, \quad
              g = \frac{\mathrm{rms}(x)}{\mathrm{rms}(x_p)} 10^{-s / 20}, \quad s \sim U(low, high)

    The opacity is :math:`g / (1 + g)`, a multiple of 1/4096, so that a partner of like loudness is
    heard down to some -60 dB. Labels follow the opacity; where all that can be heard is to count in
    full, ``Labels(rule="union")``. A row that is silent, or not finite, and one whose partner is,
    are left alone.

    Reads: "audio", waveforms [B, T] or [B, T, C], before mixing, on the host. Padding counts as
    silence; inside of an `Unpadded` only content is measured.

    Args:
      low, high: range of the ratio in dB, -60 to 60. At 0 both are as loud; below 0 the partner is
        louder.

    Raises:
      MixError: a range that is none; at the draw, anything but waveforms over time.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> x = np.float32([[0.5, -0.5] * 4, [0.25, -0.25] * 4])
      >>> plan = bm.draw(SNR(0, 0), bm.Key(0), 2, {"T": 8}, hints={"audio": x})
      >>> plan.opacity.astype(float).round(3).tolist()
      [0.667, 0.333]

    Differs from: torch-audiomentations' Mix is ``x + g x_p``, 1 + g times as loud; its partner may
    be the row itself. ``mix_target="union"`` is the rule of `Labels`, and ``"original"`` a label
    that is kept.

    Source: Mix of torch-audiomentations, https://github.com/asteroid-team/torch-audiomentations
    """

    low: float = 0.0
    high: float = 5.0
    reads: ClassVar[tuple[str, ...]] = ("audio",)

    def __post_init__(self) -> None:
        ends = self.low, self.high
        if not (all(map(is_number, ends)) and -60 <= self.low <= self.high <= 60):
            raise mix_error(
                "SNR", f"got low={self.low!r} and high={self.high!r}.",
                "The ratio lies between the two, in dB, -60 <= low <= high <= 60.",
                "Pass for example SNR(0, 5).",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """One ratio per row, the box the whole grid."""
        own, theirs = waves_of("SNR", request)
        drawn = request.rng.random_sample(len(request.partner))
        ratio = self.low + (self.high - self.low) * drawn
        mine = rms(own, request.hints.get("padding"))
        other = rms(theirs, request.theirs.get("padding"))[request.partner]
        heard = np.isfinite(mine) & np.isfinite(other) & (mine > 0) & (other > 0)
        quiet = np.where(heard, other, 1) * 10 ** (ratio / 20)
        opacity = np.where(heard, mine, 0) / (np.where(heard, mine, 0) + quiet)
        kind = alike(request, 1, 0)[1]
        return Paste(whole(request), opacity, np.where(heard, kind, -1).astype(np.int8))
