"""What is to be found in an image: bounding boxes, instance masks, key points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from batchmix._detection.boxes import mix_bounding_boxes, read_boxes
from batchmix._detection.formats import check_axes
from batchmix._detection.instances import check_instances, mix_instances
from batchmix._detection.keypoints import check_points_format, mix_keypoints
from batchmix._detection.ragged import instances_of
from batchmix._detection.rule import Rule, check_rule
from batchmix._plan import Plan


@dataclass(frozen=True)
class BoundingBoxes:
    """Bounding boxes, each with what goes with it: cut, moved and dropped as its pixels are.

    .. math:: share_b = |seen_b| / |b|, \\quad
              weight_b = \\mathrm{mean}_{c \\in b}\\; a_k(c) \\prod_{m > k} (1 - a_m(c))

    with :math:`a_k(c)` the opacity of the box's layer in a cell, 1 for the row's own content. So
    the weight is `lam` where rows are blended, and the visible share where they are pasted.

    What they may be, and what becomes of them: the row's own, then the partner's, layer by layer.

    - an array [B, N, 4 + K], four coordinates and K numbers a box, becomes [B, (L + 1) N, 4 + K]
      for L layers, -1 in all columns where there is no box. What has no area is padding.
    - a list with a dict for each row, ``{"boxes": [k, 4], "labels": [k], ...}``, as in torchvision,
      DETR and Hugging Face, stays one. Every entry with one thing for each box goes with its box;
      others stay the row's, and so do known names of an image, such as "image_id", "orig_size" or
      "pixel_values", whatever their length. "area" is scaled by what is seen; "masks" [k, H, W] are
      pasted and trimmed, and then say what is seen of a box; "keypoints" [k, P, 2 or 3] are as in
      `Keypoints`, in cells where the boxes are.
    - one dict for the batch, ``{"batch_idx": [M], "bboxes": [M, 4], "cls": [M, 1]}``, as in
      ultralytics, stays one, in a place of its own: no image beside it is mixed.

    A partner's box is cut to what was pasted, and moved where that was stretched. Of any box that
    others cover, the smallest box around what is seen is left. A box of which all is seen, where
    and as large as it was, stays as it is whatever its size, and so do the boxes of a row that is
    not mixed.

    Args:
      format: "xyxy" (left, top, right, bottom), "yxyx", "xywh" (left, top, width, height) or
        "cxcywh" (centre, width, height) in cells; with an n at the end in shares of the image.
      min_visible: boxes of which a smaller share is seen go, 0..1.
      min_size: boxes whose shorter side is smaller go, in cells >= 0.
      weights: whether to add the weight of each box: as a last column, or as an entry "weights";
        one that the dicts have already is multiplied.
      keep: names of entries that stay the row's although they have one thing for each box.

    Raises:
      MixError: an unknown or rotated format; at the call, a shape, dtype or plan that does not fit,
        shares given as cells or cells as shares, NaN, polygons, or a traced array (boxes are mixed
        on the host).

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 8], [0, 4]], [[0, 0]] * 2], [1, 1], "HW", (8, 8))
      >>> BoundingBoxes("xywh")(np.array([[[2, 0, 6, 8]], [[1, 1, 4, 2]]]), plan)[0].tolist()
      [[4, 0, 4, 8], [1, 1, 3, 2]]
      >>> rows = [{"boxes": np.array([[2, 0, 8, 8]])}, {"boxes": np.array([[1, 1, 5, 3]])}]
      >>> BoundingBoxes(weights=True)(rows, plan)[0]["weights"].round(2)
      array([0.67, 0.75], dtype=float32)

    Differs from: the thresholds are those of ultralytics' `box_candidates`, which keeps what is
    larger than 2 pixels and 0.1 of its area, and its CutMix, which asks 0.1; here they are met with
    equality, and what did not change is kept. mmdetection's CopyPaste keeps an own object whose
    box moved by at most 10 pixels or of which more than 300 are seen. Keras' MixUp concatenates
    coordinates instead of boxes, its CutMix and those of torchvision and kornia refuse boxes.

    Source: DEIM weighs boxes by `lam`, https://arxiv.org/abs/2412.04234
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

    def read(
        self, value: Any, size: dict[str, int], name: str = "boxes", rows: int | None = None
    ) -> Any:
        """What policies see: "boxes" [B, N, 4 + K], xyxy in cells; of masks, "instances"."""
        check_axes("BoundingBoxes()", "".join(size))
        grid = size["H"], size["W"]
        if name == "instances":
            return instances_of(value, self._rule, grid, rows)
        return read_boxes(value, self._rule, grid, rows)

    @property
    def _rule(self) -> Rule:
        return Rule(self.format, self.min_visible, self.min_size, self.weights, self.keep)


