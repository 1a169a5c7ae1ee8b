"""The command line. For wrong input it prints one line, never a traceback, and exits with 2.

A command imports what is heavy when it has checked its arguments, so that help and refusals are
quick.
"""

from __future__ import annotations

import inspect
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Any, NoReturn

import batchmix
from batchmix._errors import MixError

_EXTRA = "the command line needs it: pip install 'batchmix[cli]'"

try:
    import typer
    from typer.exceptions import TyperException

    from batchmix.cli._output import shown
    from batchmix.cli.audit import audit
    from batchmix.cli.bench import bench
    from batchmix.cli.compare import compare
    from batchmix.cli.explore import explore
    from batchmix.cli.predict import predict
    from batchmix.cli.preview import preview
    from batchmix.cli.stats import stats
    from batchmix.cli.train import train
    from batchmix.cli.tune import tune
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("batchmix"):
        raise
    print(f"batchmix: {missing.name} is not installed; {_EXTRA}", file=sys.stderr)
    raise SystemExit(2) from None

_COMMANDS = (audit, bench, compare, explore, predict, preview, stats, train, tune)
_HOSTS = ("numpy", "torch", "timm", "torchvision", "jax", "tensorflow", "keras", "lightning-fabric")
_LONGEST = 1000  # characters of a message
_BUG, _INTERRUPTED = 70, 130  # exit codes

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mix the rows of a training batch, and see whether it helps.",
)


def _version(asked: bool) -> None:
    """What a report of a mistake should name; nothing is imported to find out."""
    if asked:
        print(f"batchmix {batchmix.__version__}")
        print(f"Python {sys.version.split()[0]} on {sys.platform}")
        for name in _HOSTS:
            with suppress(metadata.PackageNotFoundError):
                print(name, metadata.version(name))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True,
            help="Versions of batchmix, of Python, and of what it can work with here.",
        ),
    ] = False,
) -> None:  # fmt: skip
    pass


def _help(command: Callable[..., Any]) -> str:
    """The docstring with one line per paragraph: terminals have their own width."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for _command in _COMMANDS:
    app.command(help=_help(_command))(_command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    0; 1 where `audit` found something; 2 for wrong input; 3 where some trials of `compare` or
    `tune` failed; 130 if interrupted; 70 for a mistake of batchmix itself, after its traceback.
    """
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without ± costs no result
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(list(argv) or ["--help"], prog_name="batchmix", standalone_mode=False)
        sys.stdout.flush()  # while a disk that is full can still be told
    except MixError as error:
        _stop(str(error))
    except TyperException as error:
        _stop(error.format_message())
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("batchmix"):
            _report()
        _stop(f"{error.name} is not installed; {_EXTRA}")
    except MemoryError as error:
        _stop(f"there is not enough memory. {error}")
    except BrokenPipeError:  # such as | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _stop("standard output was closed before the end.")
    except OSError as error:  # a file that is missing, a full disk
        said = error.strerror or str(error)
        _stop(f"{error.filename}: {said}" if error.filename else said)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception:
        _report()
    if code == _INTERRUPTED:
        _stop("interrupted.", _INTERRUPTED)
    raise SystemExit(code or 0)


def _report() -> NoReturn:
    """The traceback of what must not happen, and what to do with it."""
    print(*map(shown, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
    _stop("this is a mistake of batchmix: please report the lines above.", _BUG)


def _stop(message: str, code: int = 2) -> NoReturn:
    """One line on standard error, whatever the message holds, and exit."""
    line = shown(" ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST * 2 // 3]} [...] {line[-_LONGEST // 3 :]}"
    print(f"batchmix: {line}", file=sys.stderr)
    raise SystemExit(code)
