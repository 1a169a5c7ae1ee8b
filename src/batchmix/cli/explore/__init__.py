"""`batchmix explore`: a page on this machine with a control for every setting of a mix."""

from __future__ import annotations

import ipaddress
import signal
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._output import MOST_PIXELS, shown
from batchmix.cli._stop import Stopped
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.data.folders import scan
from batchmix.cli.lab.rows import Data
from batchmix.cli.show.shown import Source


def explore(
    data: Annotated[
        list[str] | None,
        Argument(help="Folders of images or WAV files, beside the digits that are always there."),
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
    sources = open_sources(data or [], image_size, seconds)
    try:
        from batchmix.cli.explore import _app, _server
    except ModuleNotFoundError as missing:
        if missing.name != "gradio":
            raise
        raise mix_error(
            "explore",
            "gradio is not installed.",
            "The page is made with it.",
            "pip install 'batchmix[explore]'",
        ) from None
    with _server.served(_app.app(_app.make_page(sources)), port, host) as address:
        print(f"{address}   (Ctrl-C ends it)", flush=True)
        if browser and host is None:  # a token in a command line could be read by others here
            webbrowser.open(address)
        try:
            threading.Event().wait()
        except Stopped as stopped:
            if stopped.code != 128 + signal.SIGINT:
                raise


def open_sources(
    data: list[str], image_size: int | None = None, seconds: float | None = None
) -> dict[str, Source]:
    """Digits and the folders given, by the names under which the page shows them."""
    folders = [name for name in data if name != "digits"]
    for name in folders:
        if not Path(name).expanduser().is_dir():
            raise mix_error(
                "DATA",
                f"{name!r} is not a folder.",
                "The page shows folders on this machine, and the digits.",
                "Pass a folder that holds train/CLASS/* or CLASS/*.",
            )
    opened = {name: _open(name, image_size, seconds) for name in folders}
    sources = {"digits": Source(open_data("digits"))}
    for name, source in opened.items():
        short = Path(name).expanduser().resolve().name
        sources[short if short not in sources else name] = source
    return sources


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
