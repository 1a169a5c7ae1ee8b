"""The settings that are chosen on the page, written into and read from its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints
from urllib.parse import urlencode

from batchmix._errors import MixError, mix_error
from batchmix.cli._forms import FORMS
from batchmix.cli._mixing import Mixing, Pairs, Per
from batchmix.cli._words import Entry, parse

# (least, most, step) of each slider
RANGES: Mapping[str, tuple[float, float, float]] = {
    "first": (0, 1000, 1),
    "rows": (2, 32, 1),
    "a": (0.05, 8, 0.05),
    "b": (0.05, 8, 0.05),
    "prob": (0, 1, 0.05),
    "seed": (0, 100, 1),
    "step": (0, 100, 1),
}

CHOICES: Mapping[str, Sequence[str]] = {
    "policy": list(FORMS),
    "per": get_args(Per),
    "pairing": get_args(Pairs),
}


@dataclass(frozen=True)
class View:
    """One view: which rows, and how they are mixed; `a` and `b` are the numbers of the policy."""

    data: str = "digits"
    first: int = 0
    rows: int = 16
    policy: str = "switch"
    a: float = 0.8
    b: float = 1.0
    prob: float = 1.0
    per: Per = "row"
    pairing: Pairs = "derangement"
    seed: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        """Convert every value to its type, and check its range."""
        for name, kind in get_type_hints(View).items():
            if name in RANGES:
                object.__setattr__(self, name, _number(name, getattr(self, name), kind))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise _wrong(name, getattr(self, name), f"It is one of {', '.join(known)}.")
        self.mixing  # noqa: B018  checks that they fit together

    @classmethod
    def read(cls, query: Mapping[str, str]) -> View:
        """The view of an address; a value that is left out is at its default."""
        # Gradio has settings of its own in the address, such as __theme
        given = {key: value for key, value in query.items() if not key.startswith("__")}
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise _wrong(key, given[key], f"An address has {', '.join(known)}.")
        values: Mapping[str, Any] = given
        return cls(**values)

    def query(self) -> str:
        """The part of the address after the question mark; a value at its default is left out."""
        usual = vars(View())
        return urlencode({key: value for key, value in vars(self).items() if value != usual[key]})

    @property
    def mixing(self) -> Mixing:
        """How the policy is applied."""
        return Mixing(self.prob, self.per, self.pairing, self.seed, self.step)

    @property
    def entry(self) -> Entry:
        """The policy as the command line names it."""
        numbers = [f"{n:g}" for n in (self.a, self.b)[: len(FORMS[self.policy].numbers)]]
        return parse(f"{self.policy}:{','.join(numbers)}" if numbers else self.policy)[0]


def _number(name: str, value: Any, kind: type) -> float:
    """A number of the type `kind` inside its range."""
    low, high, _ = RANGES[name]
    try:
        # sliders count in floats; four digits are what the address and the code show
        number = round(float(value), 4)
        if low <= number <= high and kind(number) == number:
            found: float = kind(number)
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    what = "a whole number" if kind is int else "a number"
    raise _wrong(name, value, f"It is {what} in {low:g}..{high:g}.")


def _wrong(name: str, value: object, rule: str) -> MixError:
    return mix_error(f"{name}", f"got {value!r}.", rule, "Correct the address.")
