"""The page in a real browser: sliders move, pictures change, the copied code gives their pixels.

Needs Chromium: on the PATH, or named by BATCHMIX_CHROMIUM.
"""

import base64
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli.explore import _app, _server, open_sources

CHROMIUM = os.environ.get("BATCHMIX_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="NO BROWSER: install chromium (apt-get install chromium), or set BATCHMIX_CHROMIUM",
    ),
    # Gradio sums up its queue with pandas, in a way that the next pandas gives up
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
PATIENCE = 15_000  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of ten photos, wider than high."""
    top = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (top / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 256, (12, 20, 3), np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i}.png")
    return top


@pytest.fixture(scope="module")
def address(folder):
    """Where the page is served; no connection leaves this machine."""
    outside = []
    connect = socket.socket.connect

    def watched(self, to):
        if self.family in (socket.AF_INET, socket.AF_INET6) and to[0] not in ("127.0.0.1", "::1"):
            outside.append(to)
            raise OSError(f"no network in this test: {to}")
        return connect(self, to)

    socket.socket.connect = watched
    page = _app.app(_app.make_page(open_sources([str(folder)])))
    try:
        with _server.served(page) as where:
            yield where
    finally:
        socket.socket.connect = connect
    assert not outside


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # containers have no user namespace for the sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Open the page as another user; what it asks other hosts for, or may not do, is an error."""
    contexts, strange = [], []

    def go(query=""):
        context = chromium.new_context(viewport={"width": 1400, "height": 900})
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith((address, "data:", "blob:")) else strange.append(r.url)
            ),
        )
        page.on(
            "console",
            lambda m: strange.append(m.text) if "Content Security Policy" in m.text else None,
        )
        page.goto(f"{address}/{query}")
        page.wait_for_selector("#cards .card, #cards .wrong")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not strange


def pictures(page, kind="mixed"):
    """The images of one kind, as the addresses that hold their pixels."""
    return page.eval_on_selector_all(f"#cards .{kind} img", "them => them.map(one => one.src)")


def pixels(page):
    """The mixed images, as the browser was given them."""
    data = [src.partition("base64,")[2] for src in pictures(page)]
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))) for d in data])


def changed(page, before):
    """Wait until other images are mixed, and return them."""
    page.wait_for_function(
        "old => { const now = [...document.querySelectorAll('#cards .mixed img')].map(i => i.src);"
        " return now.length && now.join() !== old; }",
        arg=",".join(before),
    )
    return pictures(page)


def copied(page, which):
    """What the copy button of a block of code puts on the clipboard."""
    page.evaluate("navigator.clipboard.writeText('nothing')")
    page.locator(f"#{which} button").first.click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) !== 'nothing'")
    return page.evaluate("navigator.clipboard.readText()")


def set_number(page, name, value):
    """Type into the number beside a slider."""
    box = page.locator(f"#{name} input[type=number]")
    box.fill(str(value))
    box.press("Enter")
    box.blur()


def test_a_slider_moved_changes_the_images_and_the_address(visit):
    page = visit()
    for slider in ("a", "b", "prob", "seed", "step", "first"):
        before = pictures(page)
        handle = page.locator(f"#{slider} input[type=range]")
        handle.focus()
        for _ in range(6):  # a tenth of alpha may leave small images as they were
            handle.press("ArrowLeft" if slider == "prob" else "ArrowRight")
        assert len(changed(page, before)) == 16
        page.wait_for_function("name => location.href.includes(name)", arg=f"{slider}=")
    set_number(page, "rows", 3)
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 3")


def test_the_copied_code_gives_the_pixels_of_the_page(visit):
    page = visit("?data=photos&policy=cutmix&a=1&rows=7&prob=0.9")
    before = pictures(page)
    set_number(page, "seed", 5)
    changed(page, before)
    page.wait_for_function("() => document.querySelector('#code').innerText.includes('seed=5')")
    names = {}
    exec(compile(copied(page, "code"), "copied", "exec"), names)
    assert names["mixed"].shape == (7, 12, 20, 3)
    assert (names["mixed"] == pixels(page)).all()
    assert (names["mixed"] != names["x"]).any()
    assert "--policies cutmix:1 --rows 7 --prob 0.9 --seed 5" in copied(page, "command")


