"""The page's server, asked as a page of the web, another name, and a stranger would ask it."""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from PIL import Image

import offline
from batchmix.cli.explore import open_sources

pytest.importorskip("uvicorn", reason="NO UVICORN: pip install 'batchmix[explore]'")
from batchmix.cli.explore import _app, _guard, _own, _server

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


def served(data, **options):
    return _server.served(_app.app(data), **options)


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


def moved(address, data="digits", **headers):
    """What the page's own script does when a control is moved."""
    path = f"/show?{urlencode({'data': data, 'rows': 2, 'policy': 'mixup', 'moved': 'data'})}"
    return ask(address, path=path, **headers)


def pictures(count=2, side=_own.SIDE):
    """What the page sends when pictures are dropped on it."""
    content = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(content, "JPEG")
    one = {"name": "red", "data": base64.b64encode(content.getvalue()).decode()}
    return json.dumps([one] * count).encode()


def sent(address, body, **headers):
    """The answer to pictures."""
    return ask(address, "POST", "/own", body, **{"Content_Type": "application/json", **headers})


def test_a_move_is_answered(address):
    status, headers, body = moved(address)
    assert status == 200
    made = json.loads(body)
    assert made["cards"].count("data:image/png;base64,") == 6  # MixUp pastes no picture
    assert made["query"] == "data=digits&rows=2&policy=mixup"
    assert headers["cache-control"] == "no-store"


def test_own_pictures_come_back_mixed(address):
    status, _, body = sent(address, pictures())
    assert status == 200
    made = json.loads(moved(address, json.loads(body)["data"])[2])
    assert not made["notes"]
    assert "red 2" in made["cards"]
    status, _, body = sent(address, pictures(1))
    assert status == 400
    assert json.loads(body)["wrong"].startswith("your pictures: There are 1.")


