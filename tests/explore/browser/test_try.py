"""The page "Try it" of the documentation in a real browser, below another path of a host."""

import http.server
import runpy
import shutil
import threading
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page as the site has it, without the site around it."""
    top = tmp_path_factory.mktemp("site")
    here = top / "below" / "try"
    here.mkdir(parents=True)
    for name, content in runpy.run_path(str(DOCS / "make_try.py"))["files"]():
        (here / name).write_bytes(content)
    for name in ("try.js", "try.css"):
        shutil.copy(DOCS / name, here.parent / name)
    text = (DOCS / "try.md").read_text()
    body = text[text.index("<link") : text.index("## What you see")]
    (here / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{body}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=str(top))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/below/try/"
        server.shutdown()


def test_every_setting_has_its_picture(chromium, address):
    page = chromium.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    page.goto(address)
    page.wait_for_selector("#try .controls:not([hidden])")
    seen = page.evaluate(
        """async () => {
          const by = (id) => document.getElementById(`try-${id}`);
          const seen = [];
          for (const policy of by("policy").options)
            for (let alpha = 0; alpha <= by("alpha").max; alpha++)
              for (let step = 0; step <= by("step").max; step++) {
                by("policy").value = policy.value;
                by("alpha").value = alpha;
                by("step").value = step;
                by("step").dispatchEvent(new Event("input"));
                await Promise.all([by("mixed").decode(), by("partners").decode()]);
                seen.push([by("mixed").src, by("mixed").alt, by("code").innerText.trim()]);
              }
          return seen;
        }"""
    )
    page.close()
    pictures = {src for src, _, _ in seen}
    assert len(pictures) == 165
    assert len({code for _, _, code in seen}) == 165
    assert len({alt for _, alt, _ in seen}) == 165
    assert [url for url in wrong if not url.endswith("favicon.ico")] == []


def test_sliders_move_by_keyboard_and_say_their_values(chromium, address):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.wait_for_selector("#try .controls:not([hidden])")
    page.focus("#try-alpha")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#try-alpha", "aria-valuetext") == "2"
    assert "CutMix with alpha 2, step 0" in page.get_attribute("#try-mixed", "alt")
    assert "CutMix(2)" in page.inner_text("#try-code")
    page.select_option("#try-policy", "Mosaic")
    assert not page.locator("#try-alpha").is_visible()
    assert "Mosaic()" in page.inner_text("#try-code")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_without_javascript_it_is_a_picture_with_a_note(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#try-mixed").is_visible()
    assert "need JavaScript" in page.inner_text("#try")
    assert not page.locator("#try-policy").is_visible()
    context.close()
