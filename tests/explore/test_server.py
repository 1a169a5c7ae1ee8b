"""The page's server, asked as a page of the web, another name, and a stranger would ask it."""

import asyncio
import base64
import contextlib
import gc
import hashlib
import http.client
import importlib
import json
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import threading
import warnings
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import offline
from batchmix.cli.explore import open_sources

pytest.importorskip("gradio", reason="NO GRADIO: pip install 'batchmix[explore]'")
import anyio._core

from batchmix.cli.explore import _app, _guard, _server

# The page's server would, in the middle of a test: Python 3.11 loses an import that garbage is
# collected in
with contextlib.suppress(ImportError):
    importlib.import_module("IPython")
for _module in pkgutil.iter_modules(anyio._core.__path__):
    importlib.import_module(f"anyio._core.{_module.name}")

pytestmark = [
    # Gradio sums up its queue with pandas, in a way that the next pandas gives up
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    # and makes event loops that it does not close
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Digits, and a folder whose name is markup."""
    top = tmp_path_factory.mktemp("data") / HOSTILE.replace("/", "\u2044")
    for name in ("ant", "<b>bee"):
        (top / name).mkdir(parents=True)
        for i in range(9):
            Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(top / name / f"{i}.png")
    sources = open_sources([str(top)])
    sources[HOSTILE] = sources[top.name]  # a name that no file can have
    return sources


@pytest.fixture(scope="module", autouse=True)
def loops():
    """Those that Gradio makes and does not close are gone before another module is tested."""
    yield
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def served(data, **options):
    return _server.served(_app.app(_app.make_page(data)), **options)


@pytest.fixture(scope="module")
def address(data):
    with served(data) as where:
        yield where.removeprefix("http://")


def ask(address, method="GET", path="/", body=None, **headers):
    """(status, headers, body) of one request; a header that is None is left out."""
    connection = http.client.HTTPConnection(address, timeout=60)
    given = {"Host": address} | {k.replace("_", "-"): v for k, v in headers.items()}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if body is not None:
        given.setdefault("Content-Length", str(len(body)))
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            connection.putheader(name, one)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def moved(address, data, session="one", **headers):
    """What the page's own scripts do when a control is moved: join the queue, hear of it."""
    view = [data, 0, 2, "mixup", 0.8, 1.0, 1.0, "row", "derangement", 0, 0]
    call = {"data": view, "fn_index": 0, "session_hash": session, "trigger_id": 3}
    body = json.dumps(call).encode()
    headers = {"Content_Type": "application/json"} | headers
    joined = ask(address, "POST", "/gradio_api/queue/join?", body, **headers)
    if joined[0] != 200:
        return joined
    path = f"/gradio_api/queue/data?session_hash={session}"
    return ask(address, "GET", path, **headers)


def done(events):
    """What a move came to, out of the events of a queue."""
    lines = [line[6:] for line in events.decode().splitlines() if line.startswith("data: ")]
    (found,) = [e for e in map(json.loads, lines) if e["msg"] == "process_completed"]
    return found


def test_a_move_is_answered(address):
    status, headers, body = moved(address, "digits")
    assert status == 200
    assert b"data:image/png;base64," in body
    assert b"process_completed" in body
    assert headers["cache-control"] == "no-store"


def test_pages_that_were_closed_are_forgotten(data, monkeypatch):
    monkeypatch.setattr(_app, "_PAGES", 3)
    page = _app.make_page(data)
    with _server.served(_app.app(page)) as where:
        for i in [*range(6), 0]:  # the first is looked at again
            assert moved(where.removeprefix("http://"), "digits", f"page{i}")[0] == 200
    assert [*page.state_holder.session_data] == ["page4", "page5", "page0"]


def test_a_name_that_leads_here_gets_nothing(address):
    """DNS rebinding: a page of evil.example, whose name now means 127.0.0.1, asks as its own."""
    port = address.rpartition(":")[2]
    for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", ""):
        host = f"{name}:{port}"
        for path in ("/", "/config", "/gradio_api/info"):
            assert ask(address, path=path, Host=host)[0] == 403
        status, _, body = moved(address, "digits", Host=host, Origin=f"http://{host}")
        assert status == 403
        assert b"base64" not in body
    assert ask(address, Host=["127.0.0.1", "evil.example"])[0] == 400
    assert ask(address, Host=[])[0] == 400


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machine_by_its_names(address, name):
    host = f"{name}:{address.rpartition(':')[2]}"
    assert ask(address, Host=host)[0] == 200
    assert moved(address, "digits", f"as{len(name)}", Host=host, Origin=f"http://{host}")[0] == 200
    assert ask(address, Host=name)[0] == 200  # a tunnel from port 80


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "file://", ["null", "null"], ""]
)
def test_other_pages_may_not_ask(address, origin):
    for path in ("/", "/config", "/gradio_api/queue/data?session_hash=one"):
        status, headers, body = ask(address, path=path, Origin=origin)
        assert status in (400, 403)
        assert "access-control-allow-origin" not in headers
        assert len(body) < 100
    assert moved(address, "digits", Origin=origin)[0] in (400, 403)
    asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
    assert ask(address, "OPTIONS", "/gradio_api/queue/join", **asked)[0] in (400, 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_link_here_and_no_more(address, site):
    assert ask(address, Sec_Fetch_Site=site)[0] == 200
    for path in ("/config", "/gradio_api/queue/data?session_hash=one", "/theme.css"):
        assert ask(address, path=path, Sec_Fetch_Site=site)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/upload/"),
        ("POST", "//gradio_api/upload"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/moved"),
        ("POST", "/gradio_api/stream/x"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("POST", "/login"),
        ("PUT", "/"),
        ("POST", "/"),
        ("TRACE", "/"),
        ("OPTIONS", "/"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=https://huggingface.co/"),
        ("GET", "/gradio_api/upload_progress?upload_id=x"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/deep_link?session_hash=one"),
        ("GET", "/gradio_api/mcp/"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/assets/../../../../../../../../etc/passwd"),
        ("GET", "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
        ("GET", "/assets//etc/passwd"),
        ("GET", "/assets/" + "a" * 3000),
        ("GET", "/static/" + "%C3%A9" * 150),
    ],
)
def test_what_the_page_does_not_use_is_not_there(address, method, path):
    body = b"x" * 100 if method == "POST" else None
    status, _, said = ask(address, method, path, body)
    assert status in (403, 404)
    assert b"root:" not in said


def test_nothing_large_is_taken(address):
    large = b"[" * (_guard.MOST_BYTES + 1)
    assert ask(address, "POST", "/gradio_api/queue/join", large)[0] == 413
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    headers = {"Transfer_Encoding": "chunked", "Content-Length": []}
    assert ask(address, "POST", "/gradio_api/queue/join", chunked, **headers)[0] == 413


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 60_000, b'{"fn_index": 10}', b"\xff\x00"])
def test_a_body_that_is_no_move_is_refused(address, body):
    status, headers, said = ask(
        address, "POST", "/gradio_api/queue/join", body, Content_Type="application/json"
    )
    assert status >= 400
    assert b"Traceback" not in said
    assert headers["x-content-type-options"] == "nosniff"
    assert ask(address)[0] == 200


def test_moves_have_a_rate(monkeypatch):
    times = iter([0.0] * 4 + [1.0] * 3 + [1e9])
    monkeypatch.setattr(_guard, "time", SimpleNamespace(monotonic=lambda: next(times)))
    guard = _guard.Guard(None)
    guard.moves = 2
    assert [guard._may_move() for _ in range(3)] == [True, True, False]
    monkeypatch.setattr(_guard, "MOVES_A_SECOND", 2)
    assert [guard._may_move() for _ in range(3)] == [True, True, False]
    guard._may_move()
    assert guard.moves == _guard.MOST_MOVES - 1  # a night does not add up


def test_open_requests_are_counted(data, monkeypatch):
    """The next is turned away, and there is room when they end."""
    monkeypatch.setattr(_guard, "MOST_OPEN", 5)
    with served(data) as where:
        address = where.removeprefix("http://")
        held = []
        for i in range(_guard.MOST_OPEN):
            connection = http.client.HTTPConnection(address, timeout=60)
            connection.request("GET", f"/gradio_api/heartbeat/s{i}")
            held += [connection, connection.getresponse()]
        assert ask(address)[0] == 503
        for one in held:
            one.close()
        wait, tries = threading.Event(), 600
        while ask(address)[0] != 200 and tries:
            tries -= not wait.wait(0.1)
        assert tries


def opened(address, sent=b""):
    """A connection to which this much was sent."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(sent)
    return connection


def heard(connection):
    """All that comes before the server closes it."""
    found = b""
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(2**16):
            found += part
    return found


HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "


def test_a_header_has_a_limit(address):
    for sent in (b"a" * (_server.MOST_HEADER + 1), b"a" * (2 * _server.MOST_HEADER) + b"\r\n\r\n"):
        connection = opened(address)
        with contextlib.suppress(ConnectionError):
            connection.sendall(HALF + sent)
        assert not heard(connection).startswith(b"HTTP/1.1 2")
    assert ask(address, X="a" * (_server.MOST_HEADER - 1000))[0] == 200  # cookies of other ports


@pytest.mark.parametrize("first", [b"", b"GET /theme.css HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_header_that_does_not_come_is_not_waited_for(data, monkeypatch, first, sent):
    monkeypatch.setattr(_server, "PATIENCE", 0.2)
    with served(data) as where:
        address = where.removeprefix("http://")
        stream = http.client.HTTPConnection(address, timeout=60)
        stream.request("GET", "/gradio_api/heartbeat/long")
        held = stream.getresponse()  # what is asked for whole is answered for as long as it takes
        assert heard(opened(address, first + sent)).startswith(b"HTTP/1.1 200" if first else b"")
        stream.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            stream.sock.recv(1)
        held.close()
        stream.close()
        assert moved(address, "digits")[0] == 200


def test_connections_are_counted(data, monkeypatch):
    """Those that have asked for nothing yet, too."""
    monkeypatch.setattr(_server, "MOST_CONNECTIONS", 3)
    with served(data) as where:
        address = where.removeprefix("http://")
        held = [opened(address, HALF) for _ in range(3)]
        assert heard(opened(address)) == b""
        for one in held:
            one.close()
        wait, tries = threading.Event(), 600
        asked = HALF + b"x\r\nConnection: close\r\n\r\n"
        while not heard(opened(address, asked)).startswith(b"HTTP/1.1 200") and tries:
            tries -= not wait.wait(0.1)
        assert tries


@pytest.mark.parametrize("path", [b"/gradio_api/heartbeat/one", b"/theme.css"])
def test_a_body_that_breaks_during_its_answer_says_nothing(address, caplog, path):
    connection = opened(
        address, b"GET %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    )
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.sendall(b"not a length\r\n")
    assert b"400" not in heard(connection)[:100]
    assert not caplog.records


def test_the_usual_headers_are_on_every_answer(address):
    for path in ("/", "/config", "/theme.css", "/nothing", "/gradio_api/app_id"):
        for host in (address, "evil.example"):
            headers = ask(address, path=path, Host=host)[1]
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "http" not in policy
            assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
            assert "server" not in headers


class Scripts(HTMLParser):
    """The scripts of a page: addresses, and texts; handlers inside of elements."""

    def __init__(self):
        super().__init__()
        self.sources, self.texts, self.handlers, self._inside = [], [], [], False

    def handle_starttag(self, tag, attrs):
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script" or (tag == "link" and dict(attrs).get("rel") == "stylesheet"):
            given = dict(attrs).get("src") or dict(attrs).get("href")
            self.sources += [given] if given else []
            self._inside = tag == "script" and not given

    def handle_data(self, data):
        if self._inside:
            self.texts.append(data)

    def handle_endtag(self, tag):
        self._inside = False


@pytest.mark.parametrize("encoding", ["", "br", "gzip, br"])
def test_the_policy_allows_the_scripts_of_the_page_and_no_others(address, encoding):
    _, headers, body = ask(address, Accept_Encoding=encoding)
    assert b"alert(1)" in body  # the name of a folder
    found = Scripts()
    found.feed(body.decode())
    policy = headers["content-security-policy"]
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    hashes = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in found.texts]
    assert sorted(hashes) == sorted(allowed)
    assert len(found.texts) == body.count(b"<script>") + body.count(b"<script data-gradio-mode>")
    assert not any(text.startswith("alert") for text in found.texts)
    assert not found.handlers
    assert all(not re.match("(https?:)?//", source) for source in found.sources)
    for source in found.sources:
        assert ask(address, path=source.removeprefix("."))[0] == 200


def test_names_of_classes_are_escaped_in_cards(address):
    cards = done(moved(address, HOSTILE, "names")[2])["output"]["data"][2]
    assert "&lt;b&gt;bee" in cards
    assert "<b>bee" not in cards


def test_what_is_wrong_in_an_address_is_escaped(address):
    """The page is opened with the view in its address."""
    wrong = quote("<img src=x onerror=alert(3)>\x1b[2J\u202e")
    call = json.dumps({"data": [], "fn_index": 1, "session_hash": "wrong"}).encode()
    path = f"/gradio_api/queue/join?data={wrong}&__theme=dark"
    assert ask(address, "POST", path, call, Content_Type="application/json")[0] == 200
    events = ask(address, path="/gradio_api/queue/data?session_hash=wrong")[2]
    refused = json.dumps(done(events)["output"]["data"], ensure_ascii=False)
    assert "&lt;img src=x" in refused
    assert "<img src=x" not in refused
    assert "\\u001b" not in refused
    assert "\u202e" not in refused


@pytest.fixture(scope="module")
def open_to_all(data):
    """Served at an address that was given: (address, token)."""
    with served(data, host="127.0.0.1") as where:
        address, _, query = where.removeprefix("http://").partition("/?token=")
        yield address, query


def test_with_an_address_a_token_is_asked_for(open_to_all):
    address, token = open_to_all
    assert len(token) >= 40
    for path in ("/", "/config", "/?token=", f"/?token={token[:-1]}", f"/?token={token}x",
                 "/?token=%C3%A9", f"/config?token={token}"):  # fmt: skip
        status, _, body = ask(address, path=path)
        assert status == 401
        assert token.encode() not in body
    assert moved(address, "digits")[0] == 401
    name = f"batchmix-explore-{address.rpartition(':')[2]}"
    for cookie in (f"{name}=x", f"{name}={token}x", f"{name}=é", f"other={token}", "=;,\x01"):
        assert ask(address, Cookie=cookie.encode("latin-1"))[0] in (400, 401)


def test_with_the_token_it_is_the_same_page(open_to_all):
    address, token = open_to_all
    host = "machine.example:80"  # whatever its name is there
    status, headers, _ = ask(address, path=f"/?policy=cutmix&token={token}&a=2", Host=host)
    assert status == 303
    assert headers["location"] == "/?policy=cutmix&a=2"  # the token does not stay in the address
    cookie, *rules = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(rules)
    status, _, body = ask(address, path="/?policy=cutmix", Host=host, Cookie=cookie)
    assert status == 200
    assert token.encode() not in body
    given = {"Host": host, "Origin": f"http://{host}", "Cookie": cookie}
    assert b"data:image/png" in moved(address, "digits", "known", **given)[2]
    assert moved(address, "digits", **given | {"Origin": "http://evil.example"})[0] == 403


def test_the_token_never_stays_in_the_address(open_to_all):
    """Opened again, with the cookie; also an address of an earlier command."""
    address, token = open_to_all
    cookie = f"batchmix-explore-{address.rpartition(':')[2]}={token}"
    for query in (f"token={token}", "token=old", "token", f"token=old&%74oken={token}"):
        for cookies in (cookie, "other=1"):
            path = f"/?policy=cutmix&{query}&a=2"
            status, headers, body = ask(address, path=path, Cookie=cookies)
            if cookies == cookie or token in query:
                assert (status, headers["location"]) == (303, "/?policy=cutmix&a=2")
            else:
                assert (status, "location" in headers) == (401, False)
            assert b"token" not in body
            assert headers["cache-control"] == "no-store"


def test_tokens_are_not_repeated():
    async def app(scope, receive, send):
        await receive()

    with _server.served(app, host="127.0.0.1") as one, _server.served(app, host="::1") as two:
        assert one.partition("token=")[2] != two.partition("token=")[2]
        assert two.startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["example.com", "", "0.0.0.0.0", "0.0.0.0:80"])
def test_an_address_is_no_name(host):
    command = [sys.executable, "-m", "batchmix", "explore", "--no-browser", "--host", host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("batchmix: --host: got")
    assert done.stderr.count("\n") == 1


def test_no_variable_opens_the_page_to_others(data, monkeypatch):
    """What Gradio would take from the environment: a public link, another address, files."""
    for name, value in {
        "GRADIO_SHARE": "True", "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_ALLOWED_PATHS": "/",
        "GRADIO_MCP_SERVER": "True", "GRADIO_ROOT_PATH": "http://evil.example",
        "GRADIO_SSR_MODE": "True", "GRADIO_RUN_HISTORY": "True",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with served(data) as where:
        assert where.startswith("http://127.0.0.1:")
        body = ask(where.removeprefix("http://"))[2]
        assert b"evil.example" not in body
        status = ask(where.removeprefix("http://"), path="/gradio_api/file=/etc/passwd")[0]
        assert status == 404


def test_the_command_asks_no_other_host_for_anything(tmp_path):
    command = [sys.executable, "-m", "batchmix", "explore", "--no-browser"]
    given = {"env": offline.environment(tmp_path), "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **given) as running:
        try:
            (address,) = re.findall(r"^http://(\S+)", running.stdout.readline())
            assert ask(address)[0] == 200
            assert moved(address, "digits")[0] == 200
        finally:
            running.send_signal(signal.SIGINT)
            code = running.wait(60)
    processes, asked = offline.told(tmp_path)
    assert code == 0
    assert processes >= 1
    assert asked == []
