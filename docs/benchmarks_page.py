"""Puts benchmarks/README.md into its page of the site; mkdocs calls it when it builds that page.

The tables of each size stay in the repository: speed.md has what they come to.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "benchmarks/README.md"
MARK = "<!-- benchmarks/README.md -->"
BY_SIZE = "\n![Time against bytes]"  # where the tables of each size begin


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page, with the text in the place of the mark."""
    return markdown.replace(MARK, text(README.read_text())) if MARK in markdown else markdown


def text(readme: str) -> str:
    """What has a place on the site, with links to its pages and files by their names."""
    head, _, rest = readme.partition("\n")[2].partition(BY_SIZE)
    if not rest:
        raise ValueError(f"{README.name}: expected {BY_SIZE.strip()!r} before the tables by size")
    head = head.replace("](../docs/", "](").replace("\n### Targets", "\n## Targets on the CPU")
    return re.sub(r"\[([^\]]+)\]\(([\w./-]+\.(?!md)\w+)\)", _named, head).strip()


def _named(link: re.Match[str]) -> str:
    """A link to a file of the repository as its path, which is where it is."""
    label, target = link.groups()
    path = target.removeprefix("../") if target.startswith("../") else f"benchmarks/{target}"
    return f"`{path}`" if label == target else f"{label} (`{path}`)"
