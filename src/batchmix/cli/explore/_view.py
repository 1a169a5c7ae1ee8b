"""What a person has chosen on the page: plain values, written into and read from its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints
from urllib.parse import urlencode

from batchmix._errors import MixError, mix_error
from batchmix.cli._arms import Arm, parse_arms
from batchmix.cli._mixing import Mixing, Pairs, Per

PolicyName = Literal["mixup", "cutmix", "switch"]
# (least, most, step) of what is set with a slider
RANGES: Mapping[str, tuple[float, float, float]] = {
    "first": (0, 1000, 1),
    "rows": (2, 32, 1),
    "mixup": (0.05, 8, 0.05),
    "cutmix": (0.05, 8, 0.05),
    "prob": (0, 1, 0.05),
    "seed": (0, 100, 1),
    "step": (0, 100, 1),
}


@dataclass(frozen=True)
class View:
    """One view: which rows, and how they are mixed. `mixup` and `cutmix` are their alphas."""

    data: str = "digits"
    first: int = 0
    rows: int = 16
    policy: PolicyName = "switch"
    mixup: float = 0.8
    cutmix: float = 1.0
    prob: float = 1.0
    per: Per = "row"
    pairing: Pairs = "derangement"
    seed: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        """Bring every value to its type, and check its range."""
        for name, kind in get_type_hints(View).items():
            value = getattr(self, name)
            if name in RANGES:
                object.__setattr__(self, name, _number(name, value, kind))
            elif get_args(kind) and value not in get_args(kind):
                raise _wrong(name, value, f"It is one of {', '.join(get_args(kind))}.")
        self.mixing  # noqa: B018  checks that they fit together

    @classmethod
    def read(cls, query: Mapping[str, str]) -> View:
        """The view of an address; what is left out is at its default."""
        # the page itself has settings of this form, such as __theme
        given = {key: value for key, value in query.items() if not key.startswith("__")}
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise _wrong(key, given[key], f"An address has {', '.join(known)}.")
        values: Mapping[str, Any] = given
        return cls(**values)

    def query(self) -> str:
        """What stands behind the question mark of its address."""
        usual = vars(View())
        return urlencode({key: value for key, value in vars(self).items() if value != usual[key]})

    @property
    def mixing(self) -> Mixing:
        """How the policy is applied."""
        return Mixing(self.prob, self.per, self.pairing, self.seed, self.step)

    @property
    def arm(self) -> Arm:
        """The policy as the command line names it."""
        alphas = {
            "mixup": f"{self.mixup:g}",
            "cutmix": f"{self.cutmix:g}",
            "switch": f"{self.mixup:g},{self.cutmix:g}",
        }
        return parse_arms(f"{self.policy}:{alphas[self.policy]}")[-1]


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
    """A value that no view has."""
    return mix_error(f"{name}", f"got {value!r}.", rule, "Correct the address.")
