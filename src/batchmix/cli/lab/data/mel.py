"""Log-mel spectrograms.

mel(f) = 2595 log10(1 + f / 700), as in HTK; 64 triangles of height 1, evenly spaced in mel from 0
to half the rate; Hann windows of 25 ms, 10 ms apart, padded to the power of two that is at least
twice as long; log(power / that of the clip's loudest cell + 1e-5), so that neither the distance to
the microphone nor what lies 50 dB below the loudest sound counts.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

MELS, FLOOR = 64, 1e-5


def shape(cells: int, rate: int) -> tuple[int, int]:
    """(mel, frames) of a clip."""
    window, hop, _ = _lengths(rate)
    return MELS, 1 + max(0, cells - window) // hop


def cells_of(frames: int, rate: int) -> int:
    """The fewest cells that give so many frames."""
    window, hop, _ = _lengths(rate)
    return window + (frames - 1) * hop


def log_mel(clip: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """[T] -> float32 [mel, frames], at most 0; frame t begins at cell t * hop."""
    from scipy.signal import spectrogram

    window, hop, length = _lengths(rate)
    clip = np.pad(clip, (0, max(0, window - len(clip))))
    _, _, power = spectrogram(
        clip, rate, "hann", window, window - hop, length,
        detrend=False, scaling="spectrum", mode="psd",
    )  # fmt: skip
    # not a matrix product: its threads would fight with the workers that decode
    bands = np.einsum("mf,ft->mt", filters(rate), power)
    return np.asarray(np.log(bands / (bands.max() or 1) + FLOOR), np.float32)


@cache
def filters(rate: int) -> NDArray[np.float32]:
    """[mel, frequencies]: how much of each frequency's power a band takes."""
    bins = np.linspace(0, rate / 2, _lengths(rate)[2] // 2 + 1)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, MELS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    up, down = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.clip(np.minimum(up, down), 0, None).astype(np.float32)


def _lengths(rate: int) -> tuple[int, int, int]:
    """Cells of a window, from window to window, and of the transform."""
    window, hop = max(2, round(rate / 40)), max(1, round(rate / 100))
    return window, hop, 2 ** int(np.ceil(np.log2(2 * window)))
