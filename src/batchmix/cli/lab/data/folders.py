"""Which files a folder holds: parts, classes, and what is left out."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix.cli._output import shown
from batchmix.cli.lab.data.names import bad_file, reason
from batchmix.cli.lab.rows import UNLABELLED

IMAGES = {"bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"}
SOUNDS = {"wav"}
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_RULE = "Each class is a folder of images or WAV files, the same ones in every part."
_FIX = "Pass a folder that holds train/CLASS/* or CLASS/*."
Media = Literal["image", "sound"]


class Listing(NamedTuple):
    """The files of a part."""

    names: list[str]  # relative to the folder that was given
    sizes: list[int]  # in bytes; -1: a link to nothing
    y: NDArray[Any]  # see Task


class Found(NamedTuple):
    """What a folder holds. A flat one has one part, train, of one class that stands for none."""

    media: Media
    classes: tuple[str, ...]
    parts: dict[str, Listing]
    ignored: Counter[str]

    def note(self) -> tuple[str, ...]:
        """One line about what is left out, if anything is."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.ignored.items()))
        return (f"not read: {kinds}",) if kinds else ()


_File = tuple[str, int]  # name, bytes
_Files = dict[Media, list[_File]]


def media_of(name: str) -> Media | None:
    """What the suffix says."""
    suffix = name.rpartition(".")[2].lower()
    return "image" if suffix in IMAGES else "sound" if suffix in SOUNDS else None


def scan(root: str) -> Found:
    """List a folder with train/CLASS/* and, if there, val/ and test/; or CLASS/*; or * alone."""
    ignored: Counter[str] = Counter()
    top, files = _open(root, "", ignored)
    parts = _parts(root, top)
    if "train" in parts:
        _leave_out(files, ignored)
        ignored["folders that are no part"] += len(top) - len(parts)
        inside = {part: _open(root, name, ignored) for part, name in parts.items()}
    else:
        parts, inside = {"train": ""}, {"train": (top, files)}
    classes = inside["train"][0]
    if not classes and any(inside["train"][1].values()):
        return _flat(inside["train"][1], ignored)
    if not classes:
        raise bad_file(
            f"{root}/{parts['train']}".rstrip("/"), "it holds no class folders.", _RULE, _FIX
        )
    held: dict[str, dict[str, _Files]] = {}
    for part, (folders, loose) in inside.items():
        _leave_out(loose, ignored)
        held[part] = {}
        for name in folders:
            where = f"{parts[part]}/{name}".lstrip("/")
            nested, held[part][name] = _open(root, where, ignored)
            ignored["folders inside class folders"] += len(nested)
    media = _larger([files for part in held.values() for files in part.values()])
    listings = {
        part: _listing(root, parts[part], found, classes, media) for part, found in held.items()
    }
    for some in held.values():
        for files in some.values():
            ignored["files of other kinds"] += sum(len(f) for m, f in files.items() if m != media)
    return Found(media, tuple(map(shown, classes)), listings, +ignored)


def _parts(root: str, folders: Sequence[str]) -> dict[str, str]:
    """The folders that are parts, train first."""
    found: dict[str, str] = {}
    for name in folders:
        part = PARTS.get(name)
        if part in found:
            raise bad_file(
                f"{root}/{name}",
                f"{found[part]!r} beside it is the same part.",
                "A part is one folder.",
                "Remove one of the two.",
            )
        if part:
            found[part] = name
    return {part: found[part] for part in ("train", "val", "test") if part in found}


def _open(root: str, inside: str, ignored: Counter[str]) -> tuple[list[str], _Files]:
    """The folders and the files of a folder, sorted; what is neither is counted."""
    folders: list[str] = []
    files: _Files = {"image": [], "sound": []}
    for name, mode, size in _entries(f"{root}/{inside}" if inside else root):
        media = media_of(name)
        if name.startswith("."):
            ignored["hidden files"] += 1
        elif stat.S_ISDIR(mode):
            folders.append(name)
        elif mode and not stat.S_ISREG(mode):
            ignored["pipes, sockets or devices"] += 1
        elif media:
            files[media].append((f"{inside}/{name}".lstrip("/"), size))
        else:
            ignored["files of other kinds" if mode else "broken links"] += 1
    return folders, files


def _entries(folder: str) -> Iterator[tuple[str, int, int]]:
    """(name, mode, bytes) of what a folder holds, sorted by name; mode 0: a link to nothing."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise bad_file(
            folder, f"the folder cannot be opened ({reason(error)}).", _RULE, "Make it readable."
        ) from None
    for entry in entries:
        try:
            seen = entry.stat()
            yield entry.name, seen.st_mode, seen.st_size
        except OSError:
            yield entry.name, 0, -1


def _leave_out(files: _Files, ignored: Counter[str]) -> None:
    ignored["files beside the class folders"] += sum(map(len, files.values()))


def _larger(files: Sequence[_Files]) -> Media:
    """Of images and sounds, what there is more of."""
    count = {media: sum(len(some[media]) for some in files) for media in ("image", "sound")}
    return "sound" if count["sound"] > count["image"] else "image"


def _flat(files: _Files, ignored: Counter[str]) -> Found:
    media = _larger([files])
    ignored["files of other kinds"] += sum(len(f) for m, f in files.items() if m != media)
    names, sizes = zip(*files[media])
    listing = Listing(list(names), list(sizes), np.zeros(len(names), np.int64))
    return Found(media, UNLABELLED.names, {"train": listing}, +ignored)


def _listing(
    root: str, part: str, held: dict[str, _Files], classes: Sequence[str], media: Media
) -> Listing:
    """The files of a part, class by class."""
    number = {name: i for i, name in enumerate(classes)}
    names: list[str] = []
    sizes: list[int] = []
    counts = np.zeros(len(classes), np.int64)
    for name, files in held.items():
        if name not in number or not files[media]:
            raise _no_class("/".join(filter(None, (root, part, name))), name in number, media)
        counts[number[name]] = len(files[media])
        for file, size in files[media]:
            names.append(file)
            sizes.append(size)
    order = np.array([number[name] for name in held], np.int64)
    return Listing(names, sizes, np.repeat(order, counts[order]))


def _no_class(where: str, known: bool, media: Media) -> MixError:
    if not known:
        return bad_file(
            where, "there is no such class in train.", _RULE, "Fill train or remove the folder."
        )
    what = {"image": "image", "sound": "WAV file"}[media]
    kinds = ", ".join(sorted(IMAGES if media == "image" else SOUNDS))
    return bad_file(
        where,
        f"the class folder holds no {what} ({kinds}) itself.",
        _RULE,
        f"Fill or remove it; or p{_FIX[1:]}",
    )
