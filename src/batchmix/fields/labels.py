"""What is to be learnt of a row: classes, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from batchmix._labels import check_options, mix_labels
from batchmix._plan import Plan
from batchmix._targets import mix_targets


@dataclass(frozen=True)
class Labels:
    """One label per row, class ids or probabilities: becomes float32 [B, C].

    Args:
      classes: C; may be left out for labels [B, C].
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> Labels(3, smoothing=0.3)(np.array([2]), bm.Plan.identity(1)).round(2)
      array([[0.1, 0.1, 0.8]], dtype=float32)
    """

    classes: int | None = None
    smoothing: float = 0.0
    hint: ClassVar[str] = "label"

    def __post_init__(self) -> None:
        check_options("Labels", self.classes, self.smoothing)

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_labels(value, plan, self.classes, smoothing=self.smoothing, other=other)


@dataclass(frozen=True)
class Targets:
    """Numbers to be predicted, [B] or [B, ...]: blended by the weights of the rows, in their dtype.

    .. math:: y'_i = \\sum_k w_{ik}\\, y_{p_k(i)}

    with the weights of labels, `Plan.label_weights`: whatever was pasted, a box or a blend.

    Raises:
      MixError: at the call, integers (ids have no average) or a number of rows that does not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[[[0, 1]]] * 2, opacity=[1, 1], axes="T", size=(4,))
      >>> Targets()(np.array([[0.0, 1.0], [4.0, 9.0]]), plan).tolist()
      [[1.0, 3.0], [3.0, 7.0]]

    Differs from: others blend targets by the lam that was drawn; here it is what was pasted.
    """

    hint: ClassVar[str] = "target"

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_targets(value, plan, other=other)
