"""Segmentations whose cells hold shares of several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from batchmix._errors import mix_error
from batchmix._plan import Plan
from batchmix._soft_masks import check_mask_options, mix_soft_masks
from batchmix.fields.grids import check_layout


@dataclass(frozen=True)
class SoftMask:
    r"""A segmentation that becomes soft: float32 weights of the classes in each cell.

    .. math:: t_{ic}(u) = \sum_k w_{ik}(u)\, [\,y_{p_k(i)}(u) = c\,],
              \qquad w_{ik} = a_k \textstyle\prod_{m > k} (1 - a_m)

    with :math:`w_{ik}(u)` what is seen in cell u of the row itself (k = 0) and of the partner in
    each layer: the law of labels, cell by cell. It is what `mix` makes of the one-hot mask. The
    weights of a cell sum to 1; where a cell is ignored in a row that takes part, to the share that
    is known, and to 0 where it is ignored in all of them.

    Args:
      layout: one letter per axis, batch first: "NHW", "NDHW", or with channels, "NCHW". Masks are
        integer ids; channels are one, or one for each class: then they are weights, such as a
        one-hot mask.
      classes: C. The result has them in the place of the channels, else behind the rows: of "NHW"
        it is [B, C, H, W], of "NHWC" [B, H, W, C].
      ignore: an id that is no class, such as 255: its cells count nothing.

    Raises:
      MixError: an argument that does not fit; at the call, ids outside 0..C-1 (seen on the host; a
        device fails, or gives NaN where it cannot), or floats without a channel for each class.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[[[0, 2]]] * 2, opacity=[0.25] * 2, axes="T", size=(3,))
      >>> SoftMask("NT", classes=2, ignore=255)(np.array([[0, 255, 1], [1, 1, 1]]), plan)[0]
      array([[0.75, 0.  , 0.  ],
             [0.25, 0.25, 1.  ]], dtype=float32)

    Differs from: `Mask` keeps ids, the heavier row's in each cell. Others average ids, or blend the
    mask of the row with that of the partner by one lam, also where nothing was pasted.
    """

    layout: str = ""  # is refused, with the reason
    classes: int = 0  # is refused, too
    ignore: int | None = None
    hint: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        check_layout("SoftMask", self.layout)
        check_mask_options("SoftMask", self.classes, self.ignore)
        if self.ignore is not None and 0 <= self.ignore < self.classes:
            raise mix_error(
                "SoftMask", f"got ignore={self.ignore} and classes={self.classes}.",
                "What is ignored is no class.", "Give it an id of its own, such as 255.",
            )  # fmt: skip

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_soft_masks(value, plan, self.layout, self.classes, self.ignore, other=other)
