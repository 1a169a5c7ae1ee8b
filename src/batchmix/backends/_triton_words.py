"""What the kernels of `_triton_kernel` are told.

`words`, int32, go to the device in one piece, and nothing waits for them. For each axis with boxes,
in the order of memory: its cells, and how many lines lie between two of its positions. For each
layer: where its mask begins (-1: it has none), elements from row to row of it, and per axis its
cells and their distance. Rows in the order of processing: twice their number, and one more where a
row is read after it was written. If rows depend on one another, where each group of these begins.
Scales and biases. Then `columns`, for each layer and row: the partner, the bits of the opacity, the
box and the source, with axes in the order of memory.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from batchmix.backends._formula import FIT, parts_of
from batchmix.backends._native import unfit
from batchmix.backends._torch_gpu import Form
from batchmix.backends._torch_memory import uploaded
from batchmix.backends._visits import visits

_TILE = 8192  # bytes at most: four times 16 for each of 128 threads
_FEW = 1024  # cells, where more than one number is held of each: as many threads have room at once
_CACHE = 16 << 20  # bytes of a batch that a GPU's last cache holds beside the result
_MOST = 1 << 30  # positions within a row are int32
_ORDERED = 4096  # rows: to find an order for more takes Python longer than it saves
_STEP = 1 << 20  # bytes that a GPU mixes in the time of one row that waits for another


class Tiles(NamedTuple):
    """A row as lines by cells, and how it is cut."""

    axes: tuple[tuple[int, int, int], ...]  # in memory's order: number in the plan, cells, lines
    lines: int
    cells: int
    after: int
    high: int
    wide: int

    @property
    def across(self) -> int:
        return -(-self.cells // self.wide)

    @property
    def all(self) -> int:
        return -(-self.lines // self.high) * self.across


def on_device(value: NDArray[Any], like: Any) -> Any:
    return uploaded(value, like) if like.is_cuda else torch.from_numpy(value)


def check(columns: Any, others: int, form: Form) -> None:
    """What is not within an array is not read; a plan is checked when it is made."""
    if columns.is_cuda:
        return
    given = columns.numpy()
    count = 2 * len(form.size)
    fit = (given[..., 0] >= 0) & (given[..., 0] < others)
    if form.source:
        source = given[..., 2 + count :].reshape(*fit.shape, len(form.size), 2)
        low, high = source[..., 0], source[..., 1]
        size = np.array(form.size, np.int32)
        fit &= ((low >= 0) & (low <= high) & (high <= size)).all(-1)
    if not fit.all():
        raise unfit("a partner, or a source, lies outside")


def in_full(columns: Any, masks: list[Any], form: Form) -> bool:
    """Whether all boxes that paste anything are known to be the whole grid, and no more is said."""
    if columns.is_cuda or form.source or masks:
        return False
    told = columns.numpy()
    box = told[:, :, 2:].reshape(*told.shape[:2], len(form.size), 2)
    full = (box[..., 0] == 0) & (box[..., 1] == np.array(form.size, np.int32))
    return bool((full.all(-1) | (told[:, :, 1] == 0)).all())


def is_wide(form: Form) -> bool:
    """Whether a product of two positions on an axis needs more than 32 bits."""
    most = max([*form.size, parts_of(len(form.axes)) if form.bilinear else 0])
    return any((2 * n + 1) * most * 2 >= FIT for n in form.size)


def too_large(x: Any, columns: Any, masks: list[Any], form: Form) -> bool:
    """Whether positions do not fit, or there are more axes than are stretched linearly."""
    shown = sum(mask.numel() for mask in masks)
    positions = max(x[:1].numel(), columns.numel(), shown)
    return positions >= _MOST or (form.bilinear and len(form.axes) > 3)


@functools.lru_cache(256)
def tiles_of(table: bytes, item: int, few: bool) -> Tiles:
    """`table`: of each axis of a row, in memory's order, the cells and the number in the plan."""
    most, wide = min(_TILE // max(item, 2), _FEW if few else _TILE), 128 if item == 1 else 64
    axes = np.frombuffer(table, np.int64).reshape(-1, 2).tolist()
    boxed = [k for k, (_, number) in enumerate(axes) if number >= 0]
    last = boxed[-1] if boxed else 0
    sizes = [n for n, _ in axes]
    lines, after = math.prod(sizes[:last]), math.prod(sizes[last + 1 :])
    cells = sizes[last] * after
    found = [(axes[k][1], sizes[k], math.prod(sizes[k + 1 : last])) for k in boxed]
    wide = min(_power(cells), most if lines == 1 else wide)
    return Tiles(tuple(found), lines, cells, after, min(_power(lines), most // wide), wide)


def _power(n: int) -> int:
    """The least power of two that is not below."""
    return 1 << (n - 1).bit_length()


class Order(NamedTuple):
    """Of rows: twice their number, and one more where a row is kept; starts of groups, if any."""

    steps: NDArray[np.int32]
    starts: NDArray[np.int32]


def chain_of(columns: Any, x: Any) -> Order | None:
    """In place as rows depend on one another; None where waiting takes longer than a copy does."""
    rows = columns.shape[1]
    if columns.is_cuda or len(columns) > 1 or rows > _ORDERED:
        return None
    order = _order(columns[0, :, 0].numpy().tobytes(), (columns[0, :, 1] != 0).numpy().tobytes())
    longest = int(np.diff(order.starts).max(initial=0))
    return order if longest * _STEP <= x.nbytes else None


def order_of(columns: Any, x: Any) -> Order:
    """A row and its partner one after the other, so that one of them comes from the cache.

    As they are where all of the batch does.
    """
    rows = columns.shape[1]
    if columns.is_cuda or x.nbytes < _CACHE or rows > _ORDERED:
        return Order(2 * np.arange(rows, dtype=np.int32), np.empty(0, np.int32))
    first = columns[0].numpy()
    partner, reads = first[:, 0], (first[:, 1] != 0) & (first[:, 0] < rows)  # or of another batch
    steps = _order(partner.tobytes(), reads.tobytes()).steps
    return Order(steps, np.empty(0, np.int32))


@functools.lru_cache(8)  # a plan is for several fields
def _order(partner: bytes, reads: bytes) -> Order:
    rows, kept, starts = visits(np.frombuffer(partner, np.int32), np.frombuffer(reads, bool))
    return Order(np.array(2 * np.array(rows) + kept, np.int32), np.array(starts, np.int32))


def words_of(
    columns: Any, masks: list[Any], axes: Any, order: Order, numbers: Any, x: Any
) -> tuple[Any, int, int]:
    """On the device of `x`; where the order of rows begins, and where the columns."""
    head = [number for _, cells, apart in axes for number in (cells, apart)]
    columns, spot = _in_order(columns, [number for number, _, _ in axes]), 0
    for mask in masks or [None] * len(columns):
        head += _mask_words(mask, spot, axes)
        spot += mask.numel() if masks else 0
    before = np.concatenate([np.array(head, np.int32), *order])
    if numbers is not None:
        before = np.concatenate([before, numbers])
    if columns.is_cuda:
        words = torch.cat([_kept(before.tobytes(), x.device), columns.reshape(-1)])
    else:
        words = on_device(np.concatenate([before, columns.numpy().reshape(-1)]), x)
    return words, len(head), len(before)


def _in_order(columns: Any, axes: list[int]) -> Any:
    """Boxes and sources with their axes in the order of memory."""
    if axes == sorted(axes):
        return columns
    regions = range(2, columns.shape[2], 2 * len(axes))
    picked = [start + 2 * axis + end for start in regions for axis in axes for end in (0, 1)]
    # not by a list: it would be copied to the device, which no CUDA graph may have in it
    return torch.stack([columns[:, :, k] for k in (0, 1, *picked)], 2)


def _mask_words(mask: Any, spot: int, axes: Any) -> list[int]:
    """Where a mask begins, how far apart its rows are; of each axis cells and their distance."""
    if mask is None or not mask.numel():
        return [-1, 0, *[1, 0] * len(axes)]
    grid = mask.shape[1:]
    found = [spot, math.prod(grid)]
    for number, _, _ in axes:
        found += [grid[number], math.prod(grid[number + 1 :])]
    return found


@functools.cache  # for good: captured graphs read it
def _kept(numbers: bytes, device: torch.device) -> Any:
    """What is alike from step to step. It is waited for, once: any stream may read it."""
    made = on_device(np.frombuffer(numbers, np.int32), torch.empty(0, device=device))
    torch.cuda.current_stream(device).synchronize()
    return made


def flat(masks: list[Any], x: Any) -> Any:
    """The masks of all layers, one after the other."""
    if not masks:
        return x  # not read
    if masks[0].is_cuda:
        return torch.cat([mask.reshape(-1) for mask in masks])
    return on_device(np.concatenate([mask.numpy().reshape(-1) for mask in masks]), x)
