"""A figure as part of a page: vectors, in the colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from html import escape

import matplotlib
from matplotlib.figure import Figure


def svg(canvas: Figure, variables: Mapping[str, str], told: str = "") -> str:
    """SVG whose colours are the page's where `variables` name them; `told` is what it shows."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "batchmix"}):
        content = io.StringIO()
        canvas.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    text = content.getvalue()
    text = text[text.index("<svg") :]
    used = set(re.findall(r"#([\w-]+)", text))  # other ids would be there once per figure
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    for colour, variable in variables.items():
        text = text.replace(colour, f"var({variable})")
    label = f'role="img" aria-label="{escape(told)}" ' if told else ""
    return text.replace("<svg ", f"<svg {label}", 1)
