"""Schedule: another policy from some epoch or step on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Policy, Rows, check_policy, nothing


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

    stages: Mapping[int, Policy | None]
    by: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        given = isinstance(self.stages, Mapping) and all(isinstance(k, int) for k in self.stages)
        stages = dict(sorted(self.stages.items())) if given else {}
        object.__setattr__(self, "stages", stages)
        for policy in stages.values():
            if policy is not None:
                check_policy("Schedule", policy)
        if self.by not in ("epoch", "step") or not stages or min(stages) < 0:
            raise mix_error(
                "Schedule",
                f"got stages that start at {list(stages)} and by={self.by!r}.",
                "Each stage starts at an epoch or step >= 0; `by` is 'epoch' or 'step'.",
                "Pass for example Schedule({0: MixUp(0.8), 90: None}, by='epoch').",
            )

    @classmethod
    def off_after(cls, policy: Policy, epoch: int) -> Schedule:
        """`policy` for the first `epoch` epochs (0 .. epoch-1), then no mixing."""
        return cls({0: policy, epoch: None})

    def sample(self, rows: Rows) -> Paste:
        """The draw of the stage that the key is in."""
        now = getattr(rows.key, self.by)
        started = [policy for start, policy in self.stages.items() if start <= now]
        policy = started[-1] if started else None
        return nothing(rows) if policy is None else policy.sample(rows)
