"""Files that anybody may have put there: a pipe would be waited for without end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def check_regular(path: str | Path) -> None:
    """An OSError where a path is a pipe, a device or a folder; before it is opened."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
