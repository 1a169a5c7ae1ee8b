"""A real browser. Needs Chromium: on the PATH, or named by BATCHMIX_CHROMIUM."""

import os
import shutil

import pytest

CHROMIUM = os.environ.get("BATCHMIX_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def pytest_collection_modifyitems(items):
    """Every test of a browser; this is called with those of other folders, too."""
    missing = pytest.mark.skip(
        "NO BROWSER: install chromium (apt-get install chromium), or set BATCHMIX_CHROMIUM"
    )
    for item in items:
        if CHROMIUM is None and "chromium" in item.fixturenames:
            item.add_marker(missing)


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of a file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # containers have no user namespace for the sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
