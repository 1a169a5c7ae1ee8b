"""HTML pages that need nothing else: what they share, and that of `batchmix preview`."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from batchmix.cli._output import shown
from batchmix.cli.show.shown import Shown
from batchmix.cli.show.sounds import player

_SECONDS = 10  # of a sound on the page
_CAPTIONS = {
    "rows.png": "Each column is a row of the batch: itself (blue), its partner (orange), what is "
    "pasted and how strongly, and the mixed row with the largest parts of its soft label. A line "
    "in orange goes around a region that was cut.",
    "alpha.png": "The same rows with the same partners, from small to large alpha. On the right: "
    "how the share of own content spreads over many rows.",
    "labels.png": "How hard the labels are: the largest probability of each soft label. Beside it "
    "soft labels of single rows over all classes.",
}
_WAVES = (
    " Each wave fills its panel: x 8 in a corner says that it is drawn eight times as high as the "
    "loudest row."
)
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
_PLAYERS = """
table { border-spacing: .8rem .3rem; margin-left: -.8rem; }
th { text-align: left; font-weight: 500; }
audio { width: 13rem; height: 2.2rem; }
"""


def page(
    title: str, command: str, figures: Mapping[str, bytes], sounds: Sequence[Shown] = ()
) -> bytes:
    """HTML with the figures inside; `command` makes them again. `sounds` can be played."""
    captions = _CAPTIONS | ({"rows.png": _CAPTIONS["rows.png"] + _WAVES} if sounds else {})
    parts = [
        f'<figure><img alt="{name.removesuffix(".png")}" src="data:image/png;base64,'
        f'{base64.b64encode(content).decode()}"><figcaption>{captions[name]}</figcaption></figure>'
        for name, content in figures.items()
    ]
    head = f"<h1>{escape(title)}</h1>\n<p>Made by batchmix preview; nothing was trained.</p>"
    again = f"<p>The same figures again:</p>\n<pre>{escape(shown(command))}</pre>"
    heard = f"<h2>Listen</h2>\n{players(sounds)}" if sounds else ""
    body = [head, parts[0], heard, *parts[1:], again]
    return document(escape(title), _PLAYERS, body)


def document(title: str, style: str, parts: Iterable[str]) -> bytes:
    """A page of `parts`, in `STYLE` and `style`; all of it is HTML, the title too."""
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    return text.encode(errors="backslashreplace")


def players(sounds: Sequence[Shown], rows: int | None = None) -> str:
    """A line for each of the first `rows`: itself, and what each policy makes of it."""
    batch, rate = sounds[0].batch, sounds[0].batch.source.data.rate
    end = int(_SECONDS * rate)
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("", "row", *(s.name for s in sounds)))
    lines = "".join(
        f"<tr><th>{escape(shown(batch.name(i)))}</th>"
        + "".join(
            f"<td>{player(x[i, :end], rate)}</td>" for x in [batch.x] + [s.mixed for s in sounds]
        )
        + "</tr>\n"
        for i in range(len(batch) if rows is None else min(rows, len(batch)))
    )
    short = f" The first {_SECONDS} seconds." if batch.x.shape[1] > end else ""
    return (
        f"<p>Each row of the batch, and the mixed rows.{short}</p>\n"
        f"<table>\n<tr>{heads}</tr>\n{lines}</table>"
    )
