"""What batchmix sets out to reach on one H100 or H200: medians of device time of one run."""

from __future__ import annotations

from typing import Any

import cases as c
from on_gpu.mixing import PIXELS
from on_gpu.parts import MAIN, NORMALISED
from on_gpu.training import GROUP, KERNELS, MIXING, WORK
from targets import Find, Target

_WHERE = (MAIN.group, MAIN.shape)


def _near(goal: float, says: str, work: str, how: str, where: Any = _WHERE) -> Target:
    """Against a copy of as many bytes."""
    group, shape = where
    ours = Find(group, shape, "batchmix", work, f"{how}, {PIXELS}")
    copy = Find(group, shape, "limit", "limit", "copy: *")
    return Target(says, goal, ours, copy, at_most=True)


def _faster(goal: float, library: str, work: str, how: str, theirs: str) -> Target:
    """A whole step with labels, against a library."""
    says = f"{work}, {how}, whole step: faster than {library}"
    ours = Find(*_WHERE, "batchmix", work, how)
    return Target(says, goal, ours, Find(*_WHERE, library, work, theirs))


def _alone(goal: float, library: str, work: str, how: str) -> Target:
    """The device's part alone, against a library's step."""
    says = f"{work}, {how}, pixels only: faster than {library}"
    ours = Find(*_WHERE, "batchmix", work, f"{how}, {PIXELS}")
    return Target(says, goal, ours, Find(*_WHERE, library, work))


_BYTES = "time over that of a copy"
_FUSED = (NORMALISED.group, NORMALISED.shape)
GOALS = [
    _near(1.35, f"{c.ROWS}, new array: {_BYTES}", c.ROWS, "new array"),
    _near(1.15, f"{c.ROWS}, in place, pairs: {_BYTES}", c.ROWS, "in place"),
    _near(1.15, f"{c.MIXUP_ROWS}, in place, pairs: {_BYTES}", c.MIXUP_ROWS, "in place"),
    _near(
        1.3, f"{NORMALISED.name}, {c.ROWS}: {_BYTES} of its bytes", c.ROWS, "new array",
        _FUSED,
    ),
    _faster(4, "torchvision", c.MIXUP, "new array", "new array"),
    _faster(4, "timm", c.MIXUP, "in place", "in place"),
    _faster(60, "timm", c.ROWS, "in place", "in place"),
    _alone(60, "timm", c.ROWS, "in place"),
    Target(
        "ResNet-50, 256 rows: kernels of mixing over a step without",
        0.01,
        Find(GROUP, MAIN.shape, "batchmix", MIXING, KERNELS),
        Find(GROUP, MAIN.shape, "PyTorch", WORK, "no mixing"),
        at_most=True,
    ),
]  # fmt: skip
