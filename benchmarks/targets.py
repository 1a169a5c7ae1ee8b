"""What batchmix sets out to reach: one thread, warm allocator, medians of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cases as c
from report import Report

_QUARTER = (64, 3, 224, 224)  # of the large batch; still larger than most caches


class Find(NamedTuple):
    """Lines of a report; of several the fastest counts."""

    group: str
    shape: c.Shape
    library: str
    work: str
    how: str = "*"

    @property
    def wanted(self) -> dict[str, Any]:
        """For `Report.find`."""
        return {"threads": 1, "allocator": "warm", **self._asdict()}


@dataclass(frozen=True)
class Target:
    """A quotient of two medians, or one time, and how large it is to be."""

    says: str
    goal: float
    ours: Find
    other: Find | None = None
    at_most: bool = False

    def measured(self, report: Report) -> float | None:
        """The quotient, ours below for "x times faster", above for "at most x"."""
        if self.other is None:
            return report.median(**self.ours.wanted)
        ours, other = self.ours.wanted, self.other.wanted
        return report.ratio(ours, other) if self.at_most else report.ratio(other, ours)

    def pixels_alone(self, report: Report) -> float | None:
        """The same without plan and labels on the side of batchmix; for information only."""
        if self.at_most:
            return None
        bare = self.ours._replace(how=f"{self.ours.how.split(',')[0]}, pixels only")
        return replace(self, ours=bare).measured(report)

    def hit(self, value: float) -> bool:
        """Whether a measured value reaches the goal."""
        return value <= self.goal if self.at_most else value >= self.goal


def times(shape: c.Shape) -> str:
    """256x3x224x224."""
    return "x".join(map(str, shape))


_LABEL_PAIRS, _WORKER = "out=, label pairs", "DataLoader, workers: 1"
_ROUTES = {c.FLOAT: "out=", _WORKER: "uint8 batch, mix_normalize"}


def _faster(goal: float, shape: c.Shape, work: str, ours: str, library: str) -> Target:
    """A float32 batch, against a library."""
    return Target(
        f"{times(shape)}, {work}, {ours}: faster than {library}",
        goal,
        Find("float32", shape, "batchmix", work, ours),
        Find("float32", shape, library, work),
    )


def _near(
    goal: float, work: str, how: str, limit: str, group: str = "float32", shape: c.Shape = c.LARGE
) -> Target:
    """Against what the memory allows; the pixels alone."""
    name = "a streaming copy" if limit == "copy" else "an in-place scale"
    where = "" if shape == c.LARGE else f"{times(shape)}, "
    return Target(
        f"{where}{work}, {how}: time over that of {name}",
        goal,
        Find(group, shape, "batchmix", work, f"{how}, pixels only"),
        Find(group, shape, "limit", "limit", f"{limit}: *"),
        at_most=True,
    )


def _route(goal: float, group: str, work: str, library: str, how: str = "*") -> Target:
    """From uint8 images, against a library's fastest route."""
    ours = Find(group, c.LARGE, "batchmix", work, _ROUTES[work])
    says = f"{c.LARGE[0]} images, {work}: faster than {library}"
    return Target(says, goal, ours, Find(group, c.LARGE, library, work, how))


def _formula(framework: str, shape: c.Shape, work: str, how: str) -> Target:
    """Against the formula written by hand and compiled, in the same framework."""
    return Target(
        f"{framework}, {times(shape)}, {work}, {how}: time over that of the formula",
        1.2,
        Find(framework, shape, "batchmix", work, how),
        Find(framework, shape, framework, work, how),
        at_most=True,
    )


def _by_hand(how: str) -> Target:
    """The front door, against draw, mix and labels called one after the other."""
    shape = c.DOORS[0]
    return Target(
        f"{times(shape)}, {c.ROWS}, {how}, Mixer: time over that by hand",
        1.15,
        Find("front door", shape, "batchmix", c.ROWS, f"{how}, Mixer"),
        Find("front door", shape, "batchmix", c.ROWS, f"{how}, by hand"),
        at_most=True,
    )


