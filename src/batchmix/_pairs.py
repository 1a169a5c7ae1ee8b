"""What each row is made of: its own label and its partners', by their weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._batch import check_batch
from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix.backends import backend_of, called_as_is


@called_as_is
def pairs(y: Any, plan: Plan, *, other: Any = None) -> tuple[Any, Any, Any]:
    """Both targets of each row and the weight of the first, for losses that take hard labels.

    Use with `losses.pairwise`; no [B, C] array is made, whatever C is.

    Args:
      y: labels [B, ...] of any dtype.
      plan: as given to `mix`.
      other: labels that partners are taken from, as in `mix`.

    Returns:
      (y, y[partner], lam): two arrays like `y`, and float32 [B], the weight of the row's OWN label.

    Raises:
      MixError: B does not fit, or the plan has layers and so several partners a row.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> bm.pairs(np.array([7, 9]), plan)
      (array([7, 9]), array([9, 7]), array([0.75, 1.  ], dtype=float32))

    Differs from: Composer's MixUp returns the partner's weight, its CutMix the own one; kornia
    returns ids as floats.
    """
    b = backend_of(y, "pairs()")
    check_batch(b, "pairs()", "y", y, plan, other)
    if plan.above:
        raise mix_error(
            "pairs()", f"the plan has {1 + len(plan.above)} layers.",
            "A row has a partner in each.", "Use parts(y, plan), which has a label for each.",
        )  # fmt: skip
    partners = b.take(y if other is None else other, b.array(plan.partner, y))
    lam = own_share(plan)
    # a copy: what is handed out may be written to, the plan may not
    return y, partners, b.array(lam.copy() if isinstance(lam, np.ndarray) else lam, y)


@called_as_is
def parts(y: Any, plan: Plan, *, other: Any = None) -> tuple[Any, Any]:
    """All targets of each row and their weights: `pairs` for any number of layers.

    Use with `losses.pairwise`.

    Args:
      y: labels [B, ...] of any dtype.
      plan: as given to `mix`.
      other: labels that partners are taken from, as in `mix`.

    Returns:
      (labels [B, K + 1, ...] like `y`, weights float32 [B, K + 1]): the row's own first, then the
      partner's of each layer. Weights of a row sum to 1.

    Raises:
      MixError: B does not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0], axes="", size=())
      >>> labels, weights = bm.parts(np.array([7, 9]), plan.then(plan))
      >>> labels.tolist(), weights.tolist()
      ([[7, 9, 9], [9, 7, 7]], [[0.5625, 0.1875, 0.25], [1.0, 0.0, 0.0]])

    Differs from: no other library mixes more than two rows with weights that follow the pixels.
    """
    b = backend_of(y, "parts()")
    check_batch(b, "parts()", "y", y, plan, other)
    others = y if other is None else other
    layers = (plan, *plan.above)
    labels = b.stack([y, *(b.take(others, b.array(layer.partner, y)) for layer in layers)])
    weights = b.stack([b.array(share, y) for share in shares_of(plan, "parts()")])
    axes = (1, 0, *range(2, len(y.shape) + 1))
    return b.transpose(labels, axes), b.transpose(weights, (1, 0))


def shares_of(plan: Plan, where: str) -> list[Any]:
    """[B] each: the weight of a row's own label, then of the partner's in each layer."""
    layers = (plan, *plan.above)
    if not plan.above:
        own = own_share(plan)
        return [own, 1 - own]
    if all(layer.label_lam is None for layer in layers):
        return [plan.lam, *(layer.seen for layer in layers)]
    if not isinstance(plan.lam, np.ndarray):
        raise mix_error(
            where, "a plan with layers and labels of its own has no values yet.",
            "Such labels are counted on the host.", "Mix them outside of the compiled function.",
        )  # fmt: skip
    return [np.ascontiguousarray(share) for share in plan.label_weights.T]


def own_share(plan: Plan) -> Any:
    """[B]: the weight of a row's own label, of a plan of one layer."""
    return plan.lam if plan.label_lam is None else plan.label_lam
