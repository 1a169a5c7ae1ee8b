"""Messages about files that cannot be read."""

from __future__ import annotations

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown


def reason(error: BaseException) -> str:
    """Why a file could not be read, in one short line without the file's name."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return shown(" ".join(text.split())[:200]).rstrip(".") or type(error).__name__


def bad_file(where: str, got: str, rule: str, fix: str = "Repair or remove it.") -> MixError:
    """What is wrong with the file, or the row, that is named."""
    return mix_error(f"DATA {shown(where)}", got, rule, fix)
