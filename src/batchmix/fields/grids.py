"""Parts of a batch that lie on a grid: numbers, and ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from batchmix._errors import mix_error
from batchmix._mix import checked, mix, mix_ids
from batchmix._plan import Plan


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
        check_layout(type(self).__name__, self.layout)

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
        check_layout(type(self).__name__, self.layout)

    def __call__(self, value: Any, plan: Plan, other: Any = None, out: Any = None) -> Any:
        return mix_ids(value, plan, self.layout, other=other, out=out)

    def check(self, value: Any, plan: Plan, other: Any = None) -> None:
        """Raise what the call with ``out=value`` would raise."""
        checked("Ids()", value, plan, self.layout, other, value)


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


def check_layout(field: str, layout: str) -> None:
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
