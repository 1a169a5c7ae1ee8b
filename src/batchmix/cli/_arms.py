"""From text to policy: the arms of a comparison, and timm's arguments."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from batchmix import recipes
from batchmix._errors import mix_error
from batchmix.policies import CutMix, MixUp, Policy, Switch

_FORMS = {
    "none": "none",
    "smooth": "smooth:0.1",
    "mixup": "mixup:1",
    "cutmix": "cutmix:1",
    "switch": "switch:0.8,1.0",
}


@dataclass(frozen=True)
class Arm:
    """One way to train: a mixing policy (None: no mixing) and label smoothing."""

    name: str = field(compare=False)
    policy: Policy | None = None
    smoothing: float = 0.0

    @property
    def kind(self) -> str:
        """'mix', 'smooth' or 'none'."""
        if self.policy is not None:
            return "mix"
        return "smooth" if self.smoothing else "none"


def parse_arms(text: str) -> list[Arm]:
    """The arms in the order given; `none` comes first even if left out, as the reference."""
    arms = [_arm(word) for word in text.split()]
    if not any(arm.kind == "none" for arm in arms):
        arms.insert(0, Arm("none"))
    for i, arm in enumerate(arms):
        if arm in arms[:i]:
            raise mix_error(
                "--policies",
                f"{arms[arms.index(arm)].name!r} and {arm.name!r} are the same policy.",
                "Each policy is compared once.",
                f"Leave {arm.name!r} out.",
            )
    return arms


def _arm(text: str) -> Arm:
    """One arm, such as 'mixup:0.8'."""
    name, colon, rest = text.partition(":")
    if name not in _FORMS:
        near = difflib.get_close_matches(name, _FORMS, n=1, cutoff=0.4)
        raise mix_error(
            "--policies",
            f"got {text!r}.",
            f"A policy is one of {', '.join(_FORMS.values())}.",
            f"Did you mean {_FORMS[near[0]]!r}?"
            if near
            else "Write for example --policies 'none mixup:1'.",
        )
    values = _numbers(text, rest.split(",") if colon else [], like=_FORMS[name])
    match name:
        case "smooth":
            check_smoothing(f"--policies {text}", values[0])
            return Arm(text, smoothing=values[0])
        case "mixup":
            return Arm(text, MixUp(values[0]))
        case "cutmix":
            return Arm(text, CutMix(values[0]))
        case "switch":
            return Arm(text, Switch([MixUp(values[0]), CutMix(values[1])]))
    return Arm(text)


def _numbers(text: str, words: list[str], like: str) -> list[float]:
    """The numbers after the colon: as many as `like` has, each > 0."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [float("nan")]
    count = len(like.partition(":")[2].split(",")) if ":" in like else 0
    if len(values) != count or not all(0 < value < float("inf") for value in values):
        raise mix_error(
            "--policies",
            f"got {text!r}.",
            f"The form is {like!r}; alpha and smoothing are numbers > 0.",
            f"Write for example --policies 'none {like}'." if count else f"Write {like!r}.",
        )
    return values


def check_smoothing(where: str, smoothing: float) -> None:
    """Label smoothing is a share of the label."""
    if not 0 <= smoothing < 1:
        raise mix_error(
            where,
            f"got {smoothing}.",
            "Label smoothing is the share of the label spread over all classes, 0 <= s < 1.",
            "The usual value is 0.1.",
        )


def timm_policy(
    mixup: float,
    cutmix: float,
    cutmix_minmax: tuple[float, float] | None,
    prob: float,
    switch_prob: float,
    mode: Literal["batch", "pair", "elem"],
    off_epoch: int,
) -> Policy | None:
    """The policy that timm's training script makes of these arguments; None when none is on."""
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