def test_own_pictures_are_written_to_no_file(address):
    """Every file that this process opens to write is told of by Python itself."""
    opened = []

    def watch(event, arguments):
        if event == "open" and opened is not None and watching:
            _, mode, flags = arguments
            if (mode and set(mode) & set("wax+")) or (flags or 0) & (os.O_WRONLY | os.O_RDWR):
                opened.append(arguments)
        elif (
            event in ("os.mkdir", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp") and watching
        ):
            opened.append((event, arguments))

    watching = False
    sys.addaudithook(watch)
    moved(address)  # caches of fonts are made, not of pictures
    ask(address, path="/file?kind=png&data=digits")
    watching = True
    name = json.loads(sent(address, pictures())[2])["data"]
    assert moved(address, name)[0] == 200
    for kind in ("png", "plan", "rows", "code"):
        assert ask(address, path=f"/file?kind={kind}&data={name}")[0] == 200
    seen, watching = list(opened), False
    assert not seen


@pytest.mark.parametrize(
    ("kind", "name"), [("png", "batchmix.png"), ("plan", "batchmix-plan.npz"),
                       ("rows", "batchmix-rows.npz"), ("code", "batchmix_view.py")],
)  # fmt: skip
def test_downloads_are_attachments(address, kind, name):
    status, headers, body = ask(address, path=f"/file?kind={kind}&data=digits")
    assert status == 200
    assert body
    assert headers["content-disposition"] == f'attachment; filename="{name}"'
    assert ask(address, path="/file?kind=other")[0] == 400


def test_a_name_that_leads_here_gets_nothing(address):
    """DNS rebinding: a page of evil.example, whose name now means 127.0.0.1, asks as its own."""
    port = address.rpartition(":")[2]
    for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", ""):
        host = f"{name}:{port}"
        for path in ("/", "/show", "/file?kind=code"):
            assert ask(address, path=path, Host=host)[0] == 403
        status, _, body = moved(address, Host=host, Origin=f"http://{host}")
        assert status == 403
        assert b"base64" not in body
        assert sent(address, pictures(), Host=host, Origin=f"http://{host}")[0] == 403
    assert ask(address, Host=["127.0.0.1", "evil.example"])[0] == 400
    assert ask(address, Host=[])[0] == 400


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machine_by_its_names(address, name):
    host = f"{name}:{address.rpartition(':')[2]}"
    assert ask(address, Host=host)[0] == 200
    assert moved(address, Host=host, Origin=f"http://{host}")[0] == 200
    assert ask(address, Host=name)[0] == 200  # a tunnel from port 80


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "file://", ["null", "null"], ""]
)
def test_other_pages_may_not_ask(address, origin):
    for path in ("/", "/show", "/file?kind=code"):
        status, headers, body = ask(address, path=path, Origin=origin)
        assert status in (400, 403)
        assert "access-control-allow-origin" not in headers
        assert len(body) < 100
    assert moved(address, Origin=origin)[0] in (400, 403)
    assert sent(address, pictures(), Origin=origin)[0] in (400, 403)
    asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
    assert ask(address, "OPTIONS", "/own", **asked)[0] in (400, 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_link_here_and_no_more(address, site):
    assert ask(address, Sec_Fetch_Site=site)[0] == 200
    for path in ("/show", "/file?kind=code", "/style.css", "/page.js"):
        assert ask(address, path=path, Sec_Fetch_Site=site)[0] == 403
    assert sent(address, pictures(), Sec_Fetch_Site=site)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/show"),
        ("POST", "/file"),
        ("POST", "/own/"),
        ("POST", "//own"),
        ("POST", "/upload"),
        ("PUT", "/own"),
        ("PUT", "/"),
        ("POST", "/"),
        ("DELETE", "/own"),
        ("TRACE", "/"),
        ("OPTIONS", "/"),
        ("GET", "/own"),
        ("GET", "/show/"),
        ("GET", "/file=/etc/passwd"),
        ("GET", "/file/etc/passwd"),
        ("GET", "/page.html"),
        ("GET", "/_app.py"),
        ("GET", "/../_app.py"),
        ("GET", "/%2e%2e/_app.py"),
        ("GET", "/style.css/../_app.py"),
        ("GET", "/style.css%00"),
        ("GET", "//page.js"),
        ("GET", "/etc/passwd"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/" + "a" * 3000),
        ("GET", "/" + "%C3%A9" * 150),
    ],
)
def test_what_the_page_does_not_use_is_not_there(address, method, path):
    body = b"x" * 100 if method == "POST" else None
    status, _, said = ask(address, method, path, body)
    assert status in (403, 404)
    assert b"root:" not in said


def test_nothing_large_is_taken(address):
    large = b"[" * (_guard.MOST_BYTES + 1)
    assert ask(address, "POST", "/own", large)[0] == 413
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    headers = {"Transfer_Encoding": "chunked", "Content-Length": []}
    assert ask(address, "POST", "/own", chunked, **headers)[0] == 413


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 60_000, b'{"name": 10}', b"\xff\x00"])
def test_a_body_that_is_no_pictures_is_refused(address, body):
    status, headers, said = sent(address, body)
    assert status == 400
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


BEGUN = b"POST /own HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"


def test_open_requests_are_counted(data, monkeypatch):
    """The next is turned away, and there is room when they end."""
    monkeypatch.setattr(_guard, "MOST_OPEN", 5)
    with served(data) as where:
        address = where.removeprefix("http://")
        held = [opened(address, BEGUN) for _ in range(_guard.MOST_OPEN)]
        wait, tries = threading.Event(), 600
        while ask(address)[0] != 503 and tries:
            tries -= not wait.wait(0.1)
        assert tries
        for one in held:
            one.close()
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


