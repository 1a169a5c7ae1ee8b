"""Policies made of policies: which one, how often, and how many rows share one draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix.policies._paste import (
    Paste,
    Policy,
    Request,
    check_policy,
    checked_policies,
    layers_of,
    nothing,
    reads_of,
)
from batchmix.policies._rows import drawn_by

_ONE = np.zeros(1, np.int32)  # the partner of a row that is drawn for others too


@dataclass(frozen=True)
class Switch:
    """Draw each row by one of several policies, picked at random.

    `Plan.kind` holds the index of the policy that drew the row.

    Args:
      policies: 1 to 127, in any nesting.
      weights: their probabilities, >= 0, scaled to sum to 1; equal when left out.

    Raises:
      MixError: no policy, or weights that do not fit.

    Example:
      >>> import batchmix as bm
      >>> from batchmix.policies import CutMix, MixUp
      >>> policy = Switch([MixUp(0.8), CutMix(1.0)], weights=[0.25, 0.75])
      >>> plan = bm.draw(policy, bm.Key(seed=0), batch=1000, size={"H": 8, "W": 8})
      >>> bool(700 < (plan.kind == 1).sum() < 800)
      True

    Differs from: timm's `switch_prob` is the weight of CutMix. A batch whose rows differ in kind
    costs no more than one that does not; in timm it is a Python loop.

    Source: the MixUp + CutMix recipe of Touvron et al., DeiT, 2021, https://arxiv.org/abs/2012.12877
    """

    policies: Sequence[Policy]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = self.policies
        policies = checked_policies("Switch", given)
        object.__setattr__(self, "policies", policies)
        count = len(policies)
        try:
            weights = np.asarray([1] * count if self.weights is None else self.weights, float)
        except (TypeError, ValueError):
            weights = np.zeros(0)
        total = weights.sum()
        fit = weights.shape == (count,) and bool((weights >= 0).all()) and 0 < total < np.inf
        if not (count < 128 and fit):  # `kind` is an int8
            raise mix_error(
                "Switch",
                f"got policies={given!r} and weights={self.weights!r}.",
                "It takes a list of 1 to 127 policies, each with one weight >= 0, one of them > 0.",
                "Pass for example Switch([MixUp(0.8), CutMix(1.0)], [0.5, 0.5]).",
            )
        object.__setattr__(self, "weights", tuple((weights / total).tolist()))

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(*self.policies)

    @property
    def layers(self) -> int:
        return layers_of(*self.policies)

    def sample(self, request: Request) -> Paste:
        """A coin for each row, and the draw of the policy that it fell on."""
        coin = request.rng.random_sample(len(request.partner))
        edges = np.array([*accumulate(self.weights or ())][:-1])
        pick = edges.searchsorted(coin, "right").astype(np.int8)
        drawn = drawn_by(pick, self.policies, request)
        pick[drawn.kind < 0] = -1
        return replace(drawn, kind=pick)


@dataclass(frozen=True)
class Sometimes:
    """Mix each row with probability `prob`, else leave it byte-identical.

    Args:
      policy: draws the rows that are mixed.
      prob: probability that a row is mixed, 0..1.

    Raises:
      MixError: prob is not in 0..1.

    Example:
      >>> import batchmix as bm
      >>> policy = Sometimes(bm.policies.MixUp(1.0), prob=0.5)
      >>> plan = bm.draw(policy, bm.Key(seed=0), batch=1000, size={})
      >>> bool(450 < (plan.kind == -1).sum() < 550)
      True

    Differs from: timm's `prob` and kornia's `p` gate whole batches: ``PerBatch(Sometimes(...))``.
    """

    policy: Policy
    prob: float

    def __post_init__(self) -> None:
        check_policy("Sometimes", self.policy)
        if not (is_number(self.prob) and 0 <= self.prob <= 1):
            raise mix_error(
                "Sometimes",
                f"got prob={self.prob!r}.",
                "It is the probability that a row is mixed, 0..1.",
                "Pass for example prob=0.5.",
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(self.policy)

    @property
    def layers(self) -> int:
        return layers_of(self.policy)

    def sample(self, request: Request) -> Paste:
        """A coin for each row, and the policy's draw where it fell on mixing."""
        alone = request.rng.random_sample(len(request.partner)) >= self.prob
        return drawn_by(alone, [self.policy, None], request)


