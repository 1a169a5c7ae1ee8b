"""What is to be learnt of a row: classes, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from batchmix._errors import mix_error
from batchmix._label_rules import Rule, check_options
from batchmix._labels import mix_labels
from batchmix._plan import Plan
from batchmix._targets import mix_targets


@dataclass(frozen=True)
class Labels:
    """One label per row, class ids or probabilities: becomes float32 [B, C].

    Args:
      classes: C; may be left out for labels [B, C].
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      ignore: an id that is no class, such as -100: rows whose label nobody knows. They count
        nothing, and a soft label sums to the share of the row that is known.
      rule: "blend" by the weights of the rows; "union", of each class the largest label that is
        in the mix; "threshold", 1 where the blend is `threshold` or more, else 0.
      threshold: of that rule, 0 < t <= 1.

    Raises:
      MixError: `ignore` without `classes`, smoothing or a threshold with a rule that has none; at
        the call, what `mix_labels` refuses.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> Labels(3, smoothing=0.3)(np.array([2]), bm.Plan.identity(1)).round(2)
      array([[0.1, 0.1, 0.8]], dtype=float32)
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0.75], axes="", size=())
      >>> Labels(2, ignore=-100)(np.array([0, -100]), plan).tolist()
      [[0.75, 0.0], [0.75, 0.0]]
      >>> Labels(rule="union")(np.array([[1, 0, 1], [0, 1, 1]]), plan).tolist()
      [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    Differs from: torchvision and timm fail on rows without a label. torch-audiomentations has the
    union (``mix_target``) or the row's own label, and no blend.
    """

    classes: int | None = None
    smoothing: float = 0.0
    ignore: int | None = None
    rule: Rule = "blend"
    threshold: float = 0.5
    hint: ClassVar[str] = "label"

    def __post_init__(self) -> None:
        options = self.smoothing, self.ignore, self.rule, self.threshold
        check_options("Labels", self.classes, *options)
        if self.ignore is not None and self.classes is None:
            raise mix_error(
                "Labels", f"got ignore={self.ignore} and classes=None.",
                "What is ignored is an id; ids need a number of classes.",
                "Pass Labels(classes, ignore=...); of labels [B, C] a row of zeros has none.",
            )  # fmt: skip

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_labels(
            value, plan, self.classes, smoothing=self.smoothing, ignore=self.ignore,
            rule=self.rule, threshold=self.threshold, other=other,
        )  # fmt: skip


@dataclass(frozen=True)
class Targets:
    """Numbers to be predicted, [B] or [B, ...]: blended by the weights of the rows, in their dtype.

    .. math:: y'_i = \\sum_k w_{ik}\\, y_{p_k(i)}

    with the weights of labels, `Plan.label_weights`: whatever was pasted, a box or a blend. NaN, a
    number that nobody knows, makes NaN of every row in which it has a weight, and of no other.

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
