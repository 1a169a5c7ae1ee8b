"""Schedule and Ramp: a policy that changes with the epoch or the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from operator import index
from typing import Literal

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import (
    Paste,
    Policy,
    Request,
    check_policy,
    layers_of,
    nothing,
    reads_of,
)


@dataclass(frozen=True)
class Schedule:
    """A policy for each stage of training, by epoch or step; None is a stage without mixing.

    The stage is read from the key of the draw, so it reaches every worker and survives a resume.

    Args:
      stages: {first epoch or step: policy or None}; before the first one nothing is mixed.
      by: "epoch" or "step" (within the epoch), the part of the key that decides.

    Raises:
      MixError: no stage, a negative start, or an unknown `by`.

    Example:
      >>> import batchmix as bm
      >>> policy = Schedule({0: bm.policies.MixUp(0.8), 90: None})     # off from epoch 90 on
      >>> policy == Schedule.off_after(bm.policies.MixUp(0.8), epoch=90)
      True
      >>> bm.draw(policy, bm.Key(seed=0, epoch=90), batch=2, size={}).lam.tolist()
      [1.0, 1.0]

    Differs from: timm's `mixup_off_epoch` never reaches persistent loader workers, so that mixing
    goes on; here the epoch is part of the key of every batch.
    """

    stages: Mapping[int, Policy | None] | Sequence[tuple[int, Policy | None]]
    by: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        given = self.stages
        try:
            pairs = [*(given.items() if isinstance(given, Mapping) else given)]
            stages = tuple(sorted((index(start), p) for start, p in pairs))
        except (TypeError, ValueError):
            stages = ()
        object.__setattr__(self, "stages", stages)  # a tuple, so that a schedule can be hashed
        for _, policy in stages:
            if policy is not None:
                check_policy("Schedule", policy)
        starts = [start for start, _ in stages]
        apart = len(set(starts)) == len(starts)
        if self.by not in ("epoch", "step") or not starts or starts[0] < 0 or not apart:
            raise mix_error(
                "Schedule",
                f"got stages={given!r} and by={self.by!r}.",
                "Each stage has a start of its own, an integer >= 0; `by` is 'epoch' or 'step'.",
                "Pass for example Schedule({0: MixUp(0.8), 90: None}, by='epoch').",
            )

    @classmethod
    def off_after(cls, policy: Policy, epoch: int) -> Schedule:
        """`policy` for the first `epoch` epochs (0 .. epoch-1), then no mixing."""
        return cls({0: policy, epoch: None})

    @classmethod
    def between(
        cls, policy: Policy, start: int, stop: int, by: Literal["epoch", "step"] = "epoch"
    ) -> Schedule:
        """`policy` from epoch or step `start` up to `stop`, which is the first without mixing."""
        try:
            window = 0 <= index(start) < index(stop)
        except TypeError:
            window = False
        if not window:
            raise mix_error(
                "Schedule.between", f"got start={start!r} and stop={stop!r}.",
                "Both are integers, 0 <= start < stop; `stop` itself is not mixed any more.",
                "Pass for example Schedule.between(MixUp(0.8), start=4, stop=64).",
            )  # fmt: skip
        return cls({start: policy, stop: None}, by)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(*dict(self.stages).values())

    @property
    def layers(self) -> int:
        return layers_of(*dict(self.stages).values())

    def sample(self, request: Request) -> Paste:
        """The draw of the stage that the key is in."""
        now = getattr(request.key, self.by)
        started = [policy for start, policy in dict(self.stages).items() if start <= now]
        policy = started[-1] if started else None
        return nothing(request) if policy is None else policy.sample(request)


@dataclass(frozen=True)
class Ramp:
    r"""A policy with one number that moves in a straight line, by epoch or step.

    .. math:: v = v_0 + (v_1 - v_0) \, \mathrm{clip}\Big(\frac{n - n_0}{n_1 - n_0}, 0, 1\Big)

    at epoch (or step) :math:`n`. The number is read from the key of the draw, so it reaches every
    worker and survives a resume.

    Args:
      policy: any that is a dataclass; the number it has itself is not used.
      name: of the number, such as "alpha" of MixUp or "prob" of Sometimes.
      start: its value up to `first`.
      end: its value from `last` on.
      last: epoch or step where it arrives.
      first: epoch or step where it sets out, < last.
      by: "epoch" or "step" (within the epoch), the part of the key that decides.

    Raises:
      MixError: no such number, a policy that refuses one of the two, or first >= last.

    Example:
      >>> import batchmix as bm
      >>> policy = Ramp(bm.policies.MixUp(), "alpha", 0.5, 1.5, last=100)
      >>> policy.at(25)
      MixUp(alpha=0.75, dominant=False)
      >>> often = Ramp(bm.policies.Sometimes(policy, 1), "prob", 0, 1, last=10)     # in each other
    """

    policy: Policy
    name: str
    start: float
    end: float
    last: int
    first: int = 0
    by: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        check_policy("Ramp", self.policy)
        known: list[str] = []
        if is_dataclass(self.policy):
            known = [part.name for part in fields(self.policy) if part.init]
        if self.name not in known:
            raise mix_error(
                "Ramp", f"got name={self.name!r} of {self.policy!r}.",
                f"It is a number of the policy{f': {known}' if known else ', a dataclass'}.",
                "Pass for example Ramp(MixUp(), 'alpha', 0.1, 1.0, last=100).",
            )  # fmt: skip
        ends = self.start, self.end
        numbers = all(is_number(v) and np.isfinite(v) for v in ends)
        whole = is_whole(self.first) and is_whole(self.last)
        ahead = whole and 0 <= self.first < self.last
        if not (numbers and ahead and self.by in ("epoch", "step")):
            raise mix_error(
                "Ramp", f"got start={self.start!r}, end={self.end!r}, first={self.first!r}, "
                f"last={self.last!r} and by={self.by!r}.",
                "From `first` to `last`, 0 <= first < last, goes a number from `start` to `end`; "
                "`by` is 'epoch' or 'step'.",
                "Pass for example Ramp(MixUp(), 'alpha', 0.1, 1.0, last=100).",
            )  # fmt: skip
        self.at(self.first)  # what the policy refuses, it refuses now
        self.at(self.last)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads_of(self.policy)

    @property
    def layers(self) -> int:
        return layers_of(self.policy)

    def at(self, n: int) -> Policy:
        """The policy at epoch or step `n`."""
        part = min(max((n - self.first) / (self.last - self.first), 0.0), 1.0)
        value = float((1 - part) * self.start + part * self.end)
        made: Policy = replace(self.policy, **{self.name: value})  # type: ignore[type-var]
        return made

    def sample(self, request: Request) -> Paste:
        """The draw of the policy at the key."""
        return self.at(getattr(request.key, self.by)).sample(request)
