"""Applying a plan to numbers that are to be predicted."""

from __future__ import annotations

from typing import Any

from batchmix._batch import check_batch
from batchmix._errors import mix_error
from batchmix._pairs import shares_of
from batchmix._plan import Plan
from batchmix.backends import backend_of, called_as_is


@called_as_is
def mix_targets(y: Any, plan: Plan, *, other: Any = None) -> Any:
    """The verb of `fields.Targets`, where it is described."""
    where = "Targets()"
    b = backend_of(y, where)
    check_batch(b, where, "y", y, plan, other)
    if b.is_integer(y) or not b.blendable(y):
        raise mix_error(
            where, f"targets have dtype {y.dtype}.", "Numbers are blended by their weights.",
            "Convert counts to floats; for class ids use Labels(classes).",
        )  # fmt: skip
    rest = (slice(None), *[None] * (len(y.shape) - 1))
    others, wide = y if other is None else other, b.promoted(y, y)[0]
    own, *theirs = (
        b.promoted(wide, b.array(share, y)[rest])[1] for share in shares_of(plan, where)
    )
    # chosen before they are weighted: NaN times 0 is NaN
    mixed = b.where(own > 0, wide, 0 * own) * own
    for layer, share in zip((plan, *plan.above), theirs):
        partners = b.promoted(b.take(others, b.array(layer.partner, y)), wide)[0]
        mixed = mixed + b.where(share > 0, partners, 0 * share) * share
    return b.rounded(b.where(own == 1, wide, mixed), y)
