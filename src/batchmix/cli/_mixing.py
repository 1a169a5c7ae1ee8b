"""The settings of a mix besides its policy: how often, for how many rows, pairing, and key.

The words are those of `batchmix preview` and of the page of `batchmix explore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import batchmix as bm
from batchmix._errors import mix_error
from batchmix.pairing import Derangement, Pairing, Permutation, Reverse, Roll
from batchmix.policies import PerBatch, PerPair, Policy, Sometimes

Per = Literal["row", "pair", "batch"]
Pairs = Literal["derangement", "permutation", "reverse", "roll"]
PAIRINGS: Mapping[Pairs, Pairing] = {
    "derangement": Derangement(),
    "permutation": Permutation(),
    "reverse": Reverse(),
    "roll": Roll(1),
}


@dataclass(frozen=True)
class Mixing:
    """How a policy is applied: with probability `prob`, one draw per `per`, at a key."""

    prob: float = 1.0
    per: Per = "row"
    pairing: Pairs = "derangement"
    seed: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.prob <= 1:
            raise mix_error("--prob", f"got {self.prob}.", "A probability lies in 0..1.", "Try 1.")
        if self.per == "pair" and self.pairing != "reverse":
            raise mix_error(
                "one draw per pair",
                f"the pairing is {self.pairing!r}.",
                "Both rows of a pair take one draw, so that partners must be mutual.",
                "Choose the pairing 'reverse' (--pairing reverse).",
            )

    def policy(self, policy: Policy | None) -> Policy | None:
        """`policy` as it is drawn; whether to mix is decided once per draw too."""
        if policy is None:
            return None
        if self.prob != 1:
            policy = Sometimes(policy, self.prob)
        if self.per == "row":
            return policy
        return PerPair(policy) if self.per == "pair" else PerBatch(policy)

    def draw(
        self,
        policy: Policy | None,
        batch: int,
        size: Mapping[str, int],
        step: int | None = None,
        hints: Mapping[str, Any] | None = None,
    ) -> bm.Plan:
        """The plan of one batch, at another step if one is given; `hints`: what it may look at."""
        key = bm.Key(self.seed, step=self.step if step is None else step)
        pairing = PAIRINGS[self.pairing]
        return bm.draw(self.policy(policy), key, batch, size, pairing=pairing, hints=hints)