@pytest.mark.parametrize("first", [b"", b"GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_header_that_does_not_come_is_not_waited_for(data, monkeypatch, first, sent):
    monkeypatch.setattr(_server, "PATIENCE", 0.2)
    with served(data) as where:
        address = where.removeprefix("http://")
        assert heard(opened(address, first + sent)).startswith(b"HTTP/1.1 200" if first else b"")
        assert moved(address)[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(data, monkeypatch):
    monkeypatch.setattr(_guard, "PATIENCE", 0.2)
    with served(data) as where:
        address = where.removeprefix("http://")
        assert heard(opened(address, BEGUN)).startswith(b"HTTP/1.1 408")


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


@pytest.mark.parametrize("path", [b"/show", b"/style.css"])
def test_a_body_that_breaks_after_its_answer_says_nothing(address, caplog, path):
    connection = opened(
        address, b"GET %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    )
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.sendall(b"not a length\r\n")
    heard(connection)
    assert not caplog.records


def test_the_usual_headers_are_on_every_answer(address):
    for path in ("/", "/show", "/style.css", "/nothing", "/file?kind=code"):
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
            assert "script-src 'self';" in policy  # no text inside of the page is run
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


def test_the_page_has_scripts_of_its_own_and_no_others(address):
    body = ask(address)[2]
    found = Scripts()
    found.feed(body.decode())
    assert not any(text.strip() for text in found.texts)
    assert not found.handlers
    assert sorted(found.sources) == ["page.js", "style.css"]
    imports = re.findall(rb'from "\./(\S+)"', ask(address, path="/page.js")[2])
    for source in (*found.sources, *map(bytes.decode, imports)):
        assert ask(address, path=f"/{source}")[0] == 200
        assert b"http:" not in ask(address, path=f"/{source}")[2]


def test_names_of_classes_are_escaped_in_cards(address):
    cards = json.loads(moved(address, HOSTILE)[2])["cards"]
    assert "&lt;b&gt;bee" in cards
    assert "<b>bee" not in cards


def test_what_is_wrong_in_an_address_is_text(address):
    """The page shows notes as text; control characters are escaped."""
    wrong = quote("<img src=x onerror=alert(3)>\x1b[2J\u202e")
    made = json.loads(ask(address, path=f"/show?data={wrong}&policy={wrong}&{wrong}=1")[2])
    assert len(made["notes"]) == 3
    assert all(note.isprintable() for note in made["notes"])
    assert "<img src=x" not in made["cards"] + made["spread"] + made["legend"]
    script = ask(address, path="/page.js")[2].decode()
    assert "line.textContent = one" in script


@pytest.fixture(scope="module")
def open_to_all(data):
    """Served at an address that was given: (address, token)."""
    with served(data, host="127.0.0.1") as where:
        address, _, query = where.removeprefix("http://").partition("/?token=")
        yield address, query


def test_with_an_address_a_token_is_asked_for(open_to_all):
    address, token = open_to_all
    assert len(token) >= 40
    for path in ("/", "/show", "/?token=", f"/?token={token[:-1]}", f"/?token={token}x",
                 "/?token=%C3%A9", f"/show?token={token}"):  # fmt: skip
        status, _, body = ask(address, path=path)
        assert status == 401
        assert token.encode() not in body
    assert moved(address)[0] == 401
    assert sent(address, pictures())[0] == 401
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
    assert b"data:image/png" in moved(address, **given)[2]
    assert moved(address, **given | {"Origin": "http://evil.example"})[0] == 403


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


def test_the_command_asks_no_other_host_for_anything(tmp_path):
    command = [sys.executable, "-m", "batchmix", "explore", "--no-browser"]
    given = {"env": offline.environment(tmp_path), "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **given) as running:
        try:
            (address,) = re.findall(r"^http://(\S+)", running.stdout.readline())
            assert ask(address)[0] == 200
            assert moved(address)[0] == 200
        finally:
            running.send_signal(signal.SIGINT)
            code = running.wait(60)
    processes, asked = offline.told(tmp_path)
    assert code == 0
    assert processes >= 1
    assert asked == []
