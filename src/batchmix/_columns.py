"""The columns of a plan: one table, read by all that makes, checks, saves or moves plans."""

from __future__ import annotations

import functools
import operator
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix._numbers import is_whole

Columns = Mapping[str, Any]
# of drawn opacities: an 8-bit value times a 12-bit opacity is exact in float32, in any framework
LATTICE = 4096


class Column(NamedTuple):
    """One array of a plan: an entry for each row.

    Args:
      dtype: that it is kept in.
      entry: what an entry is: one "number", a "region" [A, 2] of half-open ranges within the grid,
        or a "grid", as many cells as `size` or fewer on each axis.
      low, high: range of the numbers; None for a range that depends on the plan, or for none.
      rule: what the numbers are, for the error.
      pixels: whether mixing pixels reads it.
      derived: whether it follows from the others, and is not given.
      also: another dtype that it may be kept in.
    """

    dtype: str
    entry: str = "number"
    low: int | None = None
    high: int | None = None
    rule: str = ""
    pixels: bool = False
    derived: bool = False
    also: str = ""


COLUMNS = {
    "partner": Column("int32", low=0, rule="It names a row of the batch.", pixels=True),
    "box": Column("int32", "region", pixels=True),
    "opacity": Column("float32", low=0, high=1, rule="It is a share.", pixels=True),
    "mask": Column("float32", "grid", 0, 1, "It is a share.", pixels=True, also="uint8"),
    "source": Column("int32", "region", pixels=True),
    "kind": Column("int8"),
    "label_lam": Column("float32", low=0, high=1, rule="It is a share, or NaN for `lam`."),
    "lam": Column("float32", derived=True),
    "seen": Column("float32", derived=True),  # of a plan with layers: what is seen of this one
}
PIXELS = tuple(name for name, column in COLUMNS.items() if column.pixels)


def refused(got: str, rule: str, fix: str) -> MixError:
    """A MixError about the arguments of Plan."""
    return mix_error("Plan", got, rule, fix)


def checked_grid(axes: Any, size: Any) -> tuple[int, ...]:
    """`size` as integers, where it and `axes` are what Plan takes."""
    if isinstance(axes, str) and not isinstance(size, Mapping):
        try:
            return checked_size("Plan", tuple(axes), *size)
        except TypeError:  # nothing to unpack
            pass
    raise refused(
        f"got axes={axes!r} and size={size!r}.",
        "axes is a string with a capital letter for each axis, size the cells of each.",
        "Pass for example axes='HW', size=(224, 224); for a table axes='', size=().",
    )


def check_form(resample: Any, others: Any) -> None:
    """How a source is stretched, and how many rows partners are taken from."""
    if resample not in ("nearest", "bilinear"):
        raise refused(
            f"got resample={resample!r}.", "A source is stretched by the nearest cell or linearly.",
            "Pass 'nearest' or 'bilinear'.",
        )  # fmt: skip
    if others is not None and not (is_whole(others) and others >= 0):
        raise refused(
            f"got others={others!r}.", "It counts the rows of the batch that partners are of.",
            "Pass len(other), or leave it out where they are of the batch itself.",
        )  # fmt: skip


def checked_size(where: str, axes: tuple[Any, ...], *size: Any) -> tuple[int, ...]:
    """Cells per axis: one capital letter of its own for each axis, and an integer >= 1."""
    try:
        return _cells(where, axes, *size)
    except TypeError:  # what cannot be hashed is no integer
        raise _no_size(where, axes, size) from None


@functools.lru_cache(256, typed=True)  # a step has the size of the one before
def _cells(where: str, axes: tuple[Any, ...], *size: Any) -> tuple[int, ...]:
    try:
        cells = tuple(map(operator.index, size))
    except TypeError:
        cells = (0,)
    letters = all(isinstance(a, str) and len(a) == 1 and a.isupper() and a != "N" for a in axes)
    fit = len(set(axes)) == len(axes) == len(cells) and all(0 < n < 2**31 for n in cells)
    if not (letters and fit):
        raise _no_size(where, axes, size)
    return cells


def _no_size(where: str, axes: tuple[Any, ...], size: tuple[Any, ...]) -> MixError:
    given: Any = dict(zip(axes, size)) if len(set(axes)) == len(size) else (axes, size)
    return mix_error(
        where, f"got size={given!r}.",
        "It maps each spatial axis, a capital letter but N, to its cells, an integer >= 1, < 2^31.",
        "Pass for example size={'H': 224, 'W': 224}; to Plan axes='HW', size=(224, 224).",
    )  # fmt: skip


