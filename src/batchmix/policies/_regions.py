"""Regions of the partner: the ids that its map has, and a mask of those that are pasted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix.policies._paste import Paste, Request, alike, whole

_AT_ONCE = 1 << 18  # cells that are looked at together: they stay in the cache
_SPAN = 1 << 12  # ids that are used as places; others are numbered first,
_TABLE = 1 << 26  # by a table up to here


class Regions(NamedTuple):
    """Which ids the partner's map has."""

    ids: NDArray[np.int64]  # [K], in order, each in some row
    cells: NDArray[np.int64]  # [B, K]: of how many cells each region is
    places: NDArray[Any]  # maps of the rows that partners are taken from
    first: int  # what `places` starts to count from
    span: int  # how many places there are
    used: NDArray[np.intp]  # [K]: place of each id


def regions(where: str, name: str, request: Request) -> Regions:
    """Counted for each row, from the hint `name` of its partner."""
    maps, size = np.asarray(request.theirs[name]), tuple(request.size.values())
    if not size or maps.shape[1:] != size or maps.dtype.kind not in "iub":
        raise mix_error(
            where, f"the hint {name!r} has shape {maps.shape} and dtype {maps.dtype}; the draw has "
            f"size={dict(request.size)}.", "It is a map of ids, an integer for each cell of a row.",
            f"Pass integers [B, {', '.join(request.size) or 'H, W'}].",
        )  # fmt: skip
    ids, first, span = None, 0, 1
    if maps.size:
        first = int(maps.min())
        span = int(maps.max()) - first + 1
    if span > _SPAN:
        ids, maps = _numbered(maps, first, span)
        first, span = 0, len(ids)
    cells = np.zeros((len(request.partner), span), np.int64)
    for rows, at in _places(maps, first, span, request.partner):
        cells[rows] = np.bincount(at, minlength=cells[rows].size).reshape(-1, span)
    used = np.flatnonzero(cells.any(0))
    found = used + first if ids is None else ids[used]
    return Regions(found, cells[:, used], maps, first, span, used)


def _numbered(maps: NDArray[Any], first: int, span: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The ids in order, and maps of their numbers."""
    if span > _TABLE:
        ids, numbers = np.unique(maps, return_inverse=True)
        return ids.astype(np.int64), numbers.reshape(maps.shape)
    at = maps.astype(np.int64) - first
    there = np.zeros(span, bool)
    there[at] = True
    return np.flatnonzero(there) + first, (there.cumsum(dtype=np.int32) - 1)[at]


def pasted(found: Regions, chosen: NDArray[np.bool_], request: Request) -> Paste:
    """The chosen regions [B, K] of the partner, opaque."""
    rows = len(chosen)
    shown = np.zeros((rows, found.span), np.uint8)
    shown[:, found.used] = np.where(chosen, 255, 0)
    mask = np.empty((rows, *request.size.values()), np.uint8)
    flat = mask.reshape(rows, -1) if rows else mask
    for part, at in _places(found.places, found.first, found.span, request.partner):
        flat[part] = shown[part].ravel().take(at).reshape(flat[part].shape)
    some = np.logical_or.reduce(chosen, 1)
    return Paste(whole(request), some, alike(request, 1, 0)[1], mask=mask)


def _places(
    maps: NDArray[Any], first: int, span: int, partner: NDArray[np.int32]
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Some rows, and for each cell of their partners the place of its id in [rows, span]."""
    step = max(1, _AT_ONCE // max(1, maps[:1].size))
    for start in range(0, len(partner), step):
        rows = slice(start, start + step)
        at = maps[partner[rows]].reshape(len(partner[rows]), -1).astype(np.int64)
        at += np.arange(len(at))[:, None] * span - first
        yield rows, at.ravel()
