"""How loud waveforms are, for policies that mix by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.policies._paste import Request

FLOOR = -80.0  # dB; what is not louder is silent
_AT_ONCE = 1 << 22  # cells that are looked at together


def waves_of(where: str, request: Request) -> tuple[NDArray[Any], NDArray[Any]]:
    """The waveforms of the rows and of the partners' batch, [B, T] or [B, T, C]."""
    found = request.hints["audio"], request.theirs["audio"]
    for waves in found:
        fits = waves.ndim in (2, 3) and (*request.size.values(),) == waves.shape[1:2]
        if tuple(request.size) != ("T",) or not fits or waves.dtype.kind not in "iuf":
            raise mix_error(
                where, f"the hint 'audio' has shape {waves.shape} and dtype {waves.dtype}; the "
                f"draw has size={dict(request.size)}.",
                "Loudness is measured of waveforms, [B, T] or [B, T, C]; a spectrogram has lost "
                "what adds up.",
                "Mix the waves over time, size={'T': cells}, and make spectrograms of the result.",
            )  # fmt: skip
    return found


def rms(waves: NDArray[Any], content: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """[B]: root of the mean square over time and channels, or over the cells with content."""
    found = np.empty(len(waves))
    for rows in _slices(waves):
        power = _power(_samples(waves[rows]))
        if content is None:
            found[rows] = np.sqrt(power.mean(1))
        else:
            there = content[rows] != 0
            cells = np.maximum(there.sum(1), 1)
            found[rows] = np.sqrt(np.where(there, power, 0).sum(1) / cells)
    return found


def gains(waves: NDArray[Any], rate: float, weighting: str | None) -> NDArray[np.float64]:
    """[B]: dB of the loudest window, at least `FLOOR`; windows overlap by half."""
    window = window_of(rate)
    found = np.empty(len(waves))
    weights = a_weights(rate, window) if weighting else None
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    for rows in _slices(waves):
        some = _samples(waves[rows])
        short = max(0, window - some.shape[1])
        ends = short // 2, short - short // 2  # in the middle, where the window looks
        some = np.pad(some, [(0, 0), ends, *[(0, 0)] * (some.ndim - 2)])
        power = np.zeros(len(some))
        some = np.where(np.isfinite(some), some, np.nan)  # no product warns of it
        for start in range(0, some.shape[1] - window + 1, window // 2):
            part = some[:, start : start + window]
            if weights is None:
                here = _power(part).mean(1)
            else:
                lines = np.abs(np.fft.rfft(part * _along(shape, part), axis=1)) ** 2
                here = (_power(lines, 1) * weights).sum(1)
            power = np.maximum(power, here)
        found[rows] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))
    return found


def window_of(rate: float) -> int:
    """Cells of a window: the power of two that is nearest to a tenth of a second."""
    return 1 << max(1, round(math.log2(rate / 10)))


def a_weights(rate: float, window: int) -> NDArray[np.float64]:
    """Factors of the power of each line of the spectrum: A-weighting, at least `FLOOR`."""
    square = np.linspace(0, rate / 2, window // 2 + 1) ** 2
    square[0] = 1
    gain = 12194.0**2 * square**2 / ((square + 12194.0**2) * (square + 20.6**2))
    gain /= np.sqrt((square + 107.7**2) * (square + 737.9**2))
    return np.asarray(10 ** (np.maximum(2 + 20 * np.log10(gain), FLOOR) / 10))


def _samples(waves: NDArray[Any]) -> NDArray[np.float64]:
    """In -1..1 of integers, where 0 is the middle of their range; else as they are."""
    if waves.dtype.kind == "f":
        return waves.astype(np.float64)
    info = np.iinfo(waves.dtype)
    middle = (int(info.max) + int(info.min) + 1) // 2
    return (waves.astype(np.float64) - middle) / (int(info.max) - middle + 1)


def _power(values: NDArray[np.float64], exponent: int = 2) -> NDArray[np.float64]:
    """[B, n]: mean over the channels."""
    power = values**exponent
    return power if power.ndim == 2 else np.asarray(power.mean(2))


def _along(shape: NDArray[np.float64], part: NDArray[Any]) -> NDArray[np.float64]:
    return shape[None, :] if part.ndim == 2 else shape[None, :, None]


def _slices(waves: NDArray[Any]) -> list[slice]:
    step = max(1, _AT_ONCE // max(1, waves[:1].size))
    return [slice(k, k + step) for k in range(0, len(waves), step)]
