"""The settings that are chosen on the page, written into and read from its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_type_hints
from urllib.parse import urlencode

from batchmix.cli._mixing import Mixing, Per
from batchmix.cli._output import shown
from batchmix.cli.explore._policies import PARTNERS, POLICIES

# (least, most, step) of each number; alpha has steps of its own
RANGES: Mapping[str, tuple[float, float, float]] = {
    "first": (0, 1000, 1),
    "rows": (2, 32, 1),
    "a": (0.05, 8, 0.05),
    "b": (0.05, 8, 0.05),
    "c": (0.05, 8, 0.05),
    "d": (0.05, 8, 0.05),
    "prob": (0, 1, 0.05),
    "smooth": (0, 0.5, 0.05),
    "seed": (0, 100, 1),
    "step": (0, 100, 1),
}
# about as far from each other as their logarithms
ALPHAS = (
    0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8,
)  # fmt: skip
TICKS = (0.1, 0.2, 0.4, 1, 2, 8)

CHOICES: Mapping[str, Sequence[str]] = {
    "policy": list(POLICIES),
    "versus": ["", *POLICIES],
    "per": get_args(Per),
    "pairing": list(PARTNERS),
}


@dataclass(frozen=True)
class View:
    """One view: which rows, and how they are mixed.

    `a` and `b` are the numbers of the policy, `c` and `d` those of the one it is compared with.
    """

    data: str = ""  # "": the first of the page
    first: int = 0
    rows: int = 8
    policy: str = "switch"
    a: float = 0.8
    b: float = 1.0
    versus: str = ""
    c: float = 1.0
    d: float = 1.0
    prob: float = 1.0
    smooth: float = 0.0
    per: Per = "row"
    pairing: str = "derangement"
    seed: int = 0
    step: int = 0

    def query(self) -> str:
        """The part of the address after the question mark; a value at its default is left out."""
        usual = vars(View())
        return urlencode({key: value for key, value in vars(self).items() if value != usual[key]})

    def numbers(self, second: bool = False) -> tuple[float, ...]:
        """Those of the policy, or of the one that it is compared with."""
        names = POLICIES[self.versus if second else self.policy].numbers
        return ((self.c, self.d) if second else (self.a, self.b))[: len(names)]

    @property
    def sides(self) -> list[bool]:
        """Whether it is the second policy, for each that is shown."""
        return [False, True] if self.versus else [False]

    @property
    def mixing(self) -> Mixing:
        """How a policy is applied; partners are drawn on the page itself."""
        pairs = "reverse" if self.per == "pair" else "derangement"
        return Mixing(self.prob, self.per, pairs, self.seed, self.step)  # type: ignore[arg-type]


def read(query: Mapping[str, str], moved: str = "") -> tuple[View, list[str]]:
    """The view of an address, and a sentence for each value that was corrected.

    `moved` is the control that was moved last: what it says goes before the others.
    """
    notes: list[str] = []
    values: dict[str, Any] = {}
    kinds, usual = get_type_hints(View), vars(View())
    names = [field.name for field in fields(View)]
    for name, text in query.items():
        if name not in names:
            notes.append(f"The address has {_short(name)}, which is no setting of this page.")
        elif name in RANGES:
            values[name] = _number(name, text, kinds[name], usual[name], notes)
        elif name in CHOICES and text not in CHOICES[name]:
            notes.append(
                f"{_title(name)} {_short(text)} is not known: it is {_named(usual[name])} now."
            )
        else:
            values[name] = text
    view = View(**values)
    for name, low, high in _limits(view):
        number = min(max(getattr(view, name), low), high)
        if number != getattr(view, name):
            if name in query:
                notes.append(_outside(name, query[name], low, high, number))
            view = replace(view, **{name: number})
    return _mutual(view, moved, notes), notes


def _mutual(view: View, moved: str, notes: list[str]) -> View:
    """One draw per pair needs partners that are mutual."""
    if view.per != "pair" or view.pairing == "reverse":
        return view
    if moved == "pairing":
        notes.append("One draw per pair needs the partners 'reverse': it is one draw per row now.")
        return replace(view, per="row")
    notes.append(
        "One draw per pair needs rows that are each other's partner: partners are 'reverse' now."
    )
    return replace(view, pairing="reverse")


def _limits(view: View) -> list[tuple[str, float, float]]:
    """The least and the most of each number that the policies of the view have."""
    found = []
    for names, word in (("ab", view.policy), ("cd", view.versus)):
        limits = POLICIES[word].numbers.values() if word else ()
        found += [(name, low, high) for name, (low, high) in zip(names, limits)]
    return found


def _number(name: str, text: str, kind: type, usual: float, notes: list[str]) -> float:
    """A number of the type `kind` inside its range; the nearest one if it is outside."""
    low, high, _ = RANGES[name]
    try:
        given = float(text)
        if given != given:  # nan
            raise ValueError
    except ValueError:
        notes.append(f"{_title(name)} {_short(text)} is not a number: it is {usual:g} now.")
        return usual
    # four digits are what the address and the code show
    number: float = kind(round(min(max(given, low), high), 0 if kind is int else 4))
    if number != round(given, 4):
        notes.append(_outside(name, text, low, high, number))
    return number


def _outside(name: str, text: str, low: float, high: float, number: float) -> str:
    """What is said of a number that was corrected."""
    whole = "whole numbers " if RANGES[name][2] == 1 else ""
    return f"{_title(name)} takes {whole}{low:g} to {high:g}: {_short(text)} became {number:g}."


def _title(name: str) -> str:
    return {"a": "The policy's number", "b": "The policy's second number",
            "versus": "The other policy",
            "c": "The other's number", "d": "The other's second number", "per": "One draw per",
            "prob": "Probability", "smooth": "Label smoothing", "pairing": "Partners",
            "first": "First row"}.get(name, name.capitalize())  # fmt: skip


def _named(value: str) -> str:
    return repr(value) if value else "none"


def _short(text: str) -> str:
    """In quotes, of bounded length, and printable."""
    return repr(shown(text if len(text) <= 60 else text[:60] + "..."))
