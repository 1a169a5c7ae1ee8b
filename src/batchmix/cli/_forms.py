"""The policies that have a name on the command line, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from batchmix.policies import (
    Blend,
    ClassMix,
    Columns,
    CopyBlend,
    CopyPaste,
    CutMix,
    FMix,
    GridMix,
    MixUp,
    Mosaic,
    Policy,
    ResizeMix,
    SaliencyMix,
    SmoothMix,
    SpecMix,
    Switch,
)


class Form(NamedTuple):
    """How a policy is written: its name, a colon, and its numbers, at most two, each > 0."""

    make: Callable[..., Policy]
    numbers: Mapping[str, tuple[float, float]]  # what they are called, and the range to look in
    example: str


_ALPHA = (0.05, 8.0)
_SHARE = (0.05, 1.0)


def _either(mixup: float, cutmix: float) -> Policy:
    return Switch([MixUp(mixup), CutMix(cutmix)])


def _between(one: float, other: float) -> Policy:
    return Blend(min(one, other), max(one, other))


FORMS: Mapping[str, Form] = {
    "mixup": Form(MixUp, {"alpha": _ALPHA}, "mixup:1"),
    "cutmix": Form(CutMix, {"alpha": _ALPHA}, "cutmix:1"),
    "switch": Form(_either, {"MixUp alpha": _ALPHA, "CutMix alpha": _ALPHA}, "switch:0.8,1.0"),
    "blend": Form(_between, {"from": _SHARE, "to": _SHARE}, "blend:0.45,0.55"),
    "resizemix": Form(ResizeMix, {}, "resizemix"),
    "fmix": Form(FMix, {"alpha": _ALPHA}, "fmix:1"),
    "gridmix": Form(GridMix, {}, "gridmix"),
    "smoothmix": Form(SmoothMix, {}, "smoothmix"),
    "saliencymix": Form(SaliencyMix, {"alpha": _ALPHA}, "saliencymix:1"),
    "mosaic": Form(Mosaic, {}, "mosaic"),
    "specmix": Form(SpecMix, {}, "specmix"),
    "columns": Form(Columns, {"probability": _SHARE}, "columns:0.3"),
}

# policies that look at what few data sets have, and what that is called: its hint, and in words
LOOKING: Mapping[str, tuple[Form, str, str]] = {
    "classmix": (Form(ClassMix, {}, "classmix"), "mask", "segmentation masks"),
    "copypaste": (
        Form(CopyPaste, {"probability": _SHARE}, "copypaste:0.5"), "instances",
        "maps of instances",
    ),
    "copyblend": (Form(CopyBlend, {}, "copyblend"), "boxes", "bounding boxes"),
}  # fmt: skip
