"""Docstrings as pages: formulas in plain characters, without a script; the last parts in bold."""

# ruff: noqa: RUF001  Greek letters are meant

from __future__ import annotations

import re
from typing import Any

import griffe

_SIGNS = {
    r"\alpha": "α", r"\lambda": "λ", r"\sigma": "σ", r"\ell": "ℓ", r"\sum": "Σ", r"\log": "log ",
    r"\sim": "~", r"\cdot": "·", r"\qquad": "   ", r"\quad": "   ", r"\,": " ", "~": "~",
}  # fmt: skip
_ACCENTS = {"tilde": "\N{COMBINING TILDE}", "hat": "\N{COMBINING CIRCUMFLEX ACCENT}"}
_INNER = r"\{((?:[^{}])*)\}"


def plain(latex: str) -> str:
    """The few LaTeX commands of the docstrings as characters and HTML."""
    text = re.sub(r"\\(?:mathrm|text)" + _INNER, r"\1", latex)
    text = re.sub(r"\\(tilde|hat) (\w)", lambda m: m[2] + _ACCENTS[m[1]], text)
    text = re.sub(r"\\frac" + _INNER + _INNER, r"\1/\2 ", text)
    for sign in sorted(_SIGNS, key=len, reverse=True):
        text = text.replace(sign, _SIGNS[sign])
    for mark, tag in (("_", "sub"), (r"\^", "sup")):
        text = re.sub(mark + _INNER, rf"<{tag}>\1</{tag}>", text)
        text = re.sub(mark + r"(\w)", rf"<{tag}>\1</{tag}>", text)
    if "\\" in text:
        raise ValueError(f"docs/docstrings.py does not know a command of {latex!r}: {text!r}")
    return " ".join(text.split(" "))


def as_markdown(docstring: str) -> str:
    """A docstring of this project as Markdown with Google's sections."""
    block = r"^\.\. math:: (.+(?:\n[ ]+.+)*)$"
    text = re.sub(block, lambda m: _formula(m[1]), docstring, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]+)`", lambda m: f"<code>{plain(m[1])}</code>", text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    return re.sub(r"^(Differs from|Source): ", r"**\1:** ", text, flags=re.MULTILINE)


def _formula(latex: str) -> str:
    """A paragraph of its own."""
    return f'<p class="formula">{plain(" ".join(latex.split()))}</p>'


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for everything that it finds."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
