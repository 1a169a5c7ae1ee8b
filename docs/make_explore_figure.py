"""Makes explore.png and explore-dark.png, the page of `batchmix explore`.

Needs batchmix[explore], playwright and Chromium (on the PATH, or named by BATCHMIX_CHROMIUM).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from batchmix.cli.explore import _app, _server, open_sources

HERE = Path(__file__).parent / "figures"
VIEWS = {
    "explore.png": ("light", "rows=12"),
    "explore-dark.png": ("dark", "policy=cutmix&a=1&rows=12"),
}

if __name__ == "__main__":
    page = _app.app(_app.make_page(open_sources([])))
    with _server.served(page) as address, sync_playwright() as playwright:
        program = os.environ.get("BATCHMIX_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (scheme, query) in VIEWS.items():
            size = {"width": 1280, "height": 860}
            tab = browser.new_page(color_scheme=scheme, viewport=size, device_scale_factor=1.5)
            tab.goto(f"{address}/?{query}")
            tab.wait_for_selector("#cards .card")
            tab.wait_for_timeout(500)  # the sidebar slides in
            tab.screenshot(path=HERE / name)
            print(HERE / name)
        browser.close()
