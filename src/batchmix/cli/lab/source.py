"""Rows to look at: digits, or a folder of images or WAV files. Only the rows shown are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.data import SUFFIXES, check_classes, class_folders, decode, load


@dataclass(frozen=True, eq=False)  # a key of caches, by identity
class Source:
    """The training rows of a data set: their labels, and how to read some of them."""

    name: str  # as it was given
    form: Literal["image", "wave"]
    classes: tuple[str, ...]
    y: NDArray[np.int64]  # [N]
    read: Callable[[NDArray[np.int64]], NDArray[Any]]  # -> [n, H, W, C] or [n, T, C]
    files: tuple[str, ...] = ()  # relative to `folder`
    folder: Path = Path()
    shape: float | None = None  # asked for: N of N x N pixels, or seconds
    rate: int = 0  # of sound, in cells per second

    def choose(self, count: int, first: int = 0) -> NDArray[np.int64]:
        """Numbers of rows, in a fixed random order that takes the classes in turn."""
        order = np.random.default_rng(0).permutation(len(self.y))
        y = self.y[order]
        turn = np.empty(len(y), np.int64)  # how many rows of its class come before each row
        for label in np.unique(y):
            turn[y == label] = np.arange((y == label).sum())
        order = order[np.argsort(turn, kind="stable")]
        found: NDArray[np.int64] = np.roll(order, -first)[:count]
        return found


def open_source(name: str, image_size: int | None = None, seconds: float | None = None) -> Source:
    """A source by name: 'digits', a folder, or a data set of the Hugging Face hub."""
    folder = Path(name).expanduser()
    if name != "digits" and is_sound(folder):
        if image_size:
            raise _not_for("--image-size", image_size, name, "WAV files", "Leave it out.")
        return _sounds(name, folder, seconds)
    if seconds is not None:
        raise _not_for("--seconds", seconds, name, "images", "Leave it out.")
    if name != "digits" and folder.is_dir():
        return _images(name, folder, image_size)
    train = load(name, image_size)
    return Source(name, "image", train.classes, train.train.y, lambda rows: train.train.x[rows])


def is_sound(folder: Path) -> bool:
    """Whether it is a folder whose classes hold WAV files."""
    return folder.is_dir() and bool(_files(folder, {".wav"})[2])


def _files(folder: Path, suffixes: set[str]) -> tuple[Path, tuple[str, ...], list[Path]]:
    """The training part, its classes, and the files in them that have one of the suffixes."""
    parts, classes = class_folders(folder)
    top = parts["train"]
    found = [p for c in classes for p in sorted((top / c).iterdir())]
    return top, classes, [p for p in found if p.suffix.lower() in suffixes and p.is_file()]


def _images(name: str, folder: Path, image_size: int | None) -> Source:
    top, classes, files = _files(folder, SUFFIXES)
    check_classes(top, classes)

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return decode([(str(files[i]), files[i]) for i in rows], image_size)

    return _folder_source(name, "image", top, classes, files, read, image_size)


def _sounds(name: str, folder: Path, seconds: float | None) -> Source:
    """A folder of WAV files; a class without one is an error."""
    from batchmix.cli.lab.wave import check_seconds, decode_wave, rate_of

    check_seconds(seconds)
    top, classes, files = _files(folder, {".wav"})
    empty = set(classes) - {p.parent.name for p in files}
    if empty:
        raise mix_error(
            f"DATA {top / min(empty)}",
            "the class folder holds no WAV file.",
            "Each class is a folder of WAV files.",
            "Fill the folder or remove it.",
        )

    def read(rows: NDArray[np.int64]) -> NDArray[Any]:
        return decode_wave([files[i] for i in rows], seconds)

    return _folder_source(name, "wave", top, classes, files, read, seconds, rate_of(files[0]))


def _folder_source(
    name: str,
    form: Literal["image", "wave"],
    top: Path,
    classes: tuple[str, ...],
    files: list[Path],
    read: Callable[[NDArray[np.int64]], NDArray[Any]],
    shape: float | None,
    rate: int = 0,
) -> Source:
    """A source of files in class folders."""
    if len(classes) < 2:
        raise mix_error(
            f"DATA {name}",
            f"there is one class only, {classes[0]!r}.",
            "Classification needs at least two.",
            "Pass a folder that holds train/CLASS/* or CLASS/*, with several CLASS.",
        )
    number = {name: i for i, name in enumerate(classes)}
    y = np.array([number[p.parent.name] for p in files], np.int64)
    names = tuple(p.relative_to(top).as_posix() for p in files)
    return Source(name, form, classes, y, read, names, top, shape, rate)


def _not_for(option: str, value: object, name: str, what: str, fix: str) -> MixError:
    return mix_error(f"{option} {value}", f"{name} holds {what}.", "They have no such size.", fix)
