"""The line that is typed: commands, what they say of themselves, and what is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from batchmix._errors import MixError
from batchmix.cli._versions import print_versions
from batchmix.cli.audit import audit
from batchmix.cli.bench import bench
from batchmix.cli.compare import compare
from batchmix.cli.explore import explore
from batchmix.cli.predict import predict
from batchmix.cli.preview import preview
from batchmix.cli.stats import stats
from batchmix.cli.train import train
from batchmix.cli.tune import tune

_COMMANDS = (audit, bench, compare, explore, predict, preview, stats, train, tune)

app = typer.Typer(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mix the rows of a training batch, and see whether it helps.",
)


def _version(asked: bool) -> None:
    if asked:
        print_versions()
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


def run(argv: Sequence[str]) -> int:
    """Run a command line; its exit code. A line that is no command's is a MixError."""
    try:
        code = app(list(argv) or ["--help"], prog_name="batchmix", standalone_mode=False)
    except TyperException as error:
        raise MixError(error.format_message()) from None
    return int(code or 0)
