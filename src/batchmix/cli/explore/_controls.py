"""The controls of the page as data: what each is called and takes, and what is not offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchmix.cli._output import shown
from batchmix.cli.explore._policies import PARTNERS, POLICIES
from batchmix.cli.explore._scene import Scene, offers
from batchmix.cli.explore._view import ALPHAS, CHOICES, RANGES, TICKS, View
from batchmix.cli.show.shown import Source

_LABELS = {
    "data": "Data",
    "policy": "Policy",
    "a": "",  # named by the policy
    "b": "",
    "versus": "Compare with",
    "c": "",
    "d": "",
    "step": "Step",
    "seed": "Seed",
    "prob": "Probability of mixing",
    "smooth": "Label smoothing",
    "per": "One draw per",
    "pairing": "Partners",
    "first": "First row",
    "rows": "Rows shown",
}
_PARTNER_TITLES = {
    "derangement": "derangement: never itself",
    "permutation": "permutation: sometimes itself",
    "reverse": "reverse: each other's",
    "roll": "roll: the next row",
    "same-class": "a row of the same class",
    "other-class": "a row of another class",
    "balanced": "rare classes more often",
}


def controls(view: View, scene: Scene, sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """In the order of the page; a choice that is not offered has a reason, `why`."""
    why = offers(scene, view)
    numbers = _numbers(view)
    data = {name: shown(name) for name in sources}
    if view.data and view.data not in sources:
        data[view.data] = "your pictures"
    found = []
    for name, label in _LABELS.items():
        value = getattr(view, name)
        one: dict[str, Any] = {"name": name, "label": label, "value": value}
        if name == "data":
            one |= {"kind": "choice", "value": view.data or next(iter(sources))}
            one["choices"] = [[key, title, ""] for key, title in data.items()]
        elif name in CHOICES:
            one["kind"] = "choice"
            one["choices"] = [
                [word, _choice(name, word), why.get(name, {}).get(word, "")]
                for word in CHOICES[name]
            ]
            if name != "versus":  # the same, a second time
                one["reason"] = _reason(name, why.get(name, {}))
        elif name in "abcd":
            one |= _number(name, numbers.get(name))
        else:
            low, high, step = RANGES[name]
            most = {"first": len(scene.source.y) - 1, "rows": len(scene.source.y)}.get(name, high)
            one |= {"kind": "number", "low": low, "high": min(high, most), "step": step}
        found.append(one)
    return found


def _reason(name: str, why: Mapping[str, str]) -> str:
    """Which choices are not offered, those of one reason together."""
    found: dict[str, list[str]] = {}
    for word, text in why.items():
        if text:
            found.setdefault(text, []).append(_choice(name, word).partition(":")[0])
    told = " ".join(f"{', '.join(names)}: {text}" for text, names in found.items())
    return f"Not here: {told}" if told else ""


def _choice(name: str, word: str) -> str:
    """What a choice is called."""
    if name in ("policy", "versus"):
        return POLICIES[word].title if word else "nothing"
    return _PARTNER_TITLES[word] if word in PARTNERS else word


def _numbers(view: View) -> dict[str, tuple[str, float, float]]:
    """(label, least, most) of each number that the policies have."""
    found: dict[str, tuple[str, float, float]] = {}
    for names, word in (("ab", view.policy), ("cd", view.versus)):
        if word:
            side = f"{'A' if names == 'ab' else 'B'}: " if view.versus else ""
            for name, (label, (low, high)) in zip(names, POLICIES[word].numbers.items()):
                found[name] = (side + label, low, high)
    return found


def _number(name: str, given: tuple[str, float, float] | None) -> dict[str, Any]:
    """A number of a policy: alpha has steps, which are about as far from each other as its logs."""
    if given is None:
        return {"kind": "number", "hidden": True, "low": 0, "high": 1, "step": 1}
    label, low, high = given
    if "alpha" in label:
        return {"kind": "steps", "label": label, "low": low, "high": high,
                "steps": ALPHAS, "ticks": TICKS}  # fmt: skip
    return {"kind": "number", "label": label, "low": low, "high": high, "step": RANGES[name][2]}
