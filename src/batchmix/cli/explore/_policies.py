"""The policies and the pairings of the page, and what it hands to those that look at rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix.cli._forms import FORMS
from batchmix.cli._mixing import PAIRINGS
from batchmix.cli.show.shown import Source
from batchmix.pairing import Balanced, OtherClass, Pairing, SameClass
from batchmix.policies import (
    ClassMix,
    CopyPaste,
    CutMix,
    Layers,
    MixUp,
    Mosaic,
    Policy,
    ReMix,
)

_ALPHA = (0.05, 8.0)


class Choice(NamedTuple):
    """A policy of the page: how it is called, made, and which numbers it has, at most two."""

    title: str
    make: Callable[..., Policy | None]  # of its numbers, and with `counts` of the classes first
    numbers: Mapping[str, tuple[float, float]]
    word: bool = False  # whether the command line knows it, by the same name and numbers
    counts: bool = False
    note: str = ""  # what the page made up for it


_TITLES = {
    "mixup": "MixUp",
    "cutmix": "CutMix",
    "switch": "Switch: MixUp or CutMix",
    "resizemix": "ResizeMix",
    "fmix": "FMix",
    "gridmix": "GridMix",
    "smoothmix": "SmoothMix",
    "saliencymix": "SaliencyMix",
    "mosaic": "Mosaic",
    "columns": "Columns",
}


def _layers(mixup: float, cutmix: float) -> Policy:
    return Layers([MixUp(mixup), CutMix(cutmix)])


def _remix(counts: tuple[float, ...], alpha: float) -> Policy:
    return ReMix(MixUp(alpha), counts)


_OF_BOTH = {"MixUp alpha": _ALPHA, "CutMix alpha": _ALPHA}

POLICIES: Mapping[str, Choice] = {
    **{
        name: Choice(_TITLES.get(name, name), form.make, form.numbers, word=True)
        for name, form in FORMS.items()
    },
    "ricap": Choice("RICAP: Mosaic of crops", lambda: Mosaic("crop", beta=0.3), {}),
    "layers": Choice("Layers: CutMix over MixUp", _layers, _OF_BOTH),
    "dominant": Choice(
        "MixUp, the row always dominant",
        lambda alpha: MixUp(alpha, dominant=True), {"alpha": _ALPHA},
    ),
    "inside": Choice(
        "CutMix, the box always inside",
        lambda alpha: CutMix(alpha, placement="inside"), {"alpha": _ALPHA},
    ),
    "remix": Choice(
        "ReMix of MixUp", _remix, {"alpha": _ALPHA}, counts=True,
        note="ReMix counts the classes of these training rows.",
    ),
    "classmix": Choice(
        "ClassMix", ClassMix, {},
        note="ClassMix reads segmentation masks. Three shades of each picture stand in for them.",
    ),
    "copypaste": Choice(
        "CopyPaste", CopyPaste, {},
        note="CopyPaste reads instances. The bright regions of each picture stand in for them.",
    ),
    "none": Choice("none: rows as they are", lambda: None, {}, word=True),
}  # fmt: skip

PARTNERS: Mapping[str, Pairing] = {
    **{str(name): pairing for name, pairing in PAIRINGS.items()},
    "same-class": SameClass(),
    "other-class": OtherClass(),
    "balanced": Balanced(),
}


class Hint(NamedTuple):
    """What a policy may look at: made of the rows, and the code that makes the same."""

    make: Callable[[NDArray[Any], NDArray[np.int64]], NDArray[Any]]
    code: str = ""
    imports: str = ""


def _shades(x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[Any]:
    return np.asarray(np.digitize(x.mean(-1), [85, 170]))


def _bright(x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[Any]:
    from scipy.ndimage import label

    found: list[NDArray[Any]] = [label(one > one.mean())[0] for one in x.mean(-1)]
    return np.stack(found)


HINTS: Mapping[str, Hint] = {
    "image": Hint(lambda x, y: x, ""),
    "label": Hint(lambda x, y: y, ""),
    "mask": Hint(_shades, "mask = np.digitize(x.mean(-1), [85, 170])  # three shades\n"),
    "instances": Hint(
        _bright,
        "instances = np.stack([label(one > one.mean())[0] for one in x.mean(-1)])\n",
        "from scipy.ndimage import label\n",
    ),
}


def made(word: str, numbers: tuple[float, ...], source: Source) -> Policy | None:
    """The policy of a word for the classes of a source."""
    choice = POLICIES[word]
    if not choice.counts:
        return choice.make(*numbers)
    counts = np.bincount(source.y, minlength=len(source.classes)).astype(float)
    return choice.make(tuple(np.maximum(counts, 1).tolist()), *numbers)
