"""WAV files as clips of equal length: waves, or log-mel spectrograms."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.data.images import Header
from batchmix.cli.lab.data.names import bad_file, reason

LONGEST = 10.0  # seconds of a clip whose length is not given
MOST_CELLS = 64_000_000
_LOUDEST = 2**32  # of floats; 1 is usual, 2^31 where integers were copied. Spectra are squares
_CHUNKS = 1000  # of a file, up to its samples; most have 2
_SAMPLE = 1000  # files whose headers tell the median length
_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RULE = "WAV files of 8, 16, 24 or 32-bit integers, or of floats, are read."
Sound = Literal["mel", "wave"]


class WaveHeader(NamedTuple):
    """What stands in front of the samples."""

    rate: int  # cells per second
    channels: int
    code: str  # of NumPy, little-endian; "u1" and "i3" are scaled
    start: int  # bytes
    cells: int

    @property
    def dtype(self) -> str:
        """Of the clip as it is read."""
        return "int16" if self.code in ("u1", "<i2") else "float32"


class Form(NamedTuple):
    """What all files of a data set have in common."""

    rate: int
    channels: int
    dtype: str
    cells: int  # of a clip


@dataclass(frozen=True)
class Sounds:
    """Reads the WAV files of a folder; shorter ones are followed by silence, longer ones cut."""

    root: str
    names: list[str]
    sound: Sound
    form: Form

    def __call__(self, i: int) -> NDArray[Any]:
        """int16 or float32 [T, C]; of sound "mel", float32 [mel, frames, 1]."""
        clip = self._clip(i)
        if self.sound == "wave":
            return clip
        from batchmix.cli.lab.data.mel import log_mel

        mono = clip.mean(1, dtype=np.float32) / (32768 if clip.dtype == np.int16 else 1)
        return log_mel(mono, self.form.rate)[..., None]

    def check(self, i: int, pixels: bool) -> Header:
        """Raise what reading row i would raise; without pixels, only what its header tells."""
        if pixels:
            self._clip(i)
        else:
            self._header(i)
        if self.sound == "wave":
            return Header((self.form.cells, self.form.channels))
        from batchmix.cli.lab.data.mel import shape

        return Header((*shape(self.form.cells, self.form.rate), 1))

    def _clip(self, i: int) -> NDArray[Any]:
        header = self._header(i)
        clip = _samples(self._path(i), header, min(header.cells, self.form.cells))
        return np.pad(clip, ((0, self.form.cells - len(clip)), (0, 0)))

    def _header(self, i: int) -> WaveHeader:
        """The header, if the file has the form of the others."""
        found, form = read_header(self._path(i)), self.form
        if found.rate != form.rate or (
            self.sound == "wave" and (found.channels, found.dtype) != (form.channels, form.dtype)
        ):
            raise bad_file(
                self._path(i),
                f"it has {found.rate} Hz, {found.channels} channels of {found.dtype}; the first "
                f"has {form.rate} Hz, {form.channels} channels of {form.dtype}.",
                "The rows of a batch have one form.",
                "Convert the files to one form.",
            )
        return found

    def _path(self, i: int) -> str:
        return str(Path(self.root, self.names[i]))


def form_of(root: str, names: Sequence[str], seconds: float | None) -> tuple[Form, tuple[str, ...]]:
    """The form of the first file that can be read, and what there is to say of the length.

    Without `seconds` it is the median of the files; of 1,000 of them where there are more.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise mix_error(
            "--seconds", f"got {seconds}.", "It is the length of every clip.", "Try --seconds 1."
        )
    step = 1 if seconds is not None else max(1, len(names) // _SAMPLE)
    first: WaveHeader | None = None
    lengths: list[float] = []
    wrong: MixError | None = None
    for name in names[::step]:
        try:
            found = read_header(str(Path(root, name)))
        except MixError as error:
            wrong = wrong or error
            continue
        first = first or found
        if seconds is not None:
            break
        lengths.append(found.cells / found.rate)
    if first is None:
        raise wrong or mix_error("DATA", "there is no WAV file.", _RULE, "Pass a folder of them.")
    notes: tuple[str, ...] = ()
    if seconds is None:
        seconds = min(float(np.median(lengths)), LONGEST)
        short = "the median of the files" if seconds < LONGEST else "at most that without --seconds"
        notes = (f"sounds last {seconds:.2f} s each, {short}",)
    cells = max(1, round(seconds * first.rate))
    if cells * first.channels > MOST_CELLS:
        raise mix_error(
            "--seconds",
            f"got {seconds:g}, which is {cells} cells of {first.channels} channels.",
            f"A row has at most {MOST_CELLS} cells.",
            "Try --seconds 1.",
        )
    return Form(first.rate, first.channels, first.dtype, cells), notes


def read_header(path: str) -> WaveHeader:
    """The header of a WAV file, or a MixError that names the file."""
    try:
        with Path(path).open("rb") as file:
            found = _parse(file, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError, struct.error) as error:
        raise _broken(path, reason(error)) from None
    if found.cells < 1:
        raise bad_file(path, "the sound has no samples.", "A row has a cell at least.")
    return found


def _parse(file: IO[bytes], size: int) -> WaveHeader:
    """Walk over the chunks up to the samples; a ValueError says what is wrong."""
    if size < 12 or struct.unpack("<4s4x4s", file.read(12)) != (b"RIFF", b"WAVE"):
        raise ValueError("it does not begin as a WAV file")
    form: tuple[int, ...] | None = None
    for _ in range(_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it ends before its samples")
        name, length = struct.unpack("<4sI", head)
        start = file.tell()
        if name == b"fmt ":
            form = struct.unpack("<HHIIHH", file.read(16))
            if form[0] == _EXTENSIBLE:  # the form proper begins the GUID
                form = (*struct.unpack("<8xH", file.read(10)), *form[1:])
        elif name == b"data":
            break
        file.seek(start + length + length % 2)
    else:
        raise ValueError(f"its samples do not come within {_CHUNKS} chunks")
    if form is None:
        raise ValueError("its samples come before their form")
    kind, channels, rate, _, block, bits = form
    codes = {8: "u1", 16: "<i2", 24: "i3", 32: "<i4"}
    code = {_INTEGER: codes, _FLOAT: {32: "<f4", 64: "<f8"}}.get(kind, {}).get(bits)
    if code is None:
        raise ValueError(f"form {kind} of {bits} bits")
    if not 1 <= channels <= 64 or block != channels * bits // 8:
        raise ValueError(f"{channels} channels in blocks of {block} bytes")
    if not 100 <= rate <= 10_000_000:
        raise ValueError(f"{rate} cells per second")
    if start + length > size:
        raise ValueError(f"{start + length - size} bytes are missing at its end")
    return WaveHeader(rate, channels, code, start, length // block)


def _samples(path: str, header: WaveHeader, cells: int) -> NDArray[Any]:
    """The first cells, int16 or float32 [cells, channels]; floats and wide integers in -1..1."""
    width, count = int(header.code[-1]), cells * header.channels
    try:
        with Path(path).open("rb") as file:
            file.seek(header.start)
            raw = np.frombuffer(file.read(count * width), np.uint8)
    except OSError as error:
        raise _broken(path, reason(error)) from None
    if len(raw) != count * width:
        raise _broken(path, "it became shorter while it was read")
    clip: NDArray[Any]
    if header.code == "i3":  # as the high bytes of 32 bits
        wide = np.zeros((count, 4), np.uint8)
        wide[:, 1:] = raw.reshape(count, 3)
        clip = wide.view("<i4")[:, 0] / np.float32(2**31)
    elif header.code == "u1":
        clip = (raw.astype(np.int16) - 128) * np.int16(256)
    else:
        clip = raw.view(header.code)
    if header.code == "<i4":
        clip = clip / np.float64(2**31)
    if header.dtype == "float32" and not (np.abs(clip) <= _LOUDEST).all():
        rule = f"Samples are finite, and at most {_LOUDEST}."
        raise bad_file(path, "a sample is NaN or infinite, or larger than any sound.", rule)
    clip = clip.astype(header.dtype)
    return clip.reshape(cells, header.channels)


def _broken(path: str, why: str) -> MixError:
    return bad_file(path, f"the sound cannot be decoded ({why}).", _RULE)
