"""The pages of hosts are true: each runs in a process of its own."""

import pytest

import pages

RUNS = [(page, {}) for page in pages.host_pages() if page.name not in {"keras.md", *pages.OWN}]
KERAS = pages.DOCS / "keras.md"
RUNS += [(KERAS, {"KERAS_BACKEND": name}) for name in ("tensorflow", "jax", "torch")]


@pytest.mark.parametrize(("page", "environment"), RUNS, ids=str)
def test_python_blocks_run(page, environment, tmp_path):
    pages.run(page, tmp_path, **environment)
