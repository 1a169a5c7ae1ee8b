"""CopyBlend: some things of other rows, by their bounding boxes, at a new place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies._paste import Paste, Request, alike
from batchmix.policies.blend import between, check_shares
from batchmix.policies.cutmix import shares


@dataclass(frozen=True)
class CopyBlend:
    r"""Paste bounding boxes of other rows at random places, half transparent.

    .. math:: x'[q + e] = \lambda x[q + e] + (1 - \lambda) x_{p}[s + e], \quad e \in \text{box},
              \quad \lambda \sim U(\text{low}, \text{high}), \quad q \text{ uniform}

    for each of a number of objects, one after the other. Each is one of the bounding boxes of a
    partner of its own, :math:`s` its place there; a partner without one leaves the row as it is.

    Reads: "boxes", floats [B, N, 4 + K] in cells, left, top, right, bottom, and -1 where there is
    none.

    Args:
      objects: how many are pasted on a row, each from another partner where the pairing has more.
      min_area: bounding boxes of fewer cells are not pasted.
      low: least share of what was there before, 0..1; 0 for both copies the objects whole.
      high: largest, not below `low`.
      expand: (low, high), what is pasted around the box, as a share of its sides, on each side, as
        far as both rows reach; None is nothing.

    Raises:
      MixError: a parameter out of range; at the draw, axes other than H and W, or boxes of another
        shape.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> boxes = np.array([[[2, 2, 14, 12]], [[0, 0, 10, 10]]], float)
      >>> plan = bm.draw(CopyBlend(1, low=0, high=0), bm.Key(0), 2, {"H": 32, "W": 32},
      ...                hints={"boxes": boxes})
      >>> plan.source.tolist(), np.diff(plan.box).ravel().tolist()
      ([[[0, 10], [0, 10]], [[2, 12], [2, 14]]], [10, 10, 10, 12])

    Differs from: DEIM takes objects from all rows of the batch at once, the row itself included;
    here each is from one partner. It leaves out the cells that a box only touches; here they are
    pasted. A part of another object that is pasted along has a bounding box here, none in DEIM.

    Source: Huang et al., Real-Time Object Detection Meets DINOv3 (DEIMv2), 2025,
    https://arxiv.org/abs/2509.20787
    """

    reads: ClassVar[tuple[str, ...]] = ("boxes",)

    objects: int = 3
    min_area: float = 100
    low: float = 0.45
    high: float = 0.55
    expand: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_shares("CopyBlend", self.low, self.high)
        if self.expand is not None:
            expand = shares("CopyBlend", "expand", self.expand, (0.1, 0.25))
            object.__setattr__(self, "expand", expand)
        if not (is_whole(self.objects) and 1 <= self.objects <= 16):
            raise mix_error(
                "CopyBlend", f"got objects={self.objects!r}.",
                "It counts what is pasted on a row; each is a layer of the plan.",
                "Pass an integer from 1 to 16.",
            )  # fmt: skip
        if not (is_number(self.min_area) and self.min_area >= 0):
            raise mix_error(
                "CopyBlend", f"got min_area={self.min_area!r}.",
                "It is the area of the smallest bounding box that is pasted, in cells.",
                "Pass a number >= 0, for example 100.",
            )  # fmt: skip

    @property
    def layers(self) -> int:
        return int(self.objects)

    def sample(self, request: Request) -> Paste:
        """A layer for each object, with the same lam for all objects of a row."""
        there = _things(request, float(self.min_area))
        rng, batch = request.rng, len(request.partner)
        opacity = 1 - between(rng.random_sample(batch), self.low, self.high)
        pastes = []
        for partner in (request.partner, *request.later):
            u = rng.random_sample((batch, 4))  # which, where (two), how much around it
            some, source = _chosen(there, partner, u[:, 0])
            box, source = _placed(source, u[:, 1:3], there.size)
            if self.expand is not None:
                ratio = between(u[:, 3], *self.expand)
                box, source = _grown(box, source, ratio, there.size)
            kind = alike(request, 1, 0)[1]
            pastes.append(Paste(box, np.where(some, opacity, 0), kind, None, source, resample=None))
        return replace(pastes[0], above=tuple(pastes[1:]))


class _Things(NamedTuple):
    """What may be pasted, of the batch that partners are taken from."""

    cells: NDArray[np.int32]  # [R, N, A, 2], those that a box touches
    good: NDArray[np.bool_]  # [R, N]
    size: NDArray[np.int32]  # [A]


def _things(request: Request, least: float) -> _Things:
    """The bounding boxes on the grid, by axis, and which of them are large enough."""
    boxes, size = np.asarray(request.theirs["boxes"]), request.size
    if sorted(size) != ["H", "W"]:
        raise mix_error(
            "CopyBlend", f"the draw has size={dict(size)!r}.",
            "Bounding boxes lie on H and W.", "Draw with size={'H': height, 'W': width}.",
        )  # fmt: skip
    if boxes.ndim != 3 or boxes.shape[2] < 4 or boxes.dtype.kind not in "fiu":
        raise mix_error(
            "CopyBlend", f"the hint 'boxes' has shape {boxes.shape} and dtype {boxes.dtype}.",
            "It is [B, N, 4 + K], in cells: left, top, right, bottom, then anything.",
            "Pass floats, -1 where there is no box; a Mixer takes them from BoundingBoxes.",
        )  # fmt: skip
    cells = np.array([*size.values()], np.int32)
    at = {"H": [1, 3], "W": [0, 2]}
    ends = np.stack([boxes[..., at[axis]] for axis in size], 2).astype(np.float64)
    ends[~np.isfinite(ends).all((2, 3))] = -1
    real = ends[(np.diff(ends)[..., 0] > 0).all(2)]
    if real.size and real.min() >= 0 and real.max() <= 1 < least and boxes.dtype.kind == "f":
        raise mix_error(
            "CopyBlend", "all of the hint 'boxes' lie between 0 and 1.",
            "They are read as cells: left, top, right, bottom.",
            "Multiply shares by the sides of the image; a Mixer does so for its BoundingBoxes.",
        )  # fmt: skip
    ends = np.clip(ends, 0, cells[:, None])
    area = np.diff(ends)[..., 0].clip(0).prod(2)
    whole = np.stack([np.floor(ends[..., 0]), np.ceil(ends[..., 1])], -1).astype(np.int32)
    return _Things(whole, (area > 0) & (area >= least), cells)


def _chosen(
    there: _Things, partner: NDArray[np.int32], u: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Whether a partner has any, and one of its, each equally often."""
    good = there.good[partner]
    count = good.sum(1)
    some = count > 0
    if not good.shape[1]:
        return some, np.zeros((len(partner), len(there.size), 2), np.int32)
    rank = good.cumsum(1) - 1
    which = ((rank == (u * count).astype(int)[:, None]) & good).argmax(1)
    cells = there.cells[partner, which]
    return some, np.where(some[:, None, None], cells, 0)


def _placed(
    source: NDArray[np.int32], u: NDArray[np.float64], size: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Boxes of the sides of the sources, anywhere on the grid."""
    side = source[..., 1] - source[..., 0]
    low = (u * (size - side + 1)).astype(np.int32)
    return np.stack([low, low + side], -1), source


def _grown(
    box: NDArray[np.int32], source: NDArray[np.int32], ratio: NDArray[Any], size: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both with cells around them, as far as both lie on the grid."""
    more = ((source[..., 1] - source[..., 0]) * ratio[:, None]).astype(np.int32)
    before = np.minimum(more, np.minimum(box[..., 0], source[..., 0]))
    after = np.minimum(more, size - np.maximum(box[..., 1], source[..., 1]))
    grow = np.stack([-before, after], -1)
    return box + grow, source + grow
