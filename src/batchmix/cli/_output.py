"""What a command gives: files that appear whole or not at all, words for people, JSON for programs.

Results go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from batchmix._errors import mix_error

AsJson = Annotated[bool, Option("--json", help="One JSON document and nothing else.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Results alone: no progress, no notes.")]
MOST_SEED = 2**63 - 1  # what every generator takes
MOST_PIXELS = 4096  # of a side
_PART = ".batchmix-part"  # .NAME.PID.batchmix-part is written, then renamed; no name of the user's
_STALE = 60.0  # seconds after which a part file of a dead process is litter


def shown(name: object) -> str:
    """A name from a file or a user, as it may be printed: control characters are escaped."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def print_json(document: Mapping[str, Any]) -> None:
    """One document on standard output; a number that JSON does not know is null."""
    print(json.dumps(plain(document), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """As JSON knows it: numbers that are not finite as None, arrays as lists, paths as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inside) for inside in value]
    return str(value) if isinstance(value, Path) else value


def check_folder(out: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be written, before training; nothing is left in it."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise mix_error(
            f"{option} {out}",
            f"{there} cannot be written to ({error.strerror}).",
            "The results are written into this folder.",
            f"Choose a folder of your own with {option}.",
        ) from None


def write(path: Path, content: bytes) -> None:
    """Write beside `path` and rename: a reader never sees half a file, nor does a power cut.

    An OSError names the file; part files that killed processes left behind are removed.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files of one folder that belong together; the last is missing while they change.

    They change when there was room for all.
    """
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}{_PART}") for path in files}
    *others, path = files
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            with parts[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if others:
            path.unlink(missing_ok=True)
            sync(path.parent)
        for path, part in parts.items():
            part.replace(path)
        sync(path.parent)
        sweep(path.parent)
    except OSError as error:  # a full disk does not say which file did not fit
        error.filename = str(path)
        raise
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink()


@contextmanager
def kept(out: Path, what: str) -> Iterator[None]:
    """Where a file of `out` cannot be written, the line says `what` is kept."""
    try:
        yield
    except OSError as error:
        raise mix_error(
            f"--out {out}",
            f"{error.filename} cannot be written ({error.strerror}).",
            what,
            "Make room; the same command goes on.",
        ) from None


def sync(folder: Path) -> None:
    """New names are on the disk too, where folders can be opened."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove part files that killed processes left behind.

    All where this process writes `alone`; else old ones, as a new one may be another machine's.
    """
    for part in folder.glob(f".*{_PART}"):
        pid = part.name.removesuffix(_PART).rpartition(".")[2]
        with suppress(OSError):
            old = time.time() - part.stat().st_mtime > _STALE
            if pid.isdecimal() and (alone or (old and not _alive(int(pid)))):
                part.unlink()


def _alive(pid: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
