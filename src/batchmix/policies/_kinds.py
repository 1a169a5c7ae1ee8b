"""What the numbers of `Plan.kind` stand for, and what a plan did by these names."""

from __future__ import annotations

from typing import Any

from batchmix.policies.combine import Switch


def kinds_of(policy: Any) -> list[str | None]:
    """A name for each number of `Plan.kind`: "mixup", "cutmix"; None for a policy of no mixing."""
    while True:  # out of Schedule, PerBatch, Sometimes and their like
        stages = getattr(policy, "stages", [(0, getattr(policy, "policy", None))])
        if (inner := next((stage for _, stage in stages if stage), None)) is None:
            break
        policy = inner
    kinds = policy.policies if isinstance(policy, Switch) else [policy]
    return [None if kind is None else type(kind).__name__.lower() for kind in kinds]


def summary_of(plan: Any, policy: Any) -> dict[str, float]:
    """`Plan.describe` with the names of the policy, as loggers group them: "mix/lam"."""
    return {f"mix/{name}": value for name, value in plan.describe(kinds_of(policy)).items()}
