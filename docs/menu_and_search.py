"""Two details of the site, which mkdocs asks for: its menu of versions, and the order of what its
search finds.

Titles of reports for other libraries are full of the words that people search for: whoever looks
for CutMix wants its page, and not what is wrong with it somewhere else. And a site of one version
would ask for a list of versions that nobody wrote: mike writes it, and says so by a variable.
"""

from __future__ import annotations

import os
from typing import Any

WEIGHTS = {"upstream/": 0.1, "policies/": 4}


def on_config(config: Any) -> Any:
    """The menu of versions is there where mike builds one of several."""
    if "MIKE_DOCS_VERSION" not in os.environ:
        config["extra"].pop("version", None)
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as it is, with what its hits weigh; 1 where nothing is said."""
    for folder, weight in WEIGHTS.items():
        if page.file.src_uri.startswith(folder):
            page.meta.setdefault("search", {"boost": weight})
    return markdown
