"""What follows from the columns of a plan: what is executed, and how much is seen of each row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import Columns, refused

_AT_ONCE = 1 << 21  # cells that are looked at together
_MOST = 1 << 26  # of one row


class Layer(NamedTuple):
    """The columns that say what one paste covers."""

    box: NDArray[np.int32]
    opacity: NDArray[np.float32]
    mask: NDArray[Any] | None


def executed(columns: Columns, size: tuple[int, ...], own: bool) -> dict[str, NDArray[np.float32]]:
    """`opacity`, 0 where nothing is pasted; `lam`, what is left of each row; `label_lam`.

    `own`: partners are rows of the batch itself, so that one may be its own.
    """
    partner, box, opacity = columns["partner"], columns["box"], columns["opacity"]
    sides, rows = box[..., 1] - box[..., 0], len(partner)
    area = np.ones(rows)
    for axis in range(len(size)):
        area *= sides[:, axis]
    alone = np.logical_and(own, partner == np.arange(rows))
    opacity[(area == 0) | alone] = 0
    share = area / math.prod(size) if "mask" not in columns else _masked(box, columns["mask"], size)
    lam = (1 - opacity * share).astype(np.float32)
    if "label_lam" not in columns:
        return {"opacity": opacity, "lam": lam}
    given = columns["label_lam"]
    label = np.where(np.isnan(given) | alone, lam, given)
    return {"opacity": opacity, "lam": lam, "label_lam": label}


def seen(
    layers: Sequence[Layer], size: tuple[int, ...], scores: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    r"""[B, K + 1]: share of the grid where a row's own content shows, then each layer's.

    Layer k shows :math:`a_k \prod_{m > k} (1 - a_m)` of each cell. That is alike between two edges
    of boxes or cells of a mask, so that stretches are counted, and cells only where a mask has one
    for each. With `scores`, on a grid as a mask is, they are shares of these.
    """
    grids = [layer.mask for layer in layers if layer.mask is not None]
    grids += [] if scores is None else [scores]
    rows = len(layers[0].box)
    found = np.empty((rows, len(layers) + 1))
    stretches = math.prod(_stretches(len(layers), grids, k, n) for k, n in enumerate(size))
    if rows and stretches > _MOST:
        raise refused(
            f"{len(layers)} layers of the axes {size} have {stretches} stretches to be counted.",
            f"At most {_MOST} are counted.", "Take fewer layers, or masks of fewer cells.",
        )  # fmt: skip
    for part in _slices(rows, stretches):
        some = [_of(layer, part) for layer in layers]
        starts = [_starts(some, grids, axis, n) for axis, n in enumerate(size)]
        worth = 1 if scores is None else mask_at(scores[part], starts, size)
        found[part] = _counted(some, starts, size, worth)
    return found if scores is None else found / found.sum(1, keepdims=True)


def painted(
    layers: Sequence[Layer], size: tuple[int, ...]
) -> Iterator[tuple[slice, list[NDArray[np.int64]], list[NDArray[np.float64]]]]:
    """Some rows; the edges [b, n + 1] of stretches on each axis; K + 1 maps [b, *n] of weights.

    Of a row's own content, then of each layer's; a cell shows each with its weight.
    """
    grids = [layer.mask for layer in layers if layer.mask is not None]
    rows = len(layers[0].box)
    stretches = math.prod(_stretches(len(layers), grids, k, n) for k, n in enumerate(size))
    for part in _slices(rows, stretches * (len(layers) + 1)):
        some = [_of(layer, part) for layer in layers]
        count = len(some[0].box)
        starts = [_starts(some, grids, axis, n) for axis, n in enumerate(size)]
        shape = (count, *(at.shape[1] for at in starts))
        left, maps = np.ones(shape), list[NDArray[np.float64]]()
        for layer in reversed(some):
            opacity = _opacity(layer, starts, size)
            maps.append(np.broadcast_to(left * opacity, shape))
            left = left * (1 - opacity)
        edges = [
            np.concatenate([np.broadcast_to(at, (count, at.shape[1])), np.full((count, 1), n)], 1)
            for at, n in zip(starts, size)
        ]
        yield part, edges, [left, *reversed(maps)]


def _of(layer: Layer, rows: slice) -> Layer:
    mask = None if layer.mask is None else layer.mask[rows]
    return Layer(layer.box[rows], layer.opacity[rows], mask)


def _counted(
    layers: Sequence[Layer], starts: list[Any], size: tuple[int, ...], worth: Any
) -> NDArray[np.float64]:
    """The shares of some rows, from the last layer, which hides the others, to the first."""
    rows = len(layers[0].box)
    share: Any = np.ones((rows, *[1] * len(size))) * worth
    for axis, (at, n) in enumerate(zip(starts, size)):
        share = share * _along(np.diff(at, axis=1, append=n), axis, len(size))
    found = np.empty((rows, len(layers) + 1))
    for k in range(len(layers), 0, -1):
        covered = share * _opacity(layers[k - 1], starts, size)
        found[:, k] = covered.reshape(rows, -1).sum(1)
        share = share - covered
    found[:, 0] = share.reshape(rows, -1).sum(1)
    return found / math.prod(size)  # cells until now, which are exact


def _opacity(layer: Layer, starts: list[Any], size: tuple[int, ...]) -> Any:
    """Of a layer, at the cells where stretches start."""
    value = layer.opacity.astype(np.float64).reshape(-1, *[1] * len(size))
    if layer.mask is not None:
        value = value * mask_at(layer.mask, starts, size)
    for axis, at in enumerate(starts):
        low, high = layer.box[:, axis, :1], layer.box[:, axis, 1:]
        value = value * _along((at >= low) & (at < high), axis, len(size))
    return value


def _stretches(layers: int, grids: Sequence[Any], axis: int, n: int) -> int:
    """How many there are on an axis; all cells where masks have about as many."""
    cells = sum(grid.shape[axis + 1] for grid in grids)
    return n if 4 * cells >= n else min(n, 1 + 2 * layers + cells)


def _starts(layers: Sequence[Layer], grids: Sequence[Any], axis: int, n: int) -> NDArray[np.int64]:
    """[B or 1, stretches]: where on an axis they start, in order; some may be empty."""
    if _stretches(len(layers), grids, axis, n) == n:
        return np.arange(n)[None]
    rows = len(layers[0].box)
    edges: list[Any] = [np.zeros((rows, 1), np.int64), *(layer.box[:, axis] for layer in layers)]
    cells = {grid.shape[axis + 1] for grid in grids}
    edges += [np.broadcast_to(_first_of(m, n)[:-1], (rows, m)) for m in cells]
    return np.sort(np.concatenate(edges, 1), 1)


def _along(v: Any, axis: int, axes: int) -> Any:
    """[B, n] as an array with n on one of several axes."""
    shape = [len(v), *[1] * axes]
    shape[axis + 1] = v.shape[1]
    return v.reshape(shape)


def mask_at(mask: NDArray[Any], places: Sequence[Any], size: tuple[int, ...]) -> Any:
    """The share that a mask says at places of each axis, [B or 1, n] of cells of the grid."""
    for axis, (at, n) in enumerate(zip(places, size)):
        cells = mask.shape[axis + 1]
        nearest = np.minimum((2 * at + 1) * cells // (2 * n), cells - 1)  # n is no cell
        if len(nearest) == 1:
            mask = mask.take(nearest[0], axis + 1)
        else:
            mask = np.take_along_axis(mask, _along(nearest, axis, len(size)), axis + 1)
    return mask / 255 if mask.dtype == np.uint8 else mask.astype(np.float64)


def _first_of(cells: int, n: int) -> NDArray[np.int64]:
    """[cells + 1]: the first cell of the grid that shows each cell of a mask, and n."""
    first: NDArray[np.int64] = -(-(2 * np.arange(cells + 1) * n - cells) // (2 * cells))
    return np.clip(first, 0, n)


def _masked(box: NDArray[np.int32], mask: NDArray[Any], size: tuple[int, ...]) -> Any:
    """[B]: mean of the mask inside the box, over all cells of the grid."""
    whole = 255 if mask.dtype == np.uint8 else 1
    share = np.empty(len(box))
    for rows in _slices(len(box), math.prod(mask.shape[1:])):
        sums: Any = mask[rows].astype(np.float64)  # integers stay exact
        for axis in reversed(range(len(size))):
            shown = _inside(box[rows, axis], mask.shape[axis + 1], size[axis])
            shown = shown.reshape(len(shown), *[1] * (axis - 1), -1, 1)
            sums = (sums[..., None, :] if not axis else sums) @ shown
            sums = sums[..., 0] if axis else sums[..., 0, 0]
        share[rows] = sums / (whole * math.prod(size))
    return share


def _inside(ends: NDArray[np.int32], cells: int, n: int) -> NDArray[np.float64]:
    """[B, cells]: how many cells of the box show each cell of the mask, on one axis."""
    clipped = np.clip(_first_of(cells, n)[None], ends[:, :1], ends[:, 1:])
    return np.diff(clipped, axis=1).astype(np.float64)


def _slices(rows: int, cells: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, cells))
    return (slice(k, k + step) for k in range(0, rows, step))
