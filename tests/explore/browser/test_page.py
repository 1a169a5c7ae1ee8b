"""The page in a real browser: sliders move, pictures change, the copied code gives their pixels."""

import base64
import io
import re
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

PATIENCE = 15_000  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of ten images, wider than high."""
    top = tmp_path_factory.mktemp("data") / "drawn"
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
    page = _app.app(open_sources([str(folder)]))
    try:
        with _server.served(page) as where:
            yield where
    finally:
        socket.socket.connect = connect
    assert not outside


@pytest.fixture
def visit(chromium, address):
    """Open the page as another user; what it asks other hosts for, or may not do, is an error."""
    contexts, strange = [], []

    def go(query="", width=1400, scheme="light"):
        size = {"width": width, "height": 844}
        context = chromium.new_context(viewport=size, color_scheme=scheme)
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
        page.on("pageerror", lambda error: strange.append(str(error)))
        page.goto(f"{address}/{query}")
        page.wait_for_selector("body[data-ready]")
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


def at(page, text):
    """Wait until the address has this in it."""
    page.wait_for_function("text => location.href.includes(text)", arg=text)


def copied(page, which):
    """What the copy button of a block of code puts on the clipboard."""
    page.evaluate("navigator.clipboard.writeText('nothing')")
    page.locator(f"#{which} button").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) !== 'nothing'")
    return page.evaluate("navigator.clipboard.readText()")


def set_number(page, name, value):
    """Type into the number beside a slider."""
    box = page.locator(f"#{name}")
    box.fill(str(value))
    box.press("Enter")


def notes(page):
    return page.inner_text("#notes")


def test_a_slider_moved_changes_the_images_and_the_address(visit):
    page = visit("?data=digits&rows=16")
    for slider in ("a", "b", "prob", "seed", "step", "first"):
        before = pictures(page)
        handle = page.locator(f"#{slider}-range")
        handle.focus()
        for _ in range(6):  # a tenth of alpha may leave small images as they were
            handle.press("ArrowLeft" if slider == "prob" else "ArrowRight")
        assert len(changed(page, before)) == 16
        at(page, f"{slider}=")
    set_number(page, "rows", 3)
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 3")


def test_alpha_moves_by_ratios_with_the_keyboard_and_says_its_value(visit):
    """Every tick is as far from the last as its logarithm; what is read out is alpha."""
    page = visit("?data=digits&policy=mixup&a=0.1&rows=2")
    handle = page.locator("#a-range")
    assert handle.get_attribute("aria-label") == "alpha, slider"
    assert handle.get_attribute("aria-valuetext") == "0.1"
    handle.focus()
    seen = []
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        seen.append(handle.get_attribute("aria-valuetext"))
    assert seen == ["0.15", "0.2", "0.25", "0.3", "0.4"]
    at(page, "a=0.4")
    assert page.locator("#a").input_value() == "0.4"
    assert "0.40" not in page.inner_text("#code")
    assert "MixUp(0.4)" in page.inner_text("#code")
    page.keyboard.press("End")
    at(page, "a=8")
    page.keyboard.press("Home")
    at(page, "a=0.05")
    ticks = page.locator("#controls .steps .ticks").first.inner_text().split()
    assert ticks == ["0.1", "0.2", "0.4", "1", "2", "8"]
    set_number(page, "a", 0.37)  # between two steps
    at(page, "a=0.37")
    assert page.locator("#a").input_value() == "0.37"


def test_pair_is_no_dead_end(visit):
    page = visit("?data=digits")
    page.select_option("#per", "pair")
    at(page, "pairing=reverse")
    assert "partners are 'reverse' now" in notes(page)
    assert page.locator("#pairing").input_value() == "reverse"
    assert page.locator("#cards .card").count() == 8
    page.select_option("#pairing", "roll")
    at(page, "pairing=roll")
    assert page.locator("#per").input_value() == "row"
    assert "one draw per row now" in notes(page)
    assert page.locator("#cards .card").count() == 8


def test_a_number_out_of_range_is_told_and_corrected(visit):
    page = visit("?data=digits&policy=mixup")
    set_number(page, "a", 20)
    at(page, "a=8")
    assert "takes 0.05 to 8: '20' became 8." in notes(page)
    assert page.locator("#a").input_value() == "8"
    assert "MixUp(8)" in page.inner_text("#code")
    set_number(page, "a", 2)
    at(page, "a=2")
    assert notes(page) == ""


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?mixup=99", "The address has 'mixup', which is no setting of this page."),
        ("?data=/etc", "Data '/etc': this page shows photos, digits, drawn."),
        ("?data=<img src=x onerror=alert(1)>", "Data '<img src=x onerror=alert(1)>'"),
    ],
)
def test_what_is_wrong_in_an_address_is_said(visit, query, says):
    page = visit(query)
    assert says in notes(page)
    assert page.locator("#data").input_value() == "photos"
    assert page.locator("#cards .card").count() == 8
    assert not page.url.partition("?")[2]


def test_reset_keeps_the_data_alone(visit):
    page = visit("?data=digits&policy=fmix&a=3&seed=4&per=batch&versus=mixup")
    page.click("#reset")
    page.wait_for_function("() => location.search === '?data=digits'")
    assert page.locator("#policy").input_value() == "switch"
    assert page.locator("#seed").input_value() == "0"
    assert page.locator("#versus").input_value() == ""


def test_two_policies_side_by_side(visit):
    page = visit("?data=drawn&policy=cutmix&a=1&rows=5")
    alone = pictures(page)
    page.select_option("#versus", "mixup")
    at(page, "versus=mixup")
    both = pictures(page)
    assert both[::2] == alone
    assert "B: alpha" in page.inner_text("#controls")
    assert page.locator("#spread svg").count() == 2
    handle = page.locator("#c-range")
    handle.focus()
    handle.press("Home")
    at(page, "c=0.05")
    assert pictures(page)[::2] == alone
    names = {}
    exec(compile(copied(page, "code"), "copied", "exec"), names)
    assert (names["mixed"] == pixels(page)[::2]).all()
    assert (names["other_mixed"] == pixels(page)[1::2]).all()


def test_steps_play_and_stop(visit):
    page = visit("?data=digits&rows=2&step=98")
    before = pictures(page)
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    changed(page, before)
    at(page, "step=100")  # the last one
    page.wait_for_function("() => document.querySelector('#play').innerText === 'Play steps'")
    page.click("#play")  # from the beginning
    page.wait_for_function("() => !location.href.includes('step=')")
    at(page, "step=1")
    page.click("#play")
    page.wait_for_timeout(500)  # a step that was asked for still comes
    stopped = page.url
    page.wait_for_timeout(1500)
    assert page.url == stopped
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    page.click("#play")
    page.select_option("#policy", "cutmix")  # a move ends it
    at(page, "policy=cutmix")
    assert page.inner_text("#play") == "Play steps"


def photographs(*shades, side=(300, 200)):
    """Files to drop: pictures of one shade each."""
    found = []
    for shade in shades:
        content = io.BytesIO()
        Image.new("RGB", side, (shade, 128, 255 - shade)).save(content, "PNG")
        found.append({"name": f"shade {shade}.png", "mimeType": "image/png",
                      "buffer": content.getvalue()})  # fmt: skip
    return found


def test_own_pictures_are_chosen_and_mixed(visit):
    page = visit()
    page.set_input_files("#files", photographs(10))
    page.wait_for_function("() => document.querySelector('#notes').innerText.includes('another')")
    page.set_input_files("#files", photographs(200, 90))
    at(page, "data=own-")
    assert page.locator("#cards .card").count() == 3
    assert "shade 200" in page.inner_text("#cards")
    assert pixels(page).shape == (3, 160, 160, 3)
    assert page.locator("#data option:checked").inner_text() == "your pictures"
    shown = pictures(page)
    page.reload()  # they are held by the server
    page.wait_for_selector("body[data-ready]")
    assert pictures(page) == shown
    page.set_input_files("#files", [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"}])
    page.wait_for_function("() => document.querySelector('#notes').innerText.includes('no pict')")
    assert pictures(page) == shown


def test_pictures_beside_one_that_does_not_read_are_taken(visit):
    page = visit()
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    one, two = photographs(10, 200)
    page.set_input_files("#files", [one, broken, two])
    at(page, "data=own-")
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 2")
    assert notes(page) == "broken.png does not read as a picture."


def test_pictures_that_come_later_are_seen_beside_the_first(visit):
    page = visit("?first=3")
    page.set_input_files("#files", photographs(10, 90))
    at(page, "data=own-")
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 2")
    page.set_input_files("#files", photographs(130, 170))
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 4")


def test_of_too_many_pictures_the_number_left_out_is_said(visit):
    page = visit()
    page.set_input_files("#files", photographs(*range(0, 15 * 16, 16)))
    page.wait_for_function("() => document.querySelectorAll('#cards .card').length === 12")
    page.wait_for_function("() => document.querySelector('#notes').innerText")
    assert notes(page) == "There is room for 12 pictures: the first 3 gave way."


def test_a_server_that_is_gone_is_said_and_found_again(chromium):
    with _server.served(_app.app(open_sources([]))) as where:
        page = chromium.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(where)
        page.wait_for_selector("body[data-ready]")
    gone = "The server does not answer. Start batchmix explore again."
    page.set_input_files("#files", photographs(10, 90))
    page.wait_for_function("gone => document.querySelector('#notes').innerText === gone", arg=gone)
    with _server.served(_app.app(open_sources([])), int(where.rpartition(":")[2])):
        page.select_option("#policy", "mixup")
        at(page, "policy=mixup")
        assert page.locator("#cards .card").count() == 8
        assert notes(page) == ""
    page.close()
    assert not errors


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_own_pictures_are_dropped_and_pasted(visit, how):
    page = visit()
    page.evaluate(
        """async ([files, how]) => {
          const data = new DataTransfer();
          for (const [name, text] of files) {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            data.items.add(new File([bytes], name, {type: "image/png"}));
          }
          const given = {bubbles: true, cancelable: true};
          document.body.dispatchEvent(how === "drop"
            ? new DragEvent("drop", {...given, dataTransfer: data})
            : new ClipboardEvent("paste", {...given, clipboardData: data}));
        }""",
        [[[f["name"], base64.b64encode(f["buffer"]).decode()] for f in photographs(0, 120)], how],
    )
    at(page, "data=own-")
    assert "shade 120" in page.inner_text("#cards")


def test_downloads_are_what_is_shown(visit, tmp_path):
    page = visit("?data=drawn&policy=cutmix&a=1&rows=4&step=2")
    there = {}
    for kind in ("png", "plan", "rows-file", "code-file"):
        with page.expect_download() as waiting:
            page.click(f"#{kind}")
        there[kind] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(there[kind])
    assert [path.name for path in there.values()] == [
        "batchmix.png", "batchmix-plan.npz", "batchmix-rows.npz", "batchmix_view.py"
    ]  # fmt: skip
    plan = bm.Plan.load(there["plan"])
    x = np.load(there["rows-file"])["x"]
    assert (bm.mix(x, plan, "NHWC") == pixels(page)).all()
    assert there["code-file"].read_text() == copied(page, "code")
    with Image.open(there["png"]) as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_settings_and_result_are_seen_together_on_a_phone(visit, scheme):
    page = visit("?policy=cutmix", width=390, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not page.locator("#policy").is_visible()
    page.click("#settings summary")  # one tap
    page.select_option("#policy", "mixup")
    at(page, "policy=mixup")
    settings = page.locator("#settings").bounding_box()
    result = page.locator("#cards .mixed .cell").first.bounding_box()
    assert settings["y"] > 844 / 3
    assert settings["y"] + settings["height"] <= 845
    assert 0 < result["y"] < result["y"] + result["height"] < settings["y"]
    handle = page.locator("#a-range")
    handle.focus()
    before = pictures(page)
    handle.press("Home")
    changed(page, before)


def test_a_card_is_made_larger_with_the_keyboard(visit):
    page = visit("?data=digits&rows=4")
    button = page.locator(".card .larger").nth(1)
    small = page.locator(".card").nth(1).bounding_box()["width"]
    button.focus()
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator(".card").nth(1).bounding_box()["width"] > 1.9 * small


def test_everything_has_a_name_for_a_screen_reader(visit):
    page = visit("?data=digits&rows=2")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, a, [role=img]")]
          .filter((one) => one.checkVisibility())
          .filter((one) => !(one.getAttribute("aria-label") || one.innerText?.trim()
            || one.labels?.length)).map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    assert "row 1, " in page.locator("#cards [role=img]").first.get_attribute("aria-label")
    assert page.locator("#notes").get_attribute("aria-live") == "polite"


def test_the_copied_code_gives_the_pixels_of_the_page(visit):
    page = visit("?data=drawn&policy=cutmix&a=1&rows=7&prob=0.9")
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
    assert copied(page, "link") == page.url


def test_a_link_shows_the_same_view_to_another_user(visit):
    one = visit("?policy=mixup&data=digits")
    one.select_option("#per", "batch")
    at(one, "per=batch")
    before = pictures(one)
    set_number(one, "step", 3)
    changed(one, before)
    at(one, "step=3")
    shown = pictures(one)
    other = visit("?" + one.url.partition("?")[2])
    assert pictures(other) == shown
    assert other.locator("#step").input_value() == "3"
    assert other.locator("#policy").input_value() == "mixup"


def test_two_users_at_once_do_not_meet(visit):
    pages = [visit("?data=digits&policy=mixup&a=8"), visit("?data=drawn&policy=cutmix")]
    for step in (1, 2, 3):
        for page in pages:
            set_number(page, "step", step)
    for page in pages:
        at(page, "step=3")
    alone = [visit("?" + page.url.partition("?")[2]) for page in pages]
    for page, same in zip(pages, alone):
        assert pictures(page) == pictures(same)
    assert "data=drawn" in pages[1].url


def test_numbers_that_the_policy_has_not_are_hidden(visit):
    page = visit("?policy=cutmix&data=digits")
    page.wait_for_selector("#b", state="hidden")
    assert page.locator("#a").is_visible()
    page.select_option("#policy", "switch")
    page.wait_for_selector("#b", state="visible")
    assert "CutMix alpha" in page.inner_text("#controls")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1500])
def test_nothing_is_cut_off(visit, scheme, width):
    page = visit("?data=drawn&versus=mosaic&zz=1", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.eval_on_selector_all(
        "#cards .card *", "all => all.filter(e => e.scrollWidth > e.clientWidth + 1"
        " && e.clientWidth && getComputedStyle(e).overflow !== 'hidden').map(e => e.outerHTML)",
    )  # fmt: skip
    assert not wide
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/ant/0.png", "pyproject.toml"])
def test_no_file_is_served(address, folder, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/file={path.format(folder=folder)}")
    refused.value.close()
    assert refused.value.code in (403, 404)


def test_it_listens_to_this_machine_only(address):
    assert address.startswith("http://127.0.0.1:")
    port = int(address.rpartition(":")[2])
    with socket.socket() as other:  # the port is free on every other address of the machine
        other.bind(("127.0.0.2", port))


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
