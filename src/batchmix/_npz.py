"""npz files that anybody may have written: an array is read once its header has been looked at.

However it is made, a file of N bytes takes at most N + 1 MiB of arrays and some 50 MB to look at.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._regular import check_regular

_SPARE = 2**20  # bytes that all arrays may have beyond those of the file: texts compress well
_PIECE = 2**20  # bytes; zipfile reads the list of members, thousands of them, at once
_HEADER = 1024  # bytes; those that NumPy writes have 128
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


class Header(NamedTuple):
    """What an array in a file says of itself."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Arrays:
    """The arrays of an open file, by name. Whatever is wrong with one is a ValueError."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        members = archive.infolist()
        twice = [name for name, n in Counter(m.filename for m in members).items() if n > 1]
        if twice:
            raise ValueError(f"it has {twice[0][:80]!r} twice")
        # refused by zipfile as it reads, after a warning or without, as the Python is
        if len({member.header_offset for member in members}) < len(members):
            raise ValueError("two of its members begin at one byte")
        self.names = [member.filename.removesuffix(".npy") for member in members]
        self._archive, self._left = archive, size + _SPARE

    def read(
        self, name: str, dtype: str | tuple[str, ...], shape: tuple[int | None, ...]
    ) -> NDArray[Any]:
        """The array of this name; `dtype` begins as "i4" or "U" do, or in one of several ways.

        None in a shape is any number of cells.
        """
        if name not in self.names:
            raise ValueError(f"it has no {name!r}")
        found = self._header(name)
        as_told = len(found.shape) == len(shape) and all(
            n >= 0 if wanted is None else n == wanted for n, wanted in zip(found.shape, shape)
        )
        if not (as_told and found.dtype.str[1:].startswith(dtype)):
            wanted = dtype if isinstance(dtype, str) else " or ".join(dtype)
            wanted += " " + str(shape).replace("None", "any")
            raise ValueError(
                f"{name!r} is {found.dtype.str[:40]} {str(found.shape)[:80]}, not {wanted}"
            )
        self._left -= found.dtype.itemsize * int(np.prod(found.shape, dtype=object))
        if self._left < 0:
            raise ValueError(f"{name!r} takes more bytes than the file has")
        with self._archive.open(f"{name}.npy") as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

    def _header(self, name: str) -> Header:
        """Read from the first bytes alone, as a header may say that it has 4 GB."""
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type not in _PLAIN:
            raise ValueError(f"{name!r} is compressed by method {info.compress_type}")
        with self._archive.open(info) as file:
            start = io.BytesIO(file.read(_HEADER))
        if np.lib.format.read_magic(start) != (1, 0):
            raise ValueError(f"{name!r} is not of version 1.0 of npy")
        shape, _, dtype = np.lib.format.read_array_header_1_0(start)
        return Header(dtype, shape)


class _Pieces(io.BufferedReader):
    """A file of which nothing large is read at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _PIECE:
            raise ValueError(f"its list of members has {size} bytes")
        return super().read(size)


@contextmanager
def open_npz(path: str | Path) -> Iterator[Arrays]:
    """The arrays of a file. Other errors than ValueError may come of a file that is none."""
    check_regular(path)
    with _Pieces(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        yield Arrays(archive, Path(path).stat().st_size)
