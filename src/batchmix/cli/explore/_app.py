"""The page as an ASGI application: four files of its own, and what they ask for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from batchmix._errors import MixError
from batchmix.cli._output import shown
from batchmix.cli.explore._own import Own
from batchmix.cli.explore._render import download, render
from batchmix.cli.show.shown import Source

_HERE = Path(__file__).parent
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/controls.js": ("controls.js", "text/javascript; charset=utf-8"),
    "/own.js": ("own.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
}
_AT_ONCE = 4  # moves that are computed
Found = tuple[int, dict[str, str], bytes]


def app(sources: Mapping[str, Source]) -> Callable[..., Awaitable[None]]:
    """The page for these data. What a visitor gives is held in memory, and nothing is written."""
    own = Own()
    files = {path: (kind, (_HERE / name).read_bytes()) for path, (name, kind) in _FILES.items()}
    turn = asyncio.Semaphore(_AT_ONCE)

    def answer(path: str, query: dict[str, str], body: bytes) -> Found:
        """What is sent for a request that the guard let through."""
        if path in files:
            kind, content = files[path]
            return 200, {"content-type": kind}, content
        try:
            if path == "/show":
                moved = query.pop("moved", "")
                return _json(200, render(query, sources, own, moved).document())
            if path == "/own":
                return _json(200, {"data": own.put(body)})
            if path == "/file":
                name, kind, content = download(query.pop("kind", ""), query, sources, own)
                there = f'attachment; filename="{name}"'
                return 200, {"content-type": kind, "content-disposition": there}, content
        except MixError as error:
            return _json(400, {"wrong": shown(" ".join(str(error).split()))})
        return _json(404, {"wrong": "The page has nothing here."})

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = b""
        while scope["method"] == "POST":
            message: MutableMapping[str, Any] = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        text = scope["query_string"].decode("latin-1")
        query = dict(parse_qsl(text, keep_blank_values=True))
        async with turn:
            status, headers, content = await asyncio.to_thread(answer, scope["path"], query, body)
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        pairs.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    return serve


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing is to be done when the server starts and ends."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _json(status: int, document: Mapping[str, Any]) -> Found:
    content = json.dumps(document).encode()
    return status, {"content-type": "application/json"}, content