def test_a_link_shows_the_same_view_to_another_user(visit):
    one = visit("?policy=mixup")
    before = pictures(one)
    one.get_by_label("batch", exact=True).check()
    set_number(one, "step", 3)
    changed(one, before)
    one.wait_for_function(
        "() => location.href.includes('step=3') && location.href.includes('per=')"
    )
    shown = pictures(one)
    other = visit("?" + one.url.partition("?")[2])
    assert pictures(other) == shown
    assert other.locator("#step input[type=number]").input_value() == "3"
    assert other.get_by_label("mixup", exact=True).is_checked()
    one.reload()
    one.wait_for_selector("#cards .card")
    assert pictures(one) == shown


def test_two_users_at_once_do_not_meet(visit):
    pages = [visit("?policy=mixup&a=8"), visit("?data=photos&policy=cutmix")]
    before = [pictures(page) for page in pages]
    for step in (1, 2, 3):
        for page in pages:
            set_number(page, "step", step)
    for page, old in zip(pages, before):
        changed(page, old)
        page.wait_for_function("() => location.href.includes('step=3')")
    alone = [visit("?" + page.url.partition("?")[2]) for page in pages]
    for page, same in zip(pages, alone):
        page.wait_for_function(
            "new_ => [...document.querySelectorAll('#cards .mixed img')].map(i => i.src).join()"
            " === new_",
            arg=",".join(pictures(same)),
        )
    assert "data=photos" in pages[1].url
    assert "data=" not in pages[0].url


def test_numbers_that_the_policy_has_not_are_hidden(visit):
    page = visit("?policy=cutmix")
    page.wait_for_selector("#b", state="hidden")
    assert page.locator("#a").is_visible()
    page.get_by_label("switch", exact=True).check()
    page.wait_for_selector("#b", state="visible")
    assert "CutMix alpha" in page.locator("#b").inner_text()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?data=/etc", "This page shows digits, photos."),
        ("?data=../photos", "This page shows digits, photos."),
        ("?a=-3", "It is a number in 0.05..8."),
        ("?per=pair", "Choose the pairing 'reverse'"),
        ("?data=<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
    ],
)
def test_a_view_that_there_is_not_is_refused_in_words(visit, query, says):
    page = visit(query)
    assert says in page.inner_text("#cards .wrong")
    assert not page.locator("#cards img").count()
    assert not page.locator("#code").is_visible()


def test_after_a_refusal_the_page_goes_on(visit):
    page = visit("?pairing=derangement")
    page.get_by_label("pair", exact=True).check()
    page.wait_for_selector("#cards .wrong")
    page.get_by_label("row", exact=True).check()
    page.wait_for_selector("#cards .card")
    page.wait_for_selector("#code", state="visible")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1500])
def test_nothing_is_cut_off(chromium, address, scheme, width):
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?data=photos")
    page.wait_for_selector("#cards .card", state="attached")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.eval_on_selector_all(
        "#cards .card *", "all => all.filter(e => e.scrollWidth > e.clientWidth + 1"
        " && e.clientWidth && getComputedStyle(e).overflow !== 'hidden').map(e => e.outerHTML)",
    )  # fmt: skip
    assert not wide
    assert page.evaluate("document.querySelector('.dark') !== null") == (scheme == "dark")
    context.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/ant/0.png", "pyproject.toml"])
def test_no_file_is_served(address, folder, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/gradio_api/file={path.format(folder=folder)}")
    refused.value.close()
    assert refused.value.code in (403, 404)


def test_it_listens_to_this_machine_only(address):
    assert address.startswith("http://127.0.0.1:")
    port = int(address.rpartition(":")[2])
    with socket.socket() as other:  # the port is free on every other address of the machine
        other.bind(("127.0.0.2", port))


def test_the_page_is_the_pure_function(visit):
    from batchmix.cli.explore._render import render
    from batchmix.cli.explore._view import View

    page = visit("?policy=cutmix&rows=5")
    expected = render(View(policy="cutmix", rows=5), open_sources([])).shown.mixed
    assert (pixels(page) == expected.squeeze(-1)).all()
    assert isinstance(expected, np.ndarray)
    assert bm.__version__ in copied(page, "code")


def test_a_port_that_is_taken_is_refused_in_one_line(address):
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "batchmix", "explore", "--no-browser", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("batchmix: --port: no page can be served")
    assert done.stderr.count("\n") == 1


def test_the_command_serves_until_it_is_interrupted():
    command = [sys.executable, "-m", "batchmix", "explore", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            (where,) = re.findall(r"^http://127\.0\.0\.1:\d+", running.stdout.readline())
            with urllib.request.urlopen(where) as page:
                assert b"batchmix explore" in page.read()
        finally:
            running.send_signal(signal.SIGINT)
            code = running.wait(30)
    assert code in (0, 130)
