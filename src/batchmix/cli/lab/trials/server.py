"""What the server of trial processes imports first: whose parent is gone ends without a word."""

from __future__ import annotations

import sys
from pickle import UnpicklingError
from types import TracebackType


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A process that was just being started reads half of what it shall do, or nothing."""
    if not issubclass(kind, EOFError | UnpicklingError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _hook
