"""The figures of `batchmix preview` as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

_CAPTIONS = {
    "rows.png": "Each column is a row of the batch: itself (blue), its partner (orange), what is "
    "pasted and how strongly, and the mixed row with the largest parts of its soft label. A line "
    "in orange goes around a region that was cut.",
    "alpha.png": "The same rows with the same partners, from small to large alpha. On the right: "
    "how the share of own content spreads over many rows.",
    "labels.png": "How hard the labels are: the largest probability of each soft label. Beside it "
    "soft labels of single rows over all classes.",
}
STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #666; --page: #f6f7f9; --line: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #aaa; --page: #16181d; --line: #333; }
}
body { margin: 2.5rem auto; max-width: 76rem; padding: 0 1.2rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
p, figcaption { color: var(--soft); margin: 0; }
figure { margin: 1.6rem 0; }
figcaption { font-size: .92rem; max-width: 46rem; margin-top: .5rem; }
img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem; box-sizing: border-box; }
pre { background: #1f2430; color: #e6e6e6; padding: .8rem 1rem; border-radius: 8px;
  overflow-x: auto; font: .9rem/1.5 ui-monospace, monospace; }
"""


def page(title: str, command: str, figures: Mapping[str, bytes]) -> bytes:
    """HTML with the figures inside; `command` makes them again."""
    parts = [
        f'<figure><img alt="{name.removesuffix(".png")}" src="data:image/png;base64,'
        f'{base64.b64encode(content).decode()}"><figcaption>{_CAPTIONS[name]}</figcaption></figure>'
        for name, content in figures.items()
    ]
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>Made by batchmix preview; nothing was trained.</p>\n"
        + "\n".join(parts)
        + f"\n<p>The same figures again:</p>\n<pre>{escape(command)}</pre>\n</body>\n</html>\n"
    )
    return text.encode()
