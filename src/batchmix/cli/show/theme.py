"""The colours of every figure, for a light page and for a dark one.

Blue is a row's own content and orange its partner's. In a comparison no row has a partner: there
blue is mixing, orange its rival label smoothing, and the figure says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib

Theme = Mapping[str, str]
LIGHT: Theme = {
    "page": "#ffffff", "ink": "#333333", "soft": "#777777", "line": "#e5e5e5", "frame": "#cccccc",
    "empty": "#f4f4f4", "ok": "#dfeadf",
    "own": "#2b6cb0", "partner": "#d98a1f", "others": "#aaaaaa",
    "mix": "#2b6cb0", "smooth": "#d98a1f", "none": "#555555",
}  # fmt: skip
DARK: Theme = {
    "page": "#16181d", "ink": "#e2e4e8", "soft": "#a2a7b0", "line": "#333740", "frame": "#4a4f59",
    "empty": "#262a31", "ok": "#27402f",
    "own": "#6fa8e6", "partner": "#eda94d", "others": "#7d828b",
    "mix": "#6fa8e6", "smooth": "#eda94d", "none": "#b0b4bb",
}  # fmt: skip


@contextmanager
def drawn(theme: Theme) -> Iterator[None]:
    """Figures inside have the theme's page, text and lines, and take names as they are.

    A name is no mathematics, and there is no word on glyphs that the font lacks.
    """
    ink = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    page = ("figure.facecolor", "savefig.facecolor", "axes.facecolor")
    settings = {
        **dict.fromkeys(ink, theme["ink"]),
        **dict.fromkeys(page, theme["page"]),
        "axes.edgecolor": theme["soft"],
        "text.parse_math": False,
    }
    with warnings.catch_warnings(), matplotlib.rc_context(settings):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
