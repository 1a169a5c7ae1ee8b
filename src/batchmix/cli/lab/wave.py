"""WAV files as one array of clips of equal length."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error


def check_seconds(seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds < float("inf"):
        raise mix_error(
            "--seconds", f"got {seconds}.", "It is the length of every clip.", "Try --seconds 1."
        )


def rate_of(file: Path) -> int:
    """Cells per second."""
    return _read(file)[0]


def decode_wave(files: Sequence[Path], seconds: float | None) -> NDArray[Any]:
    """int16 or float32 [N, T, C]; shorter clips are followed by silence, longer ones cut."""
    rate, first = _read(files[0])
    clips: list[NDArray[Any]] = []
    for file in files:
        found, clip = _read(file)
        if (found, clip.dtype, clip.shape[1]) != (rate, first.dtype, first.shape[1]):
            raise _differ(
                file,
                f"it has {found} Hz, {clip.shape[1]} channels of {clip.dtype}; the first has "
                f"{rate} Hz, {first.shape[1]} channels of {first.dtype}",
                "Convert the files to one form.",
            )
        if seconds is not None:
            cells = max(1, round(seconds * rate))
            clip = np.pad(clip[:cells], ((0, max(0, cells - len(clip))), (0, 0)))
        if clips and len(clip) != len(clips[0]):
            raise _differ(
                file,
                f"it lasts {len(clip) / rate:.2f} s, the first {len(clips[0]) / rate:.2f} s",
                "Give --seconds, for example --seconds 1: shorter ones are followed by silence.",
            )
        clips.append(clip)
    return np.stack(clips)


def _read(file: Path) -> tuple[int, NDArray[Any]]:
    """(rate, int16 or float32 [T, C])."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            # an error for a file that ends too early, but not for chunks such as names of songs
            warnings.simplefilter("error", wavfile.WavFileWarning)
            warnings.filterwarnings("ignore", "Chunk .* not understood", wavfile.WavFileWarning)
            rate, clip = wavfile.read(file)
    except (
        # what scipy raises, the last two for a file that ends within its header
        OSError, ValueError, wavfile.WavFileWarning, struct.error, UnboundLocalError,
    ) as error:  # fmt: skip
        raise mix_error(
            f"DATA {file}",
            f"the sound cannot be decoded ({error}).",
            "Every file with the suffix .wav is read.",
            "Repair or remove it.",
        ) from None
    if clip.dtype not in (np.int16, np.float32):
        raise mix_error(
            f"DATA {file}",
            f"its samples are {clip.dtype}.",
            "WAV files of 16-bit integers or 32-bit floats are read.",
            "Convert it to 16 bits.",
        )
    return int(rate), clip.reshape(len(clip), -1)


def _differ(file: Path, how: str, fix: str) -> MixError:
    return mix_error(f"DATA {file}", f"{how}.", "The rows of a batch have one form.", fix)
