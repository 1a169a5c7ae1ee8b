"""From text to policy. A policy that the command line and the explorer know is one row of FORMS."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from batchmix import recipes
from batchmix._errors import MixError, mix_error
from batchmix.cli._forms import FORMS, LOOKING
from batchmix.cli.lab.rows import Kind
from batchmix.losses import soft_cross_entropy
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import MixUp, Policy, Schedule, Sometimes
from batchmix.policies._paste import reads_of
from batchmix.recipes import Recipe

_RECIPES: Mapping[str, Recipe] = {
    name.replace("_", "-"): value
    for name, value in vars(recipes).items()
    if isinstance(value, Recipe)
}
_EXAMPLES = (
    {"none": "none", "smooth": "smooth:0.1"}
    | {name: form.example for name, form in FORMS.items()}
    | {"regmixup": "regmixup:10"}
    | {name: name for name in _RECIPES}
)
KNOWN = ", ".join(text for name, text in _EXAMPLES.items() if name not in _RECIPES)
RECIPES = ", ".join(_RECIPES)
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?|[0-9]+\.", re.ASCII | re.IGNORECASE)
_OPTIONS = {"prob": "prob=0.5", "off": "off=90", "smooth": "smooth=0.1"}


@dataclass(frozen=True)
class Entry:
    """An arm of a comparison: what it mixes (None: nothing), with whom, and what it minimises."""

    name: str = field(compare=False)
    policy: Policy | None = None
    smoothing: float = 0.0
    pairing: Pairing = field(default_factory=Derangement)
    loss: Callable[[Any, Any], Any] | None = None  # None: that of the task
    clean: bool = False  # the loss of the unmixed batch is added

    @property
    def kind(self) -> Literal["none", "smooth", "mix"]:
        """What an arm is in a verdict."""
        if self.policy is not None:
            return "mix"
        return "smooth" if self.smoothing else "none"


def parse(text: str, where: str = "--policies", seen: Collection[str] | None = ()) -> list[Entry]:
    """The entries in the order given; `where` is what the command calls them.

    `seen`: hints that rows have beside images and labels; None: not known yet.

    An entry is a name, a colon, its numbers, and options: ``mixup:0.8,prob=0.5,off=90,smooth=0.1``
    mixes half of the rows, none from epoch 90 on, with label smoothing. Its `name` is its text.
    """
    entries: list[Entry] = []
    for word in text.split():
        entry = _entry(word, where, seen)
        if entry in entries:
            raise mix_error(
                where,
                f"{entries[entries.index(entry)].name!r} and {entry.name!r} are the same policy.",
                "Each policy is compared once.",
                f"Leave {entry.name!r} out.",
            )
        entries.append(entry)
    if not entries:  # such as a variable of the shell that is not set
        raise mix_error(
            where, "it names no policy.", "One policy at least is wanted.",
            "Write for example 'none mixup:1'.",
        )  # fmt: skip
    return entries


def with_reference(entries: list[Entry]) -> list[Entry]:
    """The entries, after `none` if it is not among them."""
    return entries if any(e.kind == "none" for e in entries) else [Entry("none"), *entries]


def check_task(entries: Sequence[Entry], kind: Kind, where: str = "--policies") -> None:
    """Numbers have no label smoothing, and no loss but the squared error."""
    for entry in entries:
        if kind == "numbers" and (entry.smoothing or entry.loss):
            what = "smooths labels" if entry.smoothing else "has a loss for labels"
            raise mix_error(
                where,
                "the targets are numbers"
                + (f", and {entry.name!r} {what}." if where != "--smoothing" else "."),
                "Numbers are blended, and the squared error is minimised.",
                "Leave it out; mix for example by mixup:1 or cutmix:1.",
            )


def check_unseen(entries: Sequence[Entry], where: str = "--policies") -> None:
    """Plans that are drawn for no rows at all."""
    for entry in entries:
        if reads_of(entry.policy, entry.pairing):
            raise mix_error(
                where, f"got {entry.name!r}.", "It looks at rows, and here only plans are drawn.",
                "See what it does to your rows: batchmix preview.",
            )  # fmt: skip


def check_mix_on(entries: Sequence[Entry], mix_on: str | None) -> None:
    """Workers hand over the mixed batch alone."""
    for entry in entries:
        if entry.clean and mix_on == "workers":
            raise mix_error(
                "--mix-on",
                f"got workers with {entry.name!r}.",
                "It needs each batch unmixed too, and workers hand over the mixed one alone.",
                "Leave --mix-on out.",
            )


def _entry(text: str, where: str, seen: Collection[str] | None) -> Entry:
    name, colon, rest = text.partition(":")
    form, hint, what = LOOKING.get(name, (None, "", ""))
    if form is not None and seen is not None and hint not in seen:
        raise mix_error(
            where, f"got {_short(text)}.", f"It looks at {what}, which these rows have not.",
            "Give preview such data (--masks, --boxes), or use it in Python with a Mixer.",
        )  # fmt: skip
    example = form.example if form is not None else _EXAMPLES.get(name)
    if example is None:
        near = difflib.get_close_matches(name, _EXAMPLES, n=1, cutoff=0.4)
        raise mix_error(
            where,
            f"got {_short(text)}.",
            f"A policy is one of {KNOWN}, or a recipe: {RECIPES}.",
            f"Did you mean {_EXAMPLES[near[0]]!r}?"
            if near
            else "Write for example 'none mixup:1'.",
        )
    words = rest.split(",") if colon else []
    numbers = [word for word in words if "=" not in word]
    bare = name in _RECIPES or (name == "regmixup" and not numbers)
    values = _numbers(where, text, numbers, like=name if bare else example)
    if words[: len(numbers)] != numbers:
        raise _wrong_form(where, text, example)
    return _with_options(where, _plain(where, text, name, values), words[len(numbers) :])


def _plain(where: str, text: str, name: str, values: list[float]) -> Entry:
    """An entry without its options."""
    if form := FORMS.get(name) or LOOKING.get(name, (None,))[0]:
        return Entry(text, form.make(*values))
    if name == "regmixup":
        return Entry(text, MixUp(values[0] if values else 10.0), clean=True)
    if name in _RECIPES:
        recipe = _RECIPES[name]
        loss = None if recipe.loss is soft_cross_entropy else recipe.loss
        return Entry(text, recipe.policy, recipe.smoothing, recipe.pairing, loss)
    if name == "smooth":
        check_smoothing(f"{where} {text}", values[0])
    return Entry(text, smoothing=values[0] if values else 0.0)


def _with_options(where: str, entry: Entry, words: Sequence[str]) -> Entry:
    """The entry, mixed sometimes, up to an epoch, with label smoothing."""
    given = dict[str, float]()
    for word in words:
        key, _, value = word.partition("=")
        if key not in _OPTIONS or key in given or entry.policy is None:
            raise _wrong_form(where, entry.name, "mixup:0.8," + ",".join(_OPTIONS.values()))
        (given[key],) = _numbers(where, entry.name, [value], like=f"mixup:0.8,{_OPTIONS[key]}")
    policy = entry.policy
    if policy is None or not given:
        return entry
    smoothing, off = given.get("smooth", entry.smoothing), given.get("off")
    check_smoothing(f"{where} {entry.name}", smoothing)
    if given.get("prob", 1) != 1:  # the same policy has one form
        policy = Sometimes(policy, given["prob"])
    if off is not None:
        if off != int(off):
            raise _wrong_form(where, entry.name, f"mixup:0.8,{_OPTIONS['off']}")
        policy = Schedule.off_after(policy, int(off))
    return replace(entry, policy=policy, smoothing=smoothing)


def _numbers(where: str, text: str, words: Sequence[str], like: str) -> list[float]:
    """Numbers > 0: as many as `like` has."""
    plain = all(_NUMBER.fullmatch(word) for word in words)  # float reads 1_0 as 10
    values = [float(word) for word in words] if plain else [float("nan")]
    count = len(like.partition(":")[2].split(",")) if ":" in like and "=" not in like else 0
    count = 1 if "=" in like else count
    if len(values) != count or not all(0 < value < float("inf") for value in values):
        raise _wrong_form(where, text, like)
    return values


def _wrong_form(where: str, text: str, like: str) -> MixError:
    return mix_error(
        where,
        f"got {_short(text)}.",
        f"The form is {like!r}"
        + ("; its numbers are > 0." if ":" in like else ", without numbers."),
        f"Write for example 'none {like}'." if ":" in like else f"Write {like!r}.",
    )


def _short(text: str) -> str:
    """The text in quotes; a message does not repeat a novel."""
    return repr(text if len(text) <= 80 else text[:80] + "...")


def check_smoothing(where: str, smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise mix_error(
            where, f"got {smoothing}.",
            "Label smoothing is the share of the label spread over all classes, 0 <= s < 1.",
            "The usual value is 0.1.",
        )  # fmt: skip


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
    if cutmix_minmax and not 0 <= cutmix_minmax[0] <= cutmix_minmax[1] <= 1:
        raise mix_error(
            "--cutmix-minmax", f"got {cutmix_minmax[0]} {cutmix_minmax[1]}.",
            "It is LOW HIGH, shares of a side, 0 <= LOW <= HIGH <= 1.", "Try 0.2 0.8.")  # fmt: skip
    return recipes.timm_policy(
        mixup, cutmix, cutmix_minmax, prob, switch_prob, mode, off_epoch=off_epoch
    )
