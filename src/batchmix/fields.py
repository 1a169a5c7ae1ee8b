"""Fields say what a part of the batch is, and so what a plan does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from batchmix._bounding_boxes import check_format, mix_bounding_boxes
from batchmix._errors import mix_error
from batchmix._labels import check_options, mix_labels
from batchmix._mix import checked, mix, mix_ids
from batchmix._plan import Plan
from batchmix._targets import mix_targets

__all__ = [
    "Audio",
    "BoundingBoxes",
    "Features",
    "Field",
    "Grid",
    "Ids",
    "Image",
    "Keep",
    "Labels",
    "Mask",
    "Targets",
    "Video",
]


class Field(Protocol):
    """Anything with this method is a field.

    What policies and pairings may read has a `hint`, the name that they read it by. One that lies
    on a grid also has a `layout`, an argument `out` to write to, and ``check(value, plan, other)``,
    which raises what the call with ``out=value`` would raise.
    """

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        """What becomes of `value`; `other` is the same part of the batch of partners."""
        ...


@dataclass(frozen=True)
class Grid:
    """Numbers on a grid, blended and pasted: images, audio, video, volumes, table rows.

    Args:
      layout: one letter per axis, batch first. H, W (and D) are space, T is time, C is channels.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.5, 0.5], axes="", size=())
      >>> Grid("NC")(np.array([[0.0], [4.0]]), plan).ravel()
      array([2., 2.])
    """

    layout: str = ""  # is refused, with the reason

    def __post_init__(self) -> None:
        _check_layout(type(self).__name__, self.layout)

    def __call__(self, value: Any, plan: Plan, other: Any = None, out: Any = None) -> Any:
        return mix(value, plan, self.layout, other=other, out=out)

    def check(self, value: Any, plan: Plan, other: Any = None) -> None:
        """Raise what ``mix(value, plan, layout, other=other, out=value)`` would raise."""
        checked("mix()", value, plan, self.layout, other, value)


@dataclass(frozen=True)
class Ids:
    """Ids on a grid, such as segmentation masks: chosen cell by cell, never averaged.

    Inside the box a cell takes the partner's id where the partner's weight is above one half. Any
    dtype will do. A field is a function too: ``Ids("NHW")(masks, plan)``.

    Args:
      layout: one letter per axis, batch first, such as "NHW".

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[[[0, 1]]] * 2, opacity=[1, 1], axes="T", size=(2,))
      >>> Ids("NT")(np.array([[3, 3], [200, 200]]), plan).tolist()
      [[200, 3], [3, 200]]

    Differs from: timm, torchvision and kornia refuse masks; Datarax and big_vision average ids.
    """

    layout: str = ""  # is refused, with the reason
    hint: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        _check_layout(type(self).__name__, self.layout)

    def __call__(self, value: Any, plan: Plan, other: Any = None, out: Any = None) -> Any:
        return mix_ids(value, plan, self.layout, other=other, out=out)

    def check(self, value: Any, plan: Plan, other: Any = None) -> None:
        """Raise what the call with ``out=value`` would raise."""
        checked("Ids()", value, plan, self.layout, other, value)


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


@dataclass(frozen=True)
class Keep:
    """Stays as it is, and says so where a reader might wonder: names, paths, the original label.

    Example:
      >>> import batchmix as bm
      >>> Keep()(["a.jpg", "b.jpg"], bm.Plan.identity(2))
      ['a.jpg', 'b.jpg']
    """

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return value


class Image(Grid):
    """A `Grid` that holds images, such as "NCHW" or "NHWC"."""

    hint: ClassVar[str] = "image"


class Video(Grid):
    """A `Grid` that holds videos, such as "NCTHW"."""


class Audio(Grid):
    """A `Grid` that holds waveforms or spectrograms, such as "NCT"."""


class Features(Grid):
    """A `Grid` that holds rows of a table, "NC"."""


class Mask(Ids):
    """`Ids` of a segmentation, such as "NHW"."""


def _check_layout(field: str, layout: str) -> None:
    """A layout names each axis once, and the batch first."""
    if not (
        isinstance(layout, str)
        and layout[:1] == "N"
        and layout.isalpha()
        and layout.isupper()
        and len(set(layout)) == len(layout)
    ):
        raise mix_error(
            field,
            f"got layout={layout!r}.",
            "A layout has one capital letter per axis, no letter twice, and starts with N.",
            "Pass for example 'NCHW', 'NHWC', 'NCTHW', 'NCT' or 'NC'.",
        )
