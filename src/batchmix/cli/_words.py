"""From text to policy. A policy that the command line and the explorer know is one row of FORMS."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from batchmix import recipes
from batchmix._errors import mix_error
from batchmix.policies import CutMix, MixUp, Policy, Switch


class Form(NamedTuple):
    """How a policy is written: its name, a colon, and its numbers, at most two, each > 0."""

    make: Callable[..., Policy]
    numbers: tuple[str, ...]  # what they are called
    example: str


def _either(mixup: float, cutmix: float) -> Policy:
    return Switch([MixUp(mixup), CutMix(cutmix)])


FORMS: Mapping[str, Form] = {
    "mixup": Form(MixUp, ("alpha",), "mixup:1"),
    "cutmix": Form(CutMix, ("alpha",), "cutmix:1"),
    "switch": Form(_either, ("MixUp alpha", "CutMix alpha"), "switch:0.8,1.0"),
}
_EXAMPLES = {"none": "none", "smooth": "smooth:0.1"} | {k: f.example for k, f in FORMS.items()}
KNOWN = ", ".join(_EXAMPLES.values())


@dataclass(frozen=True)
class Entry:
    """One entry of a comparison: a mixing policy (None: no mixing) and label smoothing."""

    name: str = field(compare=False)
    policy: Policy | None = None
    smoothing: float = 0.0

    @property
    def kind(self) -> str:
        """'mix', 'smooth' or 'none'."""
        if self.policy is not None:
            return "mix"
        return "smooth" if self.smoothing else "none"


def parse(text: str, where: str = "--policies") -> list[Entry]:
    """The entries in the order given; `where` is what the command calls them."""
    entries = [_entry(word, where) for word in text.split()]
    for i, entry in enumerate(entries):
        if entry in entries[:i]:
            raise mix_error(
                where,
                f"{entries[entries.index(entry)].name!r} and {entry.name!r} are the same policy.",
                "Each policy is compared once.",
                f"Leave {entry.name!r} out.",
            )
    return entries


def with_reference(entries: list[Entry]) -> list[Entry]:
    """The entries, after `none` if it is not among them."""
    return entries if any(e.kind == "none" for e in entries) else [Entry("none"), *entries]


def _entry(text: str, where: str) -> Entry:
    name, colon, rest = text.partition(":")
    if name not in _EXAMPLES:
        near = difflib.get_close_matches(name, _EXAMPLES, n=1, cutoff=0.4)
        raise mix_error(
            where,
            f"got {text!r}.",
            f"A policy is one of {KNOWN}.",
            f"Did you mean {_EXAMPLES[near[0]]!r}?"
            if near
            else "Write for example 'none mixup:1'.",
        )
    values = _numbers(where, text, rest.split(",") if colon else [], like=_EXAMPLES[name])
    if name in FORMS:
        return Entry(text, FORMS[name].make(*values))
    if name == "smooth":
        check_smoothing(f"{where} {text}", values[0])
    return Entry(text, smoothing=values[0] if values else 0.0)


def _numbers(where: str, text: str, words: list[str], like: str) -> list[float]:
    """The numbers after the colon: as many as `like` has, each > 0."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [float("nan")]
    count = len(like.partition(":")[2].split(",")) if ":" in like else 0
    if len(values) != count or not all(0 < value < float("inf") for value in values):
        raise mix_error(
            where,
            f"got {text!r}.",
            f"The form is {like!r}; alpha and smoothing are numbers > 0.",
            f"Write for example 'none {like}'." if count else f"Write {like!r}.",
        )
    return values


def check_smoothing(where: str, smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise mix_error(
            where,
            f"got {smoothing}.",
            "Label smoothing is the share of the label spread over all classes, 0 <= s < 1.",
            "The usual value is 0.1.",
        )


def policy_of_options(
    mixup: float,
    cutmix: float,
    cutmix_minmax: tuple[float, float] | None,
    prob: float,
    switch_prob: float,
    mode: Literal["batch", "pair", "elem"],
    off_epoch: int,
) -> Policy | None:
    """`recipes.timm_policy` of options that are checked under their names on the command line."""
    for option, alpha in (("--mixup", mixup), ("--cutmix", cutmix)):
        if not 0 <= alpha < float("inf"):
            raise mix_error(
                option, f"got {alpha}.", "alpha is a number > 0; 0 turns it off.", "Try 0.8."
            )
    for option, share in (("--mixup-prob", prob), ("--mixup-switch-prob", switch_prob)):
        if not 0 <= share <= 1:
            raise mix_error(option, f"got {share}.", "A probability lies in 0..1.", "Try 0.5.")
    return recipes.timm_policy(
        mixup, cutmix, cutmix_minmax, prob, switch_prob, mode, off_epoch=off_epoch
    )
