"""Output files appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from batchmix._errors import mix_error


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written, before training; nothing is left in it."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise mix_error(
            f"--out {out}",
            f"{there} cannot be written to ({error.strerror}).",
            "The results are written into this folder.",
            "Choose a folder of your own with --out.",
        ) from None


def write(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
