"""Makes explore.png and explore-dark.png, the page of `batchmix explore`.

Needs batchmix[explore], playwright and Chromium (on the PATH, or named by BATCHMIX_CHROMIUM).
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from batchmix.cli.explore import _app, _server, open_sources

HERE = Path(__file__).parent / "figures"
QUERY = "policy=cutmix&a=1&rows=9"
SCHEMES = {"explore.png": "light", "explore-dark.png": "dark"}

if __name__ == "__main__":
    page = _app.app(open_sources([]))
    with _server.served(page) as address, sync_playwright() as playwright:
        program = os.environ.get("BATCHMIX_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, scheme in SCHEMES.items():
            size = {"width": 1280, "height": 820}
            tab = browser.new_page(color_scheme=scheme, viewport=size, device_scale_factor=1.5)
            tab.goto(f"{address}/?{QUERY}")
            tab.wait_for_selector("body[data-ready]")
            tab.wait_for_timeout(300)  # pictures are decoded
            whole = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            # a third of the bytes
            whole.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(HERE / name, optimize=True)
            print(HERE / name)
        browser.close()
