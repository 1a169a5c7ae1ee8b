"""Some rows of a view, the plans drawn for them, and which choices can be drawn at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix._errors import MixError
from batchmix.cli.explore._policies import HINTS, PARTNERS, POLICIES, made
from batchmix.cli.explore._view import CHOICES, View
from batchmix.cli.show.shown import LAYOUTS, Batch, Shown, Source
from batchmix.policies import Policy
from batchmix.policies._paste import reads_of

Found = TypeVar("Found")
_MOST_KEPT = 64
ROWS, STEPS, STEPS_SEEN = 16, 256, 16  # lam is counted over so many; fewer where rows are read


@dataclass(frozen=True, eq=False)  # a key of caches, by identity
class Scene:
    """Rows as they were read, and what policies may look at."""

    source: Source
    numbers: NDArray[np.int64]  # of the rows, in the source
    x: NDArray[Any]
    kept: dict[Any, Any] = field(default_factory=dict)  # what was found of these rows before

    def once(self, found: Callable[[], Found], *key: Any) -> Found:
        """What `found` gives; it is called once for a key, and goes with the rows."""
        if key not in self.kept:
            if len(self.kept) >= _MOST_KEPT:
                self.kept.clear()
            self.kept[key] = found()
        value: Found = self.kept[key]
        return value

    @property
    def y(self) -> NDArray[np.int64]:
        """[B]: ids of classes."""
        return self.source.y[self.numbers]

    @property
    def size(self) -> dict[str, int]:
        """Cells per axis."""
        return dict(zip(LAYOUTS[self.source.form][1:-1], self.x.shape[1:-1]))

    def hints(self, *readers: Any) -> dict[str, NDArray[Any]]:
        """What these policies and pairings read; sounds have no image, mask or instances."""
        names = [n for n in reads_of(*readers) if n == "label" or self.source.form == "image"]
        return {name: HINTS[name].make(self.x, self.y) for name in names}

    def show(self, view: View, second: bool = False) -> Shown:
        """What the policy of the view, or the one it is compared with, does to the rows."""
        word = view.versus if second else view.policy
        batch = Batch(self.source, self.x, self.y, view.mixing)
        return batch.apply(POLICIES[word].title, plan(self, view, second), view.smooth)


@lru_cache(maxsize=4)  # the next move of a slider needs the same rows; they are never written to
def scene(source: Source, count: int, first: int) -> Scene:
    """So many rows from a number on, in the fixed random order of the source."""
    numbers = source.choose(count, first)
    return Scene(source, numbers, source.read(numbers))


def policy_of(scene: Scene, view: View, second: bool = False) -> Policy | None:
    """The policy as it is drawn."""
    word = view.versus if second else view.policy
    return view.mixing.policy(made(word, view.numbers(second), scene.source))


def plan(scene: Scene, view: View, second: bool = False) -> bm.Plan:
    """The plan for the rows shown; partners are the same for every policy."""
    policy, pairing = policy_of(scene, view, second), PARTNERS[view.pairing]
    key = bm.Key(view.seed, step=view.step)
    hints = scene.hints(policy, pairing)
    return bm.draw(policy, key, len(scene.y), scene.size, pairing=pairing, hints=hints)


def possible(scene: Scene, view: View, notes: list[str]) -> View:
    """The view, with what cannot be drawn for these rows replaced by what can."""
    why = _refusal(scene, replace(view, policy="mixup"))
    if why:
        notes.append(f"Partners {view.pairing!r}: {why} They are 'derangement' now.")
        view = replace(view, pairing="derangement", per="row" if view.per == "pair" else view.per)
    why = _refusal(scene, view)
    if why:
        notes.append(f"{POLICIES[view.policy].title}: {why} MixUp is shown instead.")
        view = replace(view, policy="mixup")
    why = _refusal(scene, replace(view, policy=view.versus)) if view.versus else ""
    if why:
        notes.append(f"{POLICIES[view.versus].title}: {why} It is not compared.")
        view = replace(view, versus="")
    return view


def offers(scene: Scene, view: View) -> Mapping[str, Mapping[str, str]]:
    """For each control with choices, why a choice is not offered; "" where it is."""
    still = replace(View(), policy=view.policy, pairing=view.pairing, per=view.per)
    return scene.once(lambda: _offers(scene, still), still)


def _offers(scene: Scene, view: View) -> Mapping[str, Mapping[str, str]]:
    policies = {w: _refusal(scene, replace(view, policy=w)) for w in CHOICES["policy"]}
    any_pair = replace(view, policy="mixup", per="row")
    return {
        "policy": policies,
        "versus": {"": "", **policies},
        "pairing": {w: _refusal(scene, replace(any_pair, pairing=w)) for w in PARTNERS},
    }


def _refusal(scene: Scene, view: View) -> str:
    """Why the view cannot be drawn: the rule that it breaks; "" if it can."""
    try:
        plan(scene, replace(view, prob=1.0))
    except MixError as error:
        if "reads 'mask'" in str(error) or "reads 'instances'" in str(error):
            return "It looks at regions of pictures, and these rows have none."
        if "reads 'image'" in str(error):
            return "It looks at pictures, and these rows are none."
        rule = " ".join(str(error).partition("\n")[2].split())
        return rule.partition(". ")[0].rstrip(".") + "."
    return ""


def lam(scene: Scene, view: View, second: bool = False) -> tuple[NDArray[np.float32], int]:
    """Shares of own content over many steps, and how many steps."""
    if reads_of(policy_of(scene, view, second)):  # then it depends on the rows
        still = replace(view, step=0)
        return scene.once(lambda: _lam_read(scene, still, second), still, second), STEPS_SEEN
    word = view.versus if second else view.policy
    a, b = (*view.numbers(second), 1.0, 1.0)[:2]
    alone = View(policy=word, a=a, b=b, prob=view.prob, per=view.per, seed=view.seed)
    return _lam(alone, tuple(scene.size.items())), STEPS


def _lam_read(scene: Scene, view: View, second: bool) -> NDArray[np.float32]:
    found = [plan(scene, replace(view, step=k), second).lam for k in range(STEPS_SEEN)]
    return np.concatenate(found)


@lru_cache(maxsize=256)
def _lam(view: View, size: tuple[tuple[str, int], ...]) -> NDArray[np.float32]:
    """The distribution of lam, which depends on neither rows nor step."""
    policy = view.mixing.policy(POLICIES[view.policy].make(*view.numbers()))
    pairing = PARTNERS[view.mixing.pairing]
    keys = (bm.Key(view.seed, step=k) for k in range(STEPS))
    found = [bm.draw(policy, key, ROWS, dict(size), pairing=pairing).lam for key in keys]
    return np.concatenate(found)
