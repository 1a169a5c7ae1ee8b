"""Sounds: waveforms and spectrograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchmix._energy import check_energy, mix_energy
from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.fields.grids import Grid


@dataclass(frozen=True)
class Audio(Grid):
    r"""A `Grid` that holds waveforms or spectrograms, such as "NCT" or "NHT".

    With `keep_energy`, what is blended is as loud as what is not:

    .. math:: x' = \frac{\sum_k w_k x_{p_k}}{\sqrt{\sum_k w_k^2}}

    cell by cell, with the weights :math:`w` of the row and of its partners there. Where one row
    alone shows, the divisor is 1: what is cut, and rows that are not mixed, stay what they are.
    Labels do not change.

    Args:
      layout: one letter per axis, batch first; a waveform has N, T and perhaps C.
      keep_energy: divide so, for waveforms. Blends of sounds that have nothing to do with each
        other are quieter than either; this makes up for it. Signed integers are saturated.

    Raises:
      MixError: a `keep_energy` that is not True or False; at the call with it, unsigned integers,
        whose silence is not 0.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 2]]] * 2, [0.5, 0.5], axes="T", size=(3,))
      >>> x = np.float32([[1, 1, 1], [1, 0, 0]])
      >>> Audio("NT", keep_energy=True)(x, plan)[0].round(3).tolist()
      [1.4140000343322754, 0.7070000171661377, 1.0]

    Differs from: other mixups are up to 3 dB too quiet, and how quiet says what lam was.

    Source: Tokozume, Ushiku, Harada, 2018, eq. 3, https://arxiv.org/abs/1711.10282
    """

    keep_energy: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.keep_energy, bool):
            raise mix_error(
                "Audio", f"got keep_energy={self.keep_energy!r}.",
                "It says whether blends are made as loud as what is not blended.",
                "Pass True or False.",
            )  # fmt: skip

    @property
    def hint(self) -> str:
        """What policies read it by: waveforms are "audio"."""
        return "audio" if set(self.layout) <= set("NCT") else "spectrogram"

    def __call__(self, value: Any, plan: Plan, other: Any = None, out: Any = None) -> Any:
        if self.keep_energy:
            return mix_energy(value, plan, self.layout, other=other, out=out)
        return super().__call__(value, plan, other, out)

    def check(self, value: Any, plan: Plan, other: Any = None) -> None:
        """Raise what the call with ``out=value`` would raise."""
        super().check(value, plan, other)
        if self.keep_energy:
            check_energy(value)