@dataclass(frozen=True)
class Instances:
    """Masks of instances [B, K, H, W], pasted, covered and trimmed as the pixels are.

    They become [B, (L + 1) K, H, W] for L layers: the row's own, then the partner's, layer by
    layer, all zero where there is none or too little is left. The places are those of a padded
    `BoundingBoxes`, which looks at boxes alone; to drop both by what is left of the masks, put them
    into a dict for each row. Where rows are blended, the masks of both stay whole.

    Args:
      layout: "NKHW", or "NHWK".
      min_visible: instances of which a smaller share is seen become zero, 0..1; of one that was
        stretched, a share of its cells times the scale.
      min_area: and those with fewer cells, >= 0. What is seen whole as it was stays.

    Raises:
      MixError: an argument that is none of these; at the call, another grid than that of the plan,
        or a traced array.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 2], [0, 1]]] * 2, [1, 1], "HW", (2, 2))
      >>> Instances()(np.array([[[[5, 5], [0, 0]]], [[[0, 0], [7, 7]]]]), plan)[0].tolist()
      [[[0, 5], [0, 0]], [[0, 0], [7, 0]]]

    Differs from: torchvision's reference and mmdetection do so for one partner without blending.

    Source: Ghiasi et al., Simple Copy-Paste, 2021, https://arxiv.org/abs/2012.07177
    """

    layout: str = "NKHW"
    min_visible: float = field(default=0.1, kw_only=True)
    min_area: float = field(default=0, kw_only=True)
    hint: ClassVar[str] = "instances"

    def __post_init__(self) -> None:
        check_instances("Instances", self.layout, self.min_visible, self.min_area)

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_instances(value, plan, self.layout, self.min_visible, self.min_area, other)


@dataclass(frozen=True)
class Keypoints:
    """Key points [B, N, P, 2 or 3] of N instances a row: each goes where its pixel goes.

    They become [B, (L + 1) N, P, ...] for L layers, in the places of a padded `BoundingBoxes`. A
    point that is covered, or outside of what was pasted, is no longer labelled: x = y = v = 0, as
    COCO writes what is not labelled, or x = y = -1 where there is no v. COCO's v = 1 is a labelled
    point that something in the scene hides; its pixels are gone here, and a loss would ask for it.

    Args:
      format: "xy" or "xyv" (v of COCO: 0 not labelled, 1 hidden, 2 visible), in cells; "xyn" or
        "xyvn" in shares of the image.

    Raises:
      MixError: an unknown format; at the call, another shape, shares given as cells or cells as
        shares, or a traced array.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 4], [0, 2]]] * 2, [1, 1], "HW", (4, 4))
      >>> points = np.array([[[[1, 1, 2], [3, 3, 2]]], [[[0, 2, 1], [2, 2, 2]]]])
      >>> Keypoints("xyv")(points, plan)[0].tolist()
      [[[0, 0, 0], [3, 3, 2]], [[0, 2, 1], [0, 0, 0]]]

    Differs from: ultralytics drops points that leave the image, and keeps those that are covered.

    Source: COCO's data format, https://cocodataset.org/#format-data
    """

    format: str = "xyv"

    def __post_init__(self) -> None:
        check_points_format("Keypoints", self.format)

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_keypoints(value, plan, self.format, other)
