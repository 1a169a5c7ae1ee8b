"""Decoded rows in one memory map that every process of a comparison reads."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._regular import check_regular
from batchmix.cli.lab.loading.augment import view_of
from batchmix.cli.lab.rows import Data, Rows
from batchmix.cli.lab.training import Training

_LIMIT = 2**30  # bytes
_PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Mapped:
    """Reads rows of a .npy file; a pickle holds its path alone."""

    path: Path

    @cached_property
    def x(self) -> NDArray[Any]:
        """All rows, read from the file where they are looked at."""
        found: NDArray[Any] = np.load(self.path, mmap_mode="r")
        return found

    def __call__(self, i: int) -> NDArray[Any]:
        return np.array(self.x[i])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


def cached(
    data: Data,
    training: Training,
    folder: Path,
    tell: Callable[[int, int], None] | None = None,
    used: Collection[str] | None = None,
) -> Data:
    """The same rows out of `folder`, decoded once; `data` as it is where they are not small.

    They are kept as evaluated where nothing is cropped out of the original, else as read. Needs one
    shape, at most 1 GB, and a fingerprint. `tell(done, total)` counts rows that are written.
    Only rows named in `used` are read, and can be read after; None: all that are not skipped.
    """
    from batchmix.cli.lab.loading.feed import Feed

    if not data.fingerprint or getattr(data.train.read, "x", None) is not None:
        return data
    parts = {name: part for name in _PARTS if (part := getattr(data, name)) is not None}
    good = {name: _readable(part, data, used) for name, part in parts.items()}
    sample = parts["train"].take(good["train"][:1])
    view = view_of(sample, data.form, training)
    original = view.crops or view.form != "image"
    if data.shape is None and (original or not training.image_size):
        return data
    plain = replace(training, augment="none", image_size=None if original else training.image_size)
    first = next(Feed(sample, data.form, plain, train=False).epoch(0)).x[0].numpy()
    shape = (sum(map(len, good.values())), *first.shape)
    if math.prod(shape) * first.itemsize > _LIMIT:
        return data
    kept = hashlib.sha256(f"{data.fingerprint} {data.form} {plain.image_size}".encode())
    for rows in good.values():
        kept.update(rows.tobytes())
    path = folder / f"rows-{kept.hexdigest()[:16]}.npy"
    if not _fits(path, shape, first.dtype):
        feeds = (
            Feed(part.take(good[name]), data.form, plain, train=False)
            for name, part in parts.items()
        )
        batches = (batch.x.numpy() for feed in feeds for batch in feed.epoch(0))
        _write(path, batches, shape, first.dtype, tell)
    offsets = np.cumsum([0, *map(len, good.values())])
    moved: dict[str, Any] = {
        name: _moved(part, Mapped(path), good[name], int(offset))
        for (name, part), offset in zip(parts.items(), offsets)
    }
    return replace(data, shape=first.shape, **moved)


def forget(folder: Path) -> None:
    """Remove the rows that are kept in `folder`, and the folder if nothing else is in it."""
    with suppress(OSError):
        for path in (*folder.glob("rows-*.npy"), *folder.glob(".rows-*.npy.*")):
            path.unlink()
        folder.rmdir()


def _readable(rows: Rows, data: Data, used: Collection[str] | None) -> NDArray[np.int64]:
    """The rows that are used and not skipped."""
    bad = {name for name, _ in data.skipped}
    good = (name not in bad and (used is None or name in used) for name in rows.names)
    return np.flatnonzero(np.fromiter(good, np.bool_, len(rows)))


def _moved(rows: Rows, read: Mapped, good: NDArray[np.int64], offset: int) -> Rows:
    """The same rows out of the file; the others are not in it."""
    picked = np.full(len(rows), len(read.x), np.int64)
    picked[good] = offset + np.arange(len(good))
    return replace(rows, read=read, picked=picked)


def _fits(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether there is a whole file of that shape."""
    try:
        check_regular(path)
        found = np.load(path, mmap_mode="r")  # its length is checked
    except (OSError, ValueError):
        return False
    return bool(found.shape == shape and found.dtype == dtype)


def _write(
    path: Path,
    batches: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    tell: Callable[[int, int], None] | None,
) -> None:
    """A .npy file that is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    done = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:  # not a map: a full disk is then an error, not a signal
            np.lib.format.write_array_header_2_0(file, header)
            for x in batches:
                file.write(x.tobytes())
                done += len(x)
                if tell:
                    tell(done, shape[0])
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise mix_error(
            f"{str(path.parent)!r}",
            f"decoded rows cannot be written ({error.strerror}).",
            f"They need {math.prod(shape) * dtype.itemsize / 2**20:.0f} MB.",
            "Free the disk or pass another folder.",
        ) from None
    finally:
        part.unlink(missing_ok=True)
