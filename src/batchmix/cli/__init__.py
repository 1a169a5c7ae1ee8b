"""The command line. For wrong input it prints one line, never a traceback, and exits with 2.

Nothing is imported before a signal can be answered; a command imports what is heavy when it has
checked its arguments, so that help and refusals are quick.
"""

from __future__ import annotations

import atexit
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from batchmix._errors import MixError
from batchmix.cli._stop import Stopped, stoppable
from batchmix.cli._streams import discard_output, is_closed, open_streams

_EXTRA = "the command line needs it: pip install 'batchmix[cli]'"
_LONGEST = 1000  # characters of a message
_BUG, _INTERRUPTED = 70, 130  # exit codes


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    0; 1 where `audit` found something; 2 for wrong input; 3 where some trials of `compare` or
    `tune` failed; 130 and 143 after SIGINT and SIGTERM; 70 for a mistake of batchmix itself, after
    its traceback.
    """
    argv = sys.argv[1:] if argv is None else argv
    open_streams()
    try:
        with stoppable():
            code = _run(argv)
            sys.stdout.flush()  # while a disk that is full can still be told
    except MixError as error:
        _stop(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("batchmix"):
            _report()
        _stop(f"{error.name} is not installed; {_EXTRA}")
    except MemoryError as error:
        _stop(f"there is not enough memory. {error}")
    except OSError as error:  # a file that is missing, a full disk
        if is_closed(error):  # such as | head
            _closed()
        said = error.strerror or str(error)
        _stop(f"{error.filename}: {said}" if error.filename else said)
    except Stopped as stopped:
        _stop("stopped; run the same command again.", stopped.code)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception:
        _report()
    if code == _INTERRUPTED:
        _stop("interrupted.", _INTERRUPTED)
    raise SystemExit(code)


def _run(argv: Sequence[str]) -> int:
    """The exit code. Versions are told where the extra is not installed, too."""
    if list(argv) in (["--version"], ["-V"]):
        from batchmix.cli._versions import print_versions

        print_versions()
        return 0
    from batchmix.cli._commands import run

    try:
        return run(argv)
    except SystemExit as end:
        if is_closed(end.__context__):  # rich makes 1 of it
            _closed()
        sys.stdout.flush()  # else a disk that is full is met when nobody can be told
        raise


@atexit.register
def _end() -> None:
    """Ctrl-C while Python clears up ends it, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _closed() -> NoReturn:
    """Nobody reads standard output any more."""
    discard_output()
    _stop("standard output was closed before the end.")


def _report() -> NoReturn:
    """The traceback of what must not happen, and what to do with it."""
    print(*map(_shown, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
    _stop("this is a mistake of batchmix: please report the lines above.", _BUG)


def _stop(message: str, code: int = 2) -> NoReturn:
    """One line on standard error, whatever the message holds, and exit."""
    line = _shown(" ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST * 2 // 3]} [...] {line[-_LONGEST // 3 :]}"
    print(f"batchmix: {line}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # it is what the line tells of, or comes second
        discard_output()
    raise SystemExit(code)


def _shown(line: str) -> str:
    with suppress(ModuleNotFoundError):  # typer, which is then what the line says
        from batchmix.cli._output import shown

        return shown(line)
    return line
