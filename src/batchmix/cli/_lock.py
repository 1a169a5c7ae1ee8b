"""One run at a time in a folder of results."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from batchmix._errors import mix_error
from batchmix.cli._output import sweep


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there; the lock ends with this process.

    Folders that were made and in which nothing was written are removed.
    A POSIX record lock: unlike flock's it is not shared by forked loader workers, which may outlive
    a process that was killed.
    """
    made = [each for each in (out, *out.parents) if not each.exists()]
    out.mkdir(parents=True, exist_ok=True)
    path = out / ".lock"
    try:
        with _hold(path) as file:
            sweep(out, alone=True)
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
                file.truncate(0)
    finally:
        with suppress(OSError):  # one that is not empty
            for each in made:
                each.rmdir()


def _hold(path: Path) -> TextIO:
    """The lock's file, locked, with the name of this process in it."""
    try:
        import fcntl  # not on Windows, where other commands work
    except ModuleNotFoundError:
        raise mix_error(
            f"--out {path.parent}",
            "this system has no fcntl.",
            "A run locks its folder with it, so that no second one writes there.",
            "Run compare, train and tune on Linux, macOS or WSL.",
        ) from None
    while True:
        file = _open(path)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise mix_error(
                f"--out {path.parent}",
                f"{holder} writes into this folder.",
                "One run at a time writes into a folder.",
                "Wait for it, end it, or choose another folder with --out.",
            ) from None
        if _is_at(path, file):
            break
        file.close()  # it was removed by the run that held it before
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    except OSError as error:  # a full disk does not say which file did not fit
        path.unlink()
        with suppress(OSError):
            file.close()
        error.filename = str(path)
        raise
    return file


def _open(path: Path) -> TextIO:
    """The file, which is nothing else under this name: it is going to be emptied."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    opened = os.open(path, flags, 0o666)
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(opened)
        raise OSError(errno.EINVAL, "it is a pipe, a device, or another name of a file", str(path))
    return os.fdopen(opened, "a+")


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
