"""`batchmix explore`: a page on this machine with a control for every setting of a mix."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._output import MOST_PIXELS, shown
from batchmix.cli._stop import Stopped
from batchmix.cli.lab.data import BUILT_IN, open_data
from batchmix.cli.lab.data.folders import scan
from batchmix.cli.lab.rows import Data
from batchmix.cli.show.shown import Source


def explore(
    data: Annotated[
        list[str] | None,
        Argument(
            help="Folders of images or WAV files, beside the photographs and digits of batchmix."
        ),
    ] = None,
    port: Annotated[
        int | None, Option(min=1, max=65535, help="Default: the first free one from 7860 on.")
    ] = None,
    image_size: Annotated[
        int | None, Option(min=1, max=MOST_PIXELS, metavar="N", help="Resize images to N x N.")
    ] = None,
    seconds: Annotated[
        float | None, Option(help="Length of a WAV file; silence follows shorter ones.")
    ] = None,
    host: Annotated[
        str | None,
        Option(help="Serve at this address, 0.0.0.0 for all, to those who have the printed token."),
    ] = None,
    browser: Annotated[bool, Option(help="Open the page in a browser.")] = True,
) -> None:
    """Move the settings of a mix and see images, boxes, labels and lam change, on a page.

    The page is served to this machine only (127.0.0.1) unless --host says otherwise, shows no other
    data than the folders given, and needs no network.
    """
    _check_host(host)
    if sys.stderr.isatty():
        print("Reading the data and starting the page ...", file=sys.stderr, flush=True)
    sources = open_sources(data or [], image_size, seconds)
    try:
        from batchmix.cli.explore import _app, _server
    except ModuleNotFoundError as missing:
        if missing.name != "uvicorn":
            raise
        raise mix_error(
            "explore",
            "uvicorn is not installed.",
            "The page is served with it.",
            "pip install 'batchmix[explore]'",
        ) from None
    with _server.served(_app.app(sources), port, host) as address:
        print(f"{address}   (Ctrl-C ends it)", flush=True)
        if host is None and "SSH_CONNECTION" in os.environ:
            print(_from_afar(address), file=sys.stderr, flush=True)
        elif browser and host is None:  # a token in a command line could be read by others here
            webbrowser.open(address)
        try:
            threading.Event().wait()
        except Stopped as stopped:
            if stopped.code != 128 + signal.SIGINT:
                raise


def _from_afar(address: str) -> str:
    """How to see the page from the machine that this shell was opened from."""
    port = address.rpartition(":")[2]
    return (
        "This is a remote shell. On your own machine run\n"
        f"  ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}\n"
        "and open that address there."
    )


def open_sources(
    data: list[str], image_size: int | None = None, seconds: float | None = None
) -> dict[str, Source]:
    """The built-in rows and the data given, by the names under which the page shows them."""
    given = [name for name in data if name not in BUILT_IN]
    for name in given:
        if not Path(name).expanduser().is_dir():
            raise mix_error(
                "DATA",
                f"{name!r} is not a folder.",
                f"The page shows folders on this machine, and {' and '.join(BUILT_IN)}.",
                "Pass a folder that holds train/CLASS/* or CLASS/*.",
            )
    opened = {name: _open(name, image_size, seconds) for name in given}
    sources = {name: Source(open_data(name)) for name in BUILT_IN}
    for name, source in opened.items():
        short = _short(Path(name).expanduser().resolve())
        sources[short if short not in sources else name] = source
    return sources


def _short(folder: Path) -> str:
    """The name of a folder; of one that is called for its part of a data set, that of the set."""
    return folder.parent.name if folder.name in ("train", "images", "data") else folder.name


def _open(name: str, image_size: int | None, seconds: float | None) -> Source:
    """One folder. Its first rows are read, so that errors are told before the page opens."""
    folder = Path(name).expanduser()
    sound = scan(str(folder)).media == "sound"
    data = open_data(name, sound="wave", seconds=seconds) if sound else open_data(name)
    source = Source(data, None if sound else image_size)
    _check_inside(folder.resolve(), data)
    source.read(source.choose(16))
    return source


def _check_inside(top: Path, data: Data) -> None:
    """Refuse links to files outside of the folder that was given."""
    for file in data.train.names:
        if not Path(data.root, file).resolve().is_relative_to(top):
            raise mix_error(
                f"DATA {shown(f'{data.root}/{file}')}",
                "it is a link to a file outside of the folder.",
                "The page shows files inside the folders given, and no others.",
                "Copy the file into the folder, or give the one that holds all files.",
            )


def _check_host(host: str | None) -> None:
    """An address, not a name: nobody is asked what it means."""
    if host is None:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise mix_error(
            "--host", f"got {host!r}.", "It is an address of this machine.",
            "0.0.0.0 is all of them; leave it out to serve this machine alone.",
        ) from None  # fmt: skip