def owned(name: str, value: Any) -> NDArray[Any]:
    """`value` in the dtype of its column; a float is never rounded to an index in silence."""
    dtype = np.dtype(COLUMNS[name].dtype)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(1, object)
    if array.dtype == object:
        raise refused(
            f"`{name}` is {reprlib.repr(value)}.", f"It is an array of numbers, {dtype.name}.",
            "Give every row an entry, all of one shape.",
        )  # fmt: skip
    if name == "mask" and array.dtype in (dtype, np.dtype(COLUMNS[name].also)):
        return np.ascontiguousarray(array)  # large, and only its values are used: not copied
    if array.dtype == dtype:
        return array.copy()
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise refused(
            f"`{name}` has dtype {array.dtype}.", f"It is kept as {dtype.name}.",
            "Convert it yourself, so that no value is rounded by surprise.",
        )  # fmt: skip
    if dtype.kind == "i" and array.size:
        info = np.iinfo(dtype)
        if array.min() < info.min or array.max() > info.max:
            raise refused(
                f"`{name}` holds values up to {array.max()}, down to {array.min()}.",
                f"It is kept as {dtype.name}.", "Check where these numbers come from.",
            )  # fmt: skip
    return array.astype(dtype, order="C")  # the kernel reads them as they lie


def entry_shape(name: str, size: tuple[int, ...]) -> tuple[int | None, ...]:
    """Of what the column `name` has for a row; None is 1 to as many as there are cells."""
    grid = (None,) * len(size)
    shapes = {"number": (), "region": (len(size), 2), "grid": grid}
    return shapes[COLUMNS[name].entry]


def check(columns: Columns, axes: str, size: tuple[int, ...], others: int | None) -> None:
    """Shapes, then ranges: what passes here can be indexed with, without looking again."""
    if columns["partner"].ndim != 1:
        raise refused(
            f"`partner` has shape {columns['partner'].shape}.", "It has one axis, the rows.",
            "Give each row the number of its partner, such as [1, 0] for two rows.",
        )  # fmt: skip
    rows = len(columns["partner"])
    for name, value in columns.items():
        grid = COLUMNS[name].entry == "grid"
        fewer = grid and value.ndim == 1 + len(size) and value.shape[0] == rows
        fewer = fewer and all(0 < n <= cells for n, cells in zip(value.shape[1:], size))
        shape = (rows, *size) if grid else (rows, *entry_shape(name, size))
        if value.shape != shape and not fewer:
            raise refused(
                f"`{name}` has shape {value.shape}.",
                f"For {rows} rows and size {size} it is {shape}{' or fewer cells' * grid}.",
                f"Give one `{name}` per row of `partner`.",
            )
    for name, value in columns.items():
        column = COLUMNS[name]
        if column.entry == "region":
            _check_region(name, value, columns["box"], axes, size)
        elif name == "partner" and value.size:
            _check_range(name, value, (rows if others is None else others) - 1)
        elif column.rule and value.size and value.dtype.name != column.also:
            _check_range(name, value, 1)


def _check_region(
    name: str, region: NDArray[np.int32], box: Any, axes: str, size: tuple[int, ...]
) -> None:
    fits = within(name, region, box, size)
    if not fits.all():
        row, axis = (int(k[0]) for k in np.nonzero(~fits))
        raise refused(
            f"`{name}` of row {row} is {region[row].tolist()}.",
            f"On axis {axes[axis]!r} it is a half-open range within 0..{size[axis]}.",
            "Clip it to the grid.",
        )


def within(
    name: str, region: NDArray[np.int32], box: Any, size: tuple[int, ...]
) -> NDArray[np.bool_]:
    """[B, A]: half-open ranges within the grid; what is stretched over a box is not empty."""
    lo, hi = region[..., 0], region[..., 1]
    fits = (lo >= 0) & (lo <= hi) & (hi <= np.array(size, np.int32))
    return fits & ((lo < hi) | (box[..., 0] >= box[..., 1])) if name == "source" else fits


def is_source(source: NDArray[Any], box: NDArray[np.int32], size: tuple[int, ...]) -> bool:
    """Whether it is what Plan would take as it is."""
    alike = source.dtype == np.int32 and source.shape == box.shape
    return alike and bool(within("source", source, box, size).all())


def nearest(cells: int, n: int) -> NDArray[np.int64]:
    """[n]: of a mask of so many cells, the one that each of `n` shows."""
    at: NDArray[np.int64] = (2 * np.arange(n, dtype=np.int64) + 1) * cells // (2 * n)
    return at


def on_grid(mask: NDArray[Any], grid: tuple[int, ...]) -> NDArray[Any]:
    """A mask [B, ...] of as many cells as `grid` has, each the nearest."""
    for axis, (cells, n) in enumerate(zip(mask.shape[1:], grid)):
        mask = mask if cells == n else mask.take(nearest(cells, n), axis + 1)
    return mask


def _check_range(name: str, value: NDArray[Any], high: int) -> None:
    """Every number in 0..high; NaN is not, but for `label_lam`."""
    least, most = (np.fmin, np.fmax) if name == "label_lam" else (np.minimum, np.maximum)
    low, top = least.reduce(value, None), most.reduce(value, None)
    if (low >= 0 and top <= high) or (name == "label_lam" and np.isnan(value).all()):
        return
    row = int(np.argwhere(~((value >= 0) & (value <= high)))[0][0])
    raise refused(
        f"`{name}` of row {row} is {np.ravel(value[row])[:4].tolist()}.",
        f"{COLUMNS[name].rule} It lies in 0..{high}.", "Check how it was made.",
    )  # fmt: skip
