"""The page's server: on this machine alone, unless another address is asked for."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from batchmix._errors import MixError, mix_error
from batchmix.cli.explore._guard import HERE, MOST_OPEN, PATIENCE, App, Guard

_FIRST, _LAST = 7860, 7959
MOST_HEADER = 2**14  # bytes, twice that at worst
MOST_CONNECTIONS = 2 * MOST_OPEN  # those that wait for a request are counted too


class _Connection(H11Protocol):  # type: ignore[misc]
    """One of a bounded number; it ends where no header comes, whole, in time.

    The guard is asked after the header, and uvicorn waits for ever for the rest of one.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.late = self.loop.call_later(PATIENCE, self._end, None)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # a header that comes at once, whole, is not compared with the limit
        for start in range(0, len(data), MOST_HEADER):
            if not self.transport.is_closing():
                super().data_received(data[start : start + MOST_HEADER])

    def on_response_complete(self) -> None:
        self.late.cancel()
        self.late = self.loop.call_later(PATIENCE, self._end, self.cycle)
        super().on_response_complete()  # which may begin the next request

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and self.cycle.response_started:
            self.transport.close()  # an answer that has begun cannot become another
        else:
            super().send_400_response(msg)

    def _end(self, last: object) -> None:
        if self.cycle is last:  # no request came since
            self.transport.close()


@contextmanager
def served(app: App, port: int | None = None, host: str | None = None) -> Iterator[str]:
    """Serve in a thread of its own; the address, with a token in it where a host was given."""
    with _bound(host or HERE, port) as listening:
        number = listening.getsockname()[1]
        token = None if host is None else secrets.token_urlsafe(32)
        config: dict[str, Any] = {"ws": "none", "server_header": False, "http": _Connection}
        config |= {"h11_max_incomplete_event_size": MOST_HEADER, "backlog": MOST_OPEN}
        # a page holds requests open for as long as it is looked at; that they end is no error
        config |= {"timeout_graceful_shutdown": 1, "log_level": "critical"}
        server = uvicorn.Server(uvicorn.Config(Guard(app, token, number), **config))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise _refused("its server did not start")
            time.sleep(0.01)
        try:
            where = f"http://{_named(host or HERE)}:{number}"
            yield f"{where}/?token={token}" if token else where
        finally:
            server.should_exit = True
            thread.join()


def _bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens; without a port, at the first free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port else range(_FIRST, _LAST + 1):
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            why = error.strerror
    raise _refused(f"{why}: {host}, {port or f'{_FIRST} to {_LAST}'}")


def _refused(why: str) -> MixError:
    return mix_error(
        "--port", f"no page can be served ({why}).", "A port serves one page at a time.",
        "Leave --port out to take a free one.",
    )  # fmt: skip


def _named(host: str) -> str:
    """As it stands in an address."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if address.version == 6 else host
