"""Who may ask the page's server for what: everything that is no part of the page is refused.

A browser lets any page of the web send requests to a server on this machine, and a name that
somebody else controls may lead here (DNS rebinding). So `Host` and `Origin` are checked.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

HERE = "127.0.0.1"
LOCAL = frozenset({HERE, "localhost", "[::1]"})
MOST_BYTES = 2**20  # of what is sent here: a dozen small pictures have less
MOST_OPEN = 100  # requests at a time; a page has one or two
MOST_MOVES, MOVES_A_SECOND = 100, 30  # at once, and for long
PATIENCE = 10.0  # seconds for a header to come, and for a body
_READ = re.compile(r"/(show|file|page\.js|controls\.js|own\.js|style\.css|favicon\.ico)?")
_MOVES = ("/show", "/file", "/own")  # what takes work
_WRITE = "/own"
_HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# cards have widths in `style`, and pictures inside; no script is but the page's files
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS["content-security-policy"] = _POLICY
_HEADERS["cache-control"] = "no-store"


class _Request(NamedTuple):
    """What is looked at of a request."""

    method: str
    path: str
    host: str
    headers: dict[str, str]


class _Refused(Exception):
    """An answer that is no part of the page: status and text."""


class Guard:
    """An ASGI application around the page's own.

    With a `token`, every host may ask, but only with the token: in the address at first, then in a
    cookie, whose name has the port since browsers send cookies to every port.
    """

    def __init__(self, app: App, token: str | None = None, port: int = 0) -> None:
        self.app, self.token, self.cookie = app, token, f"batchmix-explore-{port}"
        self.open, self.moves, self.last = 0, float(MOST_MOVES), time.monotonic()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":  # no other protocol: the page has no sockets
            if self.open >= MOST_OPEN:
                await _say(send, 503, "Too many requests are open.")
                return
            self.open += 1
            try:
                await self._answer(scope, receive, send)
            except _Refused as refused:
                await _say(send, *refused.args)
            finally:
                self.open -= 1

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        names = [name for name, _ in scope["headers"]]
        if names.count(b"host") != 1 or names.count(b"origin") > 1:
            raise _Refused(400, "There is one Host, and at most one Origin.")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        asked = _Request(scope["method"], scope["path"], headers["host"].lower(), headers)
        self._check(asked)
        if self.token is not None:
            self._ask(scope, asked)
        if asked.path in _MOVES and not self._may_move():
            raise _Refused(429, "Too many moves; wait a second.")
        if asked.method == "POST":
            receive = _again(await _body(receive), receive)
        await self.app(scope, receive, _headed(send))

    def _check(self, asked: _Request) -> None:
        """Whether there is an answer for whoever asks."""
        if self.token is None and _name(asked.host) not in LOCAL:
            raise _Refused(403, "This page is served to this machine only.")
        origin, site = asked.headers.get("origin"), asked.headers.get("sec-fetch-site", "none")
        if origin is not None and origin.lower().partition("://")[2] != asked.host:
            raise _Refused(403, "Other pages may not ask this server.")
        if asked.path != "/" and site not in ("none", "same-origin"):
            raise _Refused(403, "Other pages may not use this server.")
        if asked.method in ("GET", "HEAD"):
            there = _READ.fullmatch(asked.path) is not None
        else:
            there = asked.method == "POST" and asked.path == _WRITE
        if not there:
            raise _Refused(404, "The page has nothing here.")

    def _may_move(self) -> bool:
        now = time.monotonic()
        self.moves = min(MOST_MOVES, self.moves + (now - self.last) * MOVES_A_SECOND)
        self.last = now
        if self.moves < 1:
            return False
        self.moves -= 1
        return True

    def _known(self, headers: dict[str, str]) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self._is_token(found.value)

    def _is_token(self, text: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _ask(self, scope: Any, asked: _Request) -> None:
        """Let in who has the token; out of the page's address it is taken, into a cookie."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in pairs if key == "token" and asked.path == "/"]
        if not self._known(asked.headers) and not any(map(self._is_token, given)):
            raise _Refused(401, "Open the whole address that batchmix explore printed.")
        if not given:
            return
        query = urlencode([(key, value) for key, value in pairs if key != "token"])
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
        where = "/" + (f"?{query}" if query else "")
        raise _Refused(303, "", {"location": where, "set-cookie": cookie})


def _headed(send: Send) -> Send:
    """Sends an answer with the headers of a page that nobody else may use."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_encoded(_HEADERS)]}
        await send(message)

    return sent


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


async def _body(receive: Receive) -> bytes:
    """All of it, which comes soon and is not long."""
    body, more = b"", True
    try:
        async with asyncio.timeout(PATIENCE):
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MOST_BYTES:
                    raise _Refused(413, f"A request has up to {MOST_BYTES} bytes.")
    except TimeoutError:
        raise _Refused(408, "The request did not come.") from None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _say(send: Send, status: int, text: str, more: dict[str, str] | None = None) -> None:
    """An answer of a line."""
    headers = _HEADERS | {"content-type": "text/plain", "connection": "close"} | (more or {})
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": text.encode()})
