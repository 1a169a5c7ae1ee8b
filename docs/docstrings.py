"""Docstrings as pages: formulas in plain characters, without a script; the last parts in bold.

LaTeX is rendered as far as it is known; a command that is not known appears as its name. Arguments
that share an entry get one each, and the fields of a NamedTuple have their types and defaults.
"""

from __future__ import annotations

import re
import unicodedata
from html.entities import html5
from typing import Any

import griffe

# where the name of the HTML entity means something else, or there is none
_SIGNS = {
    "sum": "\N{GREEK CAPITAL LETTER SIGMA}", "sim": "~", "cdot": "·", "infty": "∞", "partial": "∂",
    "to": "→", "neq": "≠", "ldots": "…", "cdots": "…", "dots": "…", "left": "", "right": "",
    "quad": "\N{EM SPACE}", "qquad": "\N{EM SPACE}\N{EM SPACE}", "sup": "sup ", "Pr": "Pr ",
}  # fmt: skip
_ACCENTS = {"tilde": "TILDE", "hat": "CIRCUMFLEX ACCENT", "bar": "MACRON", "dot": "DOT ABOVE"}
_INNER = r"\{([^{}]*)\}"


def plain(latex: str) -> str:
    """LaTeX as characters and HTML."""
    text = re.sub(r"\\([{}%_&#$])", lambda m: f"&#{ord(m[1])};", latex)
    text = re.sub(r"\\[,;:! ]|\\\\", " ", text)
    text = re.sub(r"\\(tilde|hat|bar|dot)\s*(?:\{(\w)\}|(\w))", _accented, text)
    while (simpler := _without_inner_braces(text)) != text:
        text = simpler
    text = re.sub(r"\\([A-Za-z]+)( ?)(?=(.?))", _sign, text)
    text = re.sub(r"_(\w)", r"<sub>\1</sub>", text)
    text = re.sub(r"\^(\w)", r"<sup>\1</sup>", text)
    return re.sub(r"[{}\\]", "", text)


def _accented(found: re.Match[str]) -> str:
    accent = unicodedata.lookup(f"COMBINING {_ACCENTS[found[1]]}")
    return unicodedata.normalize("NFC", (found[2] or found[3]) + accent)


def _without_inner_braces(text: str) -> str:
    text = re.sub(r"\\(?:math\w+|text|operatorname|boldsymbol)\s*" + _INNER, r"\1", text)
    text = re.sub(r"\\frac\s*" + _INNER + r"\s*" + _INNER, _fraction, text)
    text = re.sub(r"\\sqrt\s*" + _INNER, r"√(\1)", text)
    text = re.sub("_" + _INNER, r"<sub>\1</sub>", text)
    return re.sub(r"\^" + _INNER, r"<sup>\1</sup>", text)


def _fraction(found: re.Match[str]) -> str:
    over, under = (f"({p})" if re.search("[ +-]", p.strip()) else p for p in found.groups())
    return f"{over}/{under} "


def _sign(found: re.Match[str]) -> str:
    """A command as a character, or else as its name."""
    name, space, following = found.groups()
    sign = _SIGNS.get(name, html5.get(f"{name};"))
    if sign is not None:
        return sign + space
    return name if following in "_^(<" else f"{name} "


# "low, high: range of the numbers", and the lines of it that follow
_SHARED = r"^  (\*{0,2}\w+(?:, \*{0,2}\w+)+):( .+\n(?:    .+\n)*)"


def _one_each(shared: re.Match[str]) -> str:
    """An entry for several arguments as one entry for each."""
    return "".join(f"  {word}:{shared[2]}" for word in shared[1].split(", "))


def as_markdown(docstring: str) -> str:
    """A docstring of this project as Markdown with Google's sections."""
    block = r"^\.\. math:: (.+(?:\n[ ]+.+)*)$"
    text = re.sub(block, lambda m: _formula(m[1]), docstring, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]+)`", lambda m: f"<code>{plain(m[1])}</code>", text)
    text = re.sub(_SHARED, _one_each, text, flags=re.MULTILINE)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    return re.sub(r"^(Differs from|Source): ", r"**\1:** ", text, flags=re.MULTILINE)


def _formula(latex: str) -> str:
    """A paragraph of its own."""
    return f'<p class="formula">{plain(" ".join(latex.split()))}</p>'


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed, and tells how a NamedTuple is made."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for everything that it finds."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
        if isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases):
            obj.set_member("__init__", _made_of_fields(obj))


def _made_of_fields(cls: griffe.Class) -> griffe.Function:
    """The constructor of a NamedTuple, which is written nowhere."""
    either = griffe.ParameterKind.positional_or_keyword
    fields = [
        griffe.Parameter(name, annotation=field.annotation, kind=either, default=field.value)
        for name, field in cls.attributes.items()
        if field.annotation is not None
    ]
    itself = griffe.Parameter("self", kind=either)
    return griffe.Function("__init__", parameters=griffe.Parameters(itself, *fields), parent=cls)
