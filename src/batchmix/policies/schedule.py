"""Schedule: another policy from some epoch or step on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Policy, Request, check_policy, nothing


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

    def sample(self, request: Request) -> Paste:
        """The draw of the stage that the key is in."""
        now = getattr(request.key, self.by)
        started = [policy for start, policy in dict(self.stages).items() if start <= now]
        policy = started[-1] if started else None
        return nothing(request) if policy is None else policy.sample(request)
