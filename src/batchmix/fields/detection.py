"""What is to be found in an image: bounding boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchmix._bounding_boxes import check_format, mix_bounding_boxes
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

    def __post_init__(self) -> None:
        check_format("BoundingBoxes", self.format)

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_bounding_boxes(value, plan, self.format, other=other)
