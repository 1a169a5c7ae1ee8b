"""BetweenClass: sounds mixed so that the drawn ratio is that of their loudness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from batchmix._columns import LATTICE
from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.policies._loudness import FLOOR, gains, waves_of
from batchmix.policies._paste import Paste, Request, alike, whole


@dataclass(frozen=True)
class BetweenClass:
    r"""Blend two sounds so that both are heard as the drawn ratio says, and label by that ratio.

    .. math:: x' = t x + (1 - t) x_p, \quad
              t = \frac{1}{1 + 10^{(g - g_p) / 20} \frac{1 - r}{r}}, \quad r \sim U(0, 1)

    with :math:`g` the gain in dB of the loudest window of about a tenth of a second, and the label
    :math:`r y + (1 - r) y_p`. So labels count **what is heard, not the opacity**: of a quiet row
    and a loud partner the row is blended in strongly. :math:`r` is a multiple of 1/4096. A row that
    is silent (-80 dB), or not finite, and one whose partner is, are left alone; where the opacity
    rounds to 0 or 1, the label is whole.

    The paper also divides by :math:`\sqrt{t^2 + (1 - t)^2}`, so that mixed sounds are as loud as
    others: that is the field's, ``Audio(layout, keep_energy=True)``. It takes partners of another
    class: ``pairing=OtherClass()``.

    Reads: "audio", waveforms [B, T] or [B, T, C], before mixing, on the host. Integers are scaled
    to -1..1; floats should lie there.

    Args:
      rate: cells per second, 100 or more.
      weighting: "A", the power of each frequency as the ear weighs it (IEC 61672), or None, the
        mean square.

    Raises:
      MixError: a parameter out of range; at the draw, anything but waveforms over time.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> x = np.sin(np.arange(8000) * [[0.5], [0.5]]) * [[1], [0.1]]
      >>> plan = bm.draw(BetweenClass(8000), bm.Key(0), 2, {"T": 8000}, hints={"audio": x})
      >>> [column.astype(float).round(2).tolist() for column in (plan.lam, plan.label_lam)]
      [[0.82, 0.85], [0.98, 0.36]]

    Differs from: the paper's code knows two rates, with windows of 2048 cells at 16 kHz and 4096 at
    44.1 kHz; these are the powers of two that are nearest to a tenth of a second, and so are those
    of other rates. A clip shorter than a window is one window.

    Source: Tokozume, Ushiku, Harada, Learning from Between-class Examples for Deep Sound
    Recognition, 2018, eq. 1 to 3, https://arxiv.org/abs/1711.10282
    """

    rate: float
    weighting: Literal["A"] | None = "A"
    reads: ClassVar[tuple[str, ...]] = ("audio",)

    def __post_init__(self) -> None:
        rate = is_number(self.rate) and 100 <= self.rate < 1e7
        if not (rate and self.weighting in ("A", None)):
            raise mix_error(
                "BetweenClass", f"got rate={self.rate!r} and weighting={self.weighting!r}.",
                "rate counts cells per second, 100 or more; weighting is 'A' or None.",
                "Pass for example BetweenClass(16000).",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """One ratio per row, the box the whole grid."""
        own, theirs = waves_of("BetweenClass", request)
        ratio = request.rng.randint(1, LATTICE, len(request.partner)) / LATTICE
        mine = gains(own, self.rate, self.weighting)
        other = gains(theirs, self.rate, self.weighting)[request.partner]
        heard = np.isfinite(mine) & np.isfinite(other) & (mine > FLOOR) & (other > FLOOR)
        louder = np.where(heard, mine, 0) - np.where(heard, other, 0)
        own_part = 1 / (1 + 10 ** (louder / 20) * (1 - ratio) / ratio)
        opacity = np.where(heard, np.rint((1 - own_part) * LATTICE) / LATTICE, 0)
        both = (opacity > 0) & (opacity < 1)
        kind = np.where(heard, alike(request, 1, 0)[1], -1).astype(np.int8)
        label = np.where(both, ratio, np.nan)
        return Paste(whole(request), opacity, kind, label_lam=label)
