"""What is to be found in an image: bounding boxes, with what goes with each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from batchmix._detection.boxes import mix_bounding_boxes, read_boxes
from batchmix._detection.ragged import instances_of
from batchmix._detection.rule import Rule, check_rule
from batchmix._plan import Plan


@dataclass(frozen=True)
class BoundingBoxes:
    """Bounding boxes [B, N, 4 + K] in cells, with what goes with each, such as its class id.

    They become [B, 2 N, 4 + K], of the same dtype: the row's own that still show, then the
    partner's, layer by layer, -1 in all columns where there is none. What has no area is padding.

    A box of the partner is cut to what was pasted, and moved along where that was stretched. Of the
    row's own box, and of one that another layer covers, the smallest box around what is seen is
    left; it is gone where nothing is. Where rows are blended own boxes stay as they are; `lam` is
    their weight in a loss.

    Args:
      format: "xyxy" (left, top, right, bottom), "yxyx", "xywh" (left, top, width, height) or
        "cxcywh" (centre, width, height).

    Raises:
      MixError: an unknown format; at the call, a shape, dtype or plan that does not fit, or a
        traced array (boxes are mixed on the host).

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 8], [0, 4]], [[0, 0]] * 2], [1, 1], "HW", (8, 8))
      >>> BoundingBoxes("xywh")(np.array([[[2, 0, 6, 8]], [[1, 1, 4, 2]]]), plan)[0].tolist()
      [[4, 0, 4, 8], [1, 1, 3, 2]]

    Differs from: Keras' MixUp concatenates coordinates instead of boxes, its CutMix and those of
    torchvision and kornia refuse boxes; the mixup of YOLOX keeps all boxes of both, uncut.
    """

    format: str = "xyxy"
    min_visible: float = field(default=0.1, kw_only=True)
    min_size: float = field(default=2, kw_only=True)
    weights: bool = field(default=False, kw_only=True)
    keep: tuple[str, ...] = field(default=(), kw_only=True)
    hint: ClassVar[str] = "boxes"
    also: ClassVar[tuple[str, ...]] = ("instances",)

    def __post_init__(self) -> None:
        check_rule("BoundingBoxes", self._rule)

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_bounding_boxes(value, plan, self._rule, other=other)

    def read(self, value: Any, size: dict[str, int], name: str = "boxes") -> Any:
        """What policies see: "boxes" [B, N, 4 + K], xyxy in cells; of masks, "instances"."""
        if name == "instances":
            return instances_of(value, self._rule)
        return read_boxes(value, self._rule, (size["H"], size["W"]))

    @property
    def _rule(self) -> Rule:
        return Rule(self.format, self.min_visible, self.min_size, self.weights, self.keep)