def _drawn(work: str) -> Target:
    """A plan, against NumPy's generator alone."""
    where = ("draw", c.LARGE)
    return Target(
        f"a plan for {c.LARGE[0]} rows, {work}: time over that of its random numbers",
        2,
        Find(*where, "batchmix", work),
        Find(*where, "NumPy", work),
        at_most=True,
    )


def _small(rows: int) -> Iterator[Target]:
    """The whole step on small batches, against timm's mode "batch", which draws once."""
    shape = (rows, 3, 32, 32)
    for theirs, each in ((c.BOTH, c.ROWS), (c.MIXUP, c.MIXUP_ROWS)):
        for work in (theirs, each):
            yield Target(
                f"{times(shape)}, {work}, in place, Mixer: time over that of timm, {theirs}",
                1.0,
                Find("front door", shape, "batchmix", work, "in place, Mixer"),
                Find("front door", shape, "timm", theirs),
                at_most=True,
            )


FRONT_DOOR = [
    _by_hand("in place"),
    _by_hand("new array"),
    *map(_drawn, (c.MIXUP_ROWS, c.CUTMIX_ROWS, c.ROWS)),
    *(target for rows in (64, 128) for target in _small(rows)),
    Target(
        f"{times(c.SMALL)}, {c.ROWS}, in place, Mixer: faster than timm",
        30,
        Find("front door", c.SMALL, "batchmix", c.ROWS, "in place, Mixer"),
        Find("front door", c.SMALL, "timm", c.ROWS),
    ),
    _near(1.6, c.ROWS, "in place", "scale", "front door", c.SMALL),
]
TARGETS = [
    _faster(5, c.LARGE, c.MIXUP, "in place", "timm"),
    _faster(3.5, c.LARGE, c.CUTMIX, "in place", "timm"),
    _faster(6, c.LARGE, c.ROWS, "in place", "timm"),
    _faster(30, c.SMALL, c.ROWS, "in place", "timm"),
    _faster(4, c.LARGE, c.MIXUP, "out=", "torchvision"),
    _faster(6, c.LARGE, c.MIXUP, _LABEL_PAIRS, "Composer"),
    _faster(9, c.LARGE, c.MIXUP, _LABEL_PAIRS, "kornia"),
    _faster(2.3, c.LARGE, c.CUTMIX, "out=", "torchvision"),
    _faster(30, c.LARGE, c.CUTMIX, _LABEL_PAIRS, "kornia"),
    _faster(1, c.LARGE, c.CUTMIX, _LABEL_PAIRS, "Composer"),
    _route(10, "uint8", c.FLOAT, "timm"),
    _route(25, "uint8", c.FLOAT, "torchvision"),
    _route(2.5, "loader", _WORKER, "timm", "FastCollateMixup*"),
    _route(10, "loader", _WORKER, "torchvision"),
    _near(1.1, c.MIXUP, "in place", "scale"),
    _near(1.2, c.MIXUP, "out=", "copy"),
    _near(1.4, c.ROWS, "out=", "copy"),
    _near(1.1, c.FLOAT, "out=", "copy", "uint8"),
    Target(
        f"{c.ROWS}, in place, 256 rows of 3x224x224 for 64: times as long",
        4.4,
        Find("float32", c.LARGE, "batchmix", c.ROWS, "in place, pixels only"),
        Find("float32", _QUARTER, "batchmix", c.ROWS, "in place, pixels only"),
        at_most=True,
    ),
    Target(
        "a plan for 256 rows, both, per row: milliseconds",
        0.1,
        Find("parts", c.LARGE, "batchmix", "draw parameters", "per row, Derangement"),
        at_most=True,
    ),
    *(
        _formula(framework, shape, work, how)
        for framework in ("JAX", "TensorFlow")
        for shape in (c.LARGE, c.SMALL)
        for work in (c.MIXUP_ROWS, c.CUTMIX_ROWS)
        for how in ("whole step, jitted", "pixels only")
    ),
    *FRONT_DOOR,
]
