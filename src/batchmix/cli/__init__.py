"""The command line. For wrong input it prints one line, never a traceback, and exits with 2.

A command imports all but typer when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from batchmix._errors import MixError

_EXTRA = "the command line needs it: pip install 'batchmix[cli]'"

try:
    import typer
    from typer.exceptions import TyperException

    from batchmix.cli.audit import audit
    from batchmix.cli.bench import bench
    from batchmix.cli.compare import compare
    from batchmix.cli.explore import explore
    from batchmix.cli.preview import preview
    from batchmix.cli.stats import stats
    from batchmix.cli.train import train
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("batchmix"):
        raise
    print(f"batchmix: {missing.name} is not installed; {_EXTRA}", file=sys.stderr)
    raise SystemExit(2) from None

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Mix the rows of a training batch, and see whether it helps.",
)
app.command()(audit)
app.command()(bench)
app.command()(compare)
app.command()(explore)
app.command()(preview)
app.command()(stats)
app.command()(train)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    0; 1 where `audit` found something; 2 for wrong input; 130 if interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        code = app(argv or ["--help"], standalone_mode=False)
    except MixError as error:
        _stop(str(error))
    except TyperException as error:
        _stop(error.format_message())
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("batchmix"):
            raise
        _stop(f"{error.name} is not installed; {_EXTRA}")
    except OSError as error:  # a file that is missing, a full disk, a pipe that was closed
        said = error.strerror or str(error)
        _stop(f"{error.filename}: {said}" if error.filename else said)
    raise SystemExit(code or 0)


def _stop(message: str) -> None:
    """One line on standard error, whatever the message's own line breaks, and exit code 2."""
    print(f"batchmix: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
