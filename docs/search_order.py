"""The order of what the site's search finds; mkdocs calls it when it builds a page.

Titles of reports for other libraries are full of the words that people search for: whoever looks
for CutMix wants its page, and not what is wrong with it somewhere else.
"""

from __future__ import annotations

from typing import Any

WEIGHTS = {"upstream/": 0.1, "policies/": 4}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as it is, with what its hits weigh; 1 where nothing is said."""
    for folder, weight in WEIGHTS.items():
        if page.file.src_uri.startswith(folder):
            page.meta.setdefault("search", {"boost": weight})
    return markdown
