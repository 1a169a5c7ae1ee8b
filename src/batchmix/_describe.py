"""A plan in a few numbers, for logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._layers import check_known, label_weights, weights

if TYPE_CHECKING:
    from batchmix._plan import Plan


def describe(plan: Plan, kinds: Sequence[str | None] = ()) -> dict[str, float]:
    """What this plan does, as plain numbers for any logger.

    Args:
      kinds: a name for each number of `kind`, such as ("mixup", "cutmix"); names may repeat.

    Returns:
      "lam", the mean weight of a row's own content; "hardness", the mean of the largest label
      weight, which is the best accuracy that can be reached on mixed rows; "unmixed", the share of
      rows that are left as they are; and the share of rows of each kind. All are 0..1; of a plan
      without rows nan.

    Raises:
      MixError: a plan that is traced, whose numbers are not known yet; `kinds` that are no list of
        names, or of which one is "lam", "hardness" or "unmixed".

    Example:
      >>> from batchmix.policies import CutMix, MixUp, Switch
      >>> import batchmix as bm
      >>> plan = bm.draw(Switch([MixUp(), CutMix()]), bm.Key(0), 64, {"H": 32, "W": 32})
      >>> {name: round(x, 2) for name, x in plan.describe(["mixup", "cutmix"]).items()}
      {'lam': 0.52, 'hardness': 0.83, 'unmixed': 0.02, 'mixup': 0.55, 'cutmix': 0.44}

    Differs from: no other library says what it did to a batch.
    """
    check_known("Plan.describe", plan)
    mixed = weights(plan)[:, 0] < 1
    drawn = np.where(mixed, 0 if plan.kind is None else plan.kind, -1)
    found = {
        "lam": _mean(plan.lam),
        "hardness": _mean(label_weights(plan).max(1)),
        "unmixed": _mean(~mixed),
    }
    names = [] if isinstance(kinds, str) else [name for name in kinds if name]
    if isinstance(kinds, str) or not {*map(type, names)} <= {str} or found.keys() & names:
        raise mix_error(
            "Plan.describe", f"got kinds={kinds!r}.",
            f"They are a list of names, each other than {', '.join(found)}.",
            "Pass for example ['mixup', 'cutmix'].",
        )  # fmt: skip
    found |= dict.fromkeys(names, 0.0)
    for number, name in enumerate(kinds):
        if name:
            found[name] += _mean(drawn == number)
    return found


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")
