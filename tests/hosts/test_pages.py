"""The pages of hosts are true: each runs in a process of its own."""

import pytest

import pages

RUNS = [(page, {}) for page in pages.host_pages() if page.name not in {"keras.md", *pages.OWN}]
KERAS = [pages.DOCS / "keras.md", pages.DOCS / "peers" / "keras.md"]
BACKENDS = ("tensorflow", "jax", "torch")
RUNS += [(page, {"KERAS_BACKEND": name}) for page in KERAS for name in BACKENDS]


@pytest.mark.parametrize(("page", "environment"), RUNS, ids=str)
def test_python_blocks_run(page, environment, tmp_path):
    pages.run(page, tmp_path, **environment)