@dataclass(frozen=True)
class PerBatch:
    """Draw once and use it for every row: one lam, one box, one kind for the whole batch.

    Args:
      policy: draws for a batch of one row.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(PerBatch(bm.policies.MixUp(1.0)), bm.Key(seed=0), batch=8, size={})
      >>> len(set(plan.lam.tolist()))
      1

    Differs from: this is what timm's mode="batch", torchvision, Composer and the papers' code do.
    Per row, the default here, gives more different mixes per step at the same cost.
    """

    policy: Policy

    def __post_init__(self) -> None:
        check_policy("PerBatch", self.policy)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(self.policy)

    @property
    def layers(self) -> int:
        return layers_of(self.policy)

    def sample(self, request: Request) -> Paste:
        """The draw of one row, repeated."""
        if not request.hints:
            one = request._replace(partner=_ONE, later=(_ONE,) * len(request.later))
        elif len(request.partner):
            one = request.of(_ONE)
        else:  # nobody whose hints could be looked at
            return nothing(request)
        first = _sharable("PerBatch", self.reads, self.policy.sample(one))
        return first.take(np.zeros(len(request.partner), np.intp))


@dataclass(frozen=True)
class PerPair:
    """Draw once for the two rows of each pair: both get the same lam, box and kind.

    It needs a pairing in which partners are mutual, such as `Reverse`.

    Args:
      policy: draws for one row of each pair.

    Raises:
      MixError: when drawing with a pairing whose partners are not mutual.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.draw(PerPair(bm.policies.MixUp(1.0)), bm.Key(seed=0), batch=4, size={},
      ...                pairing=bm.pairing.Reverse())
      >>> bool((plan.lam == plan.lam[::-1]).all())
      True

    Differs from: timm's mode="pair" is this with `Reverse`; an odd batch is an assert there, here
    the middle row is its own partner.
    """

    policy: Policy

    def __post_init__(self) -> None:
        check_policy("PerPair", self.policy)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(self.policy)

    @property
    def layers(self) -> int:
        return layers_of(self.policy)

    def sample(self, request: Request) -> Paste:
        """The draw of the lower row of each pair, used for both."""
        partner, at = request.partner, np.arange(len(request.partner))
        whole = request.row is None and bool((partner < len(partner)).all())
        if not (whole and (partner[partner] == at).all()):
            raise mix_error(
                "PerPair",
                "the pairing gives row i the partner j, but row j another one than i.",
                "Two rows can share a draw only if they are each other's partner.",
                "Draw with pairing=Reverse(), and put PerPair outside Switch and PerBatch.",
            )
        lower, slot = np.unique(np.minimum(at, partner), return_inverse=True)
        first = self.policy.sample(request.of(lower))
        return _sharable("PerPair", self.reads, first).take(slot)


def _sharable(where: str, reads: tuple[str, ...], paste: Paste) -> Paste:
    """One draw for several rows; what follows from each row itself cannot be shared."""
    ruled = any(layer.label_lam is not None for layer in (paste, *paste.above))
    if "audio" in reads or (ruled and {"label", "padding"} & {*reads}):
        raise mix_error(
            where, "the policy in it has a rule of its own for each row, by its class, its length "
            "or its loudness.", "Rows that share a draw have others than each other.",
            f"Put it outside: ReMix({where}(policy), counts), or Unpadded({where}(policy)); "
            f"leave {where} out of what reads sounds.",
        )  # fmt: skip
    return paste
