"""What batchmix sets out to reach: one thread, warm allocator, medians of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from batchmix.cli.bench import LARGE, SMALL, Shape
from batchmix.cli.bench._cases import (
    CUTMIX,
    CUTMIX_ROWS,
    DRAW,
    FLOAT,
    JITTED,
    LIMIT,
    LOADER,
    MIXUP,
    MIXUP_ROWS,
    PIXELS,
    ROWS,
)
from batchmix.cli.bench._limits import COPY, SCALE

_QUARTER = (64, 3, 224, 224)  # of the large batch; still larger than most caches


class Find(NamedTuple):
    """A line of batchmix, by its name; of others the fastest whose `how` starts like this."""

    group: str
    shape: Shape
    library: str
    work: str
    how: str = ""


@dataclass(frozen=True)
class Target:
    """A quotient of two medians, or one time, and how large it is to be."""

    says: str
    goal: float
    ours: Find
    other: Find | None = None
    at_most: bool = False

    def measured(self, report: dict[str, Any]) -> float | None:
        """The quotient, ours below for "x times faster", above for "at most x"."""
        ours = median(report, self.ours)
        if self.other is None or ours is None:
            return ours
        other = median(report, self.other)
        if other is None:
            return None
        return ours / other if self.at_most else other / ours

    def pixels_alone(self, report: dict[str, Any]) -> float | None:
        """The same without plan and labels on the side of batchmix; for information only."""
        if self.at_most:
            return None
        bare = self.ours._replace(how=f"{self.ours.how.split(',')[0]}, pixels only")
        return replace(self, ours=bare).measured(report)

    def hit(self, value: float) -> bool:
        """Whether a measured value reaches the goal."""
        return value <= self.goal if self.at_most else value >= self.goal


def median(report: dict[str, Any], find: Find) -> float | None:
    """Milliseconds at one thread with a warm allocator; None if it was not measured."""
    found = [
        case["ms"]["median"]
        for run in report["runs"]
        if (run["threads"], run["allocator"]) == (1, "warm")
        and (run["group"], tuple(run["shape"])) == (find.group, find.shape)
        for case in run["cases"]
        if (case["library"], case["work"]) == (find.library, find.work)
        and (
            case["how"] == find.how
            or (find.library != "batchmix" and case["how"].startswith(find.how))
        )
        and "ms" in case
    ]
    return min(found, default=None)


_PAIRS, _WORKER = "out=, label pairs", LOADER.format(1)
_ROUTES = {FLOAT: "out=", _WORKER: "uint8 batch, mix_normalize"}


def _faster(goal: float, shape: Shape, work: str, ours: str, library: str) -> Target:
    """A float32 batch, against a library."""
    size = "x".join(map(str, shape))
    return Target(
        f"{size}, {work}, {ours}: faster than {library}",
        goal,
        Find("float32", shape, "batchmix", work, ours),
        Find("float32", shape, library, work),
    )


def _near(goal: float, work: str, how: str, limit: str, group: str = "float32") -> Target:
    """Against what the memory allows; the pixels alone."""
    name = "a streaming copy" if limit == COPY else "an in-place scale"
    return Target(
        f"{work}, {how}: time over that of {name}",
        goal,
        Find(group, LARGE, "batchmix", work, f"{how}, pixels only"),
        Find(group, LARGE, "limit", LIMIT, limit),
        at_most=True,
    )


def _route(goal: float, group: str, work: str, library: str, how: str = "") -> Target:
    """From uint8 images, against a library's fastest route."""
    ours = Find(group, LARGE, "batchmix", work, _ROUTES[work])
    says = f"{LARGE[0]} images, {work}: faster than {library}"
    return Target(says, goal, ours, Find(group, LARGE, library, work, how))


def _formula(framework: str, shape: Shape, work: str, how: str) -> Target:
    """Against the formula written by hand and compiled, in the same framework."""
    return Target(
        f"{framework}, {'x'.join(map(str, shape))}, {work}, {how}: time over that of the formula",
        1.2,
        Find(framework, shape, "batchmix", work, how),
        Find(framework, shape, framework, work, how),
        at_most=True,
    )


TARGETS = [
    _faster(5, LARGE, MIXUP, "in place", "timm"),
    _faster(3.5, LARGE, CUTMIX, "in place", "timm"),
    _faster(6, LARGE, ROWS, "in place", "timm"),
    _faster(30, SMALL, ROWS, "in place", "timm"),
    _faster(4, LARGE, MIXUP, "out=", "torchvision"),
    _faster(6, LARGE, MIXUP, _PAIRS, "Composer"),
    _faster(9, LARGE, MIXUP, _PAIRS, "kornia"),
    _faster(2.3, LARGE, CUTMIX, "out=", "torchvision"),
    _faster(30, LARGE, CUTMIX, _PAIRS, "kornia"),
    _faster(1, LARGE, CUTMIX, _PAIRS, "Composer"),
    _route(10, "uint8", FLOAT, "timm"),
    _route(25, "uint8", FLOAT, "torchvision"),
    _route(2.5, "loader", _WORKER, "timm", "FastCollateMixup"),
    _route(10, "loader", _WORKER, "torchvision"),
    _near(1.1, MIXUP, "in place", SCALE),
    _near(1.2, MIXUP, "out=", COPY),
    _near(1.4, ROWS, "out=", COPY),
    _near(1.1, FLOAT, "out=", COPY, "uint8"),
    Target(
        f"{ROWS}, in place, 256 rows of 3x224x224 for 64: times as long",
        4.4,
        Find("float32", LARGE, "batchmix", ROWS, "in place, pixels only"),
        Find("float32", _QUARTER, "batchmix", ROWS, "in place, pixels only"),
        at_most=True,
    ),
    Target(
        "a plan for 256 rows, both, per row: milliseconds",
        0.1,
        Find("parts", LARGE, "batchmix", DRAW, "per row, Derangement"),
        at_most=True,
    ),
    *(
        _formula(framework, shape, work, how)
        for framework in ("JAX", "TensorFlow")
        for shape in (LARGE, SMALL)
        for work in (MIXUP_ROWS, CUTMIX_ROWS)
        for how in (JITTED, PIXELS)
    ),
]
