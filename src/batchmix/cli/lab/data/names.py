"""Names that come from files, and messages about the files that have them."""

from __future__ import annotations

from batchmix._errors import MixError, mix_error


def printable(name: str) -> str:
    """The name with control characters, and bytes that are not UTF-8, escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def reason(error: BaseException) -> str:
    """Why a file could not be read, in one short line without the file's name."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return printable(" ".join(text.split())[:200]).rstrip(".") or type(error).__name__


def bad_file(where: str, got: str, rule: str, fix: str = "Repair or remove it.") -> MixError:
    """What is wrong with the file, or the row, that is named."""
    return mix_error(f"DATA {printable(where)}", got, rule, fix)
