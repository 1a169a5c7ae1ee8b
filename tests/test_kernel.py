"""The native kernel: every instruction set, any memory, threads, and what it refuses."""

import math
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import sysconfig
import warnings

import numpy as np
import pytest

import batchmix as bm
from batchmix.backends import _native
from batchmix.backends._numpy_memory import memory as memory_of
from checks import SWITCH, in_a_child, taken

KERNEL = _native._kernel
SETS = [name for name in ("baseline", "avx2", "avx512") if KERNEL and KERNEL.choose(name)]
if KERNEL:
    KERNEL.choose("")
REPO = pathlib.Path(__file__).parent.parent


@pytest.fixture(params=SETS)
def isa(request):
    """Each instruction set that this machine has."""
    KERNEL.choose(request.param)
    yield request.param
    KERNEL.choose("")


def test_the_kernel_is_built_here():
    """Where tests run there is a compiler: a portable path in silence would test nothing."""
    assert _native.kernels()["host"] in ("avx512", "avx2", "baseline")
    assert SETS


def array(x, dtype):
    """NumPy, bfloat16 too."""
    import ml_dtypes

    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def weights(plan, i):
    """The weight of row i's partner in each cell of the plan, float32."""
    weight = np.zeros(plan.size, np.float32)
    inside = tuple(slice(lo, hi) for lo, hi in plan.box[i])
    weight[inside] = plan.opacity[i]
    if plan.mask is None:
        return weight
    at = [(2 * np.arange(n) + 1) * g // (2 * n) for n, g in zip(plan.size, plan.mask.shape[1:])]
    mask = plan.mask[i][np.ix_(*at)] if at else plan.mask[i]
    return weight * (mask / np.float32(255) if mask.dtype == np.uint8 else mask)


def stretched(theirs, plan, i, layout, compute):
    """The partner's source over the box; outside of it, anything."""
    made, parts = theirs, 2 ** (16 // max(len(plan.axes), 1))
    # as the kernel has it: the last axis in memory is blended last
    for axis in [a for a in layout if a in plan.axes]:
        k, at = plan.axes.index(axis), layout.index(axis) - 1
        (lo, hi), (start, stop) = plan.box[i, k].astype(int), plan.source[i, k].astype(int)
        n, s = hi - lo, stop - start
        middle, cell = (2 * np.arange(n) + 1) * s, np.zeros(plan.size[k], int)
        if plan.resample == "nearest":
            cell[lo:hi] = start + middle // max(2 * n, 1)
            made = np.take(made, cell, at)
            continue
        found, rest = np.divmod(np.clip(middle - n, 0, (s - 1) * 2 * n), max(2 * n, 1))
        weight = np.zeros(plan.size[k])
        cell[lo:hi], weight[lo:hi] = start + found, (rest * parts + n) // max(2 * n, 1) / parts
        w = weight.reshape([-1 if m == at else 1 for m in range(theirs.ndim)]).astype(compute)
        one, two = (np.take(made, c, at).astype(compute) for c in (cell, cell + (weight > 0)))
        made = np.where(w == 0, one, np.where(w == 1, two, one * (1 - w) + two * w))
    return (np.rint(made) if theirs.dtype.kind in "iu" else made).astype(theirs.dtype)


def mixed(x, other, plan, layout, bits):
    """What is expected: row by row, one weight for each cell. `bits`: only 0 and 1, any dtype."""
    out, order = x.copy(), [plan.axes.index(a) for a in layout if a in plan.axes]
    wide = [n if a in plan.axes else 1 for a, n in zip(layout[1:], x.shape[1:])]
    compute = x.dtype if bits else np.float64 if x.dtype == np.float64 else np.float32
    for i, p in enumerate(plan.partner):
        theirs = other[p]
        if plan.source is not None:
            theirs = stretched(theirs, plan, i, layout, compute)
        a = np.broadcast_to(weights(plan, i).transpose(order).reshape(wide), x.shape[1:])
        if bits:
            blend = theirs
        else:
            w = a.astype(compute)
            blend = (
                x[i].astype(compute) * np.subtract(1, w, dtype=compute) + theirs.astype(compute) * w
            )
            blend = (np.rint(blend) if x.dtype.kind in "iu" else blend).astype(x.dtype)
        out[i] = np.where(a == 0, x[i], np.where(a == 1, theirs, blend))
    return out


def some_mask(rng, shape, values):
    """Of 8 bits or of floats, with few or many cells, in runs or not."""
    grid = [1 + rng.integers(n) if rng.random() < 0.5 else n for n in shape[1:]]
    mask = rng.choice(values, (shape[0], *grid))
    if grid and rng.random() < 0.5:  # long runs
        mask = np.repeat(mask[..., ::7], 7, -1)[..., : grid[-1]]
    if rng.random() < 0.5:
        return np.uint8(np.rint(mask * 255))
    return np.float32(mask)


def some_plan(rng, rows, axes, size, hard):
    """Any valid plan: any partner map, any boxes, with and without mask and source."""

    def region(n):
        return np.sort(rng.choice(n + 1, 2, replace=False))

    values = [0, 1] if hard else [0, 0.3, 0.75, 1]
    box = np.array(
        [[region(n) if rng.random() < 0.7 else (0, n) for n in size] for _ in range(rows)]
    )
    source = np.array([[region(n) for n in size] for _ in range(rows)]).reshape(rows, len(size), 2)
    whole = rng.permutation(rows)
    partner = [whole, whole[::-1], rng.integers(0, rows, rows)][rng.integers(3)]
    if rng.random() < 0.4:  # pairs
        partner = np.arange(rows)[::-1]
    return bm.Plan(
        partner, box.reshape(rows, len(size), 2), rng.choice(values, rows), axes, size,
        mask=some_mask(rng, (rows, *size), values) if rng.random() < 0.5 else None,
        source=source if size and rng.random() < 0.3 else None,
        resample="nearest" if hard or rng.random() < 0.3 else "bilinear",
    )  # fmt: skip


def laid(rng, values, order):
    """`values` in memory by any order of axes, rows apart, at no vector's alignment; guarded."""
    rows, *axes = values.shape
    start, gap, count = *rng.integers(0, 9, 2), math.prod(axes)
    memory = np.full((start + (count + gap) * rows + 9) * values.itemsize, 77, np.uint8)
    apart = memory.view(values.dtype)[start : start + (count + gap) * rows].reshape(
        rows, count + gap
    )
    inner = apart[:, :count].reshape(rows, *(axes[axis] for axis in order))
    view = inner.transpose(0, *(1 + np.argsort(order)))
    view[...] = values
    return view, memory


def case(rng):
    """x, other, out, the memory around out, what is expected there, and the rest of `paste`."""
    hard = rng.random() < 0.4
    dtype = str(
        rng.choice(["uint8", "uint16", "float32", "float64"] if hard else list(_native._TYPES))
    )
    rows, rank = rng.integers(0, 6), rng.integers(0, 9)
    axes = rng.integers(1, 3 if rank > 5 else 5, rank)
    if rank:
        axes[rng.integers(rank)] = rng.choice([1, 3, 17, 32, 40, 64, 65, 300])
    letters = np.array(list("CABDEFGI"))[:rank]
    spatial = rng.permutation(rank)[: rng.integers(0, rank + 1)]
    size = tuple(int(n) for n in axes[spatial])
    plan = some_plan(rng, rows, "".join(letters[spatial]), size, hard)
    shape, layout = (rows, *axes), "N" + "".join(letters)
    if hard or "int" in dtype:  # any bits, signalling NaN among them
        width = np.dtype(dtype).itemsize
        values = rng.integers(0, 256, (2, math.prod(shape) * width), np.uint8).view(dtype)
    else:
        values = array(rng.standard_normal((2, math.prod(shape))), dtype)
    order = rng.permutation(rank) if rng.random() < 0.8 else np.arange(rank)
    (x, memory), (other, _) = (laid(rng, v.reshape(shape), order) for v in values)
    if apart := rng.random() < 0.4:  # partners of their own, any number of them
        other = np.take(other, rng.integers(0, rows, rng.integers(1, 9)), 0) if rows else other
        partner = rng.integers(0, max(len(other), 1), rows).astype(np.int32)
        columns = plan.columns() | {"partner": partner}
        plan = bm.Plan.unchecked(**plan.form, **columns)
        other, _ = laid(rng, other, order)
    theirs = other if apart else x
    want = mixed(x, theirs, plan, layout, hard)
    out = (x, memory) if rng.random() < 0.5 else laid(rng, values[1].reshape(shape), order)
    return x, theirs, *out, want, (dtype, plan, layout, None)


def told(rng, x, out):
    """A batch as the kernel is told of it: its memory, or where each row begins."""
    rows, result = memory_of(x), memory_of(out)
    dense = _native.in_c_order(rows, x.itemsize) and _native.in_c_order(result, x.itemsize)
    if not dense or rng.random() < 0.5:
        return rows
    return rows.address + np.arange(len(x)) * rows.strides[0]


def bytes_of(x):
    return np.frombuffer(x.tobytes(), np.uint8)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_any_memory(isa, monkeypatch, streamed, threads):
    """0 to 8 axes in any order, every item type, masks, sources, in place and not: bit by bit."""
    monkeypatch.setattr(_native, "_cache", lambda: 0 if streamed else 1 << 60)
    monkeypatch.setattr(_native, "_BYTES_PER_THREAD", 1)
    monkeypatch.setitem(_native._state, "threads", threads)
    for seed in range(250):
        rng = np.random.default_rng([seed, threads, streamed])
        x, other, got, memory, want, rest = case(rng)
        own = told(rng, x, got)
        theirs = own if other is x else told(rng, other, got)
        assert _native.paste(own, theirs, memory_of(got), *rest)
        np.testing.assert_array_equal(*(bytes_of(v) for v in (got, want)), f"{seed}: {rest}")
        got[...] = np.full(got.itemsize, 77, np.uint8).view(got.dtype)[0]
        assert (memory == 77).all()


def test_a_mask_without_axes():
    """One cell per row."""
    plan = bm.Plan([1, 0], [], [1, 0.5], axes="", size=(), mask=np.float32([0.5, 1]))
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    np.testing.assert_array_equal(bm.mix(x, plan, "NC"), [x[0] + 2.5, x[1] - 2.5])


def test_half_precision_numbers(isa):
    """Every float16 and bfloat16 there is, times 1 - a and a: rounded as NumPy rounds."""
    import ml_dtypes

    bits = np.arange(65536, dtype=np.uint16)
    for kind in (np.float16, ml_dtypes.bfloat16):
        x = bits.view(kind).reshape(1, -1)
        x = np.concatenate([x, x[:, ::-1]])
        plan = bm.Plan([1, 0], [], [0.3, 0.0001], "", ())
        with np.errstate(all="ignore"):
            got = bm.mix(x, plan, "NC").astype(np.float32)
            with taken("rows"):
                want = bm.mix(x, plan, "NC").astype(np.float32)
        np.testing.assert_array_equal(got, want)


def test_bad_indices_never_reach_memory():
    """A plan that was written to after its checks is refused by the kernel too."""
    x = np.zeros((4, 3, 8, 8), np.float32)
    for name, at, value in [("partner", 0, 9), ("partner", 1, -1), ("box", (0, 0, 1), 99)]:
        plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 4, {"H": 8, "W": 8})
        getattr(plan, name)[at] = value
        plan.opacity[:] = 1
        with pytest.raises(ValueError, match="out of range"):
            bm.mix(x, plan, "NCHW")


def test_columns_of_another_width_never_reach_memory():
    """As bytes, int64 and float64 columns are those of twice as many rows."""
    x = np.zeros((4, 3, 8, 8), np.float32)
    plan = bm.Plan.identity(4, "HW", (8, 8))
    wide = {
        name: column.astype({"i": np.int64, "f": np.float64}[column.dtype.kind])
        for name, column in plan.columns().items()
    }
    with pytest.raises(bm.MixError, match="does not fit any more"):
        bm.mix(x, bm.Plan.unchecked(axes="HW", size=(8, 8), **wide), "NCHW")


def test_an_empty_box_is_not_pasted(isa):
    """Whatever its opacity: at the very end of an axis it would lie outside of the row."""
    x = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 1, 4, 4)
    plan = bm.Plan([1, 0], [[[4, 4], [1, 3]]] * 2, [1, 1], "HW", (4, 4))
    plan.opacity[:] = 1
    np.testing.assert_array_equal(bm.mix(x, plan, "NCHW"), x)
    bm.mix(x, plan, "NCHW", out=(y := x.copy()))
    np.testing.assert_array_equal(y, x)


I32, F32, I64 = np.int32, np.float32, np.int64
X = np.zeros((2, 3), F32)
AT = (X.ctypes.data, 12, 2)
TABLE, PARTNER, BOX, OPACITY = I64([[3, -1]]), I32([1, 0]), I32([]), F32([1, 1])
PASTE = [AT, AT, AT, TABLE, PARTNER, BOX, OPACITY, None, I64([]), None, False, 1, False, 1]
ROWS = X.ctypes.data + I64([0, 12])
NORMALIZE = [
    AT,
    ROWS,
    1,
    3,
    1,
    PARTNER,
    I32([[0, 1, 0, 3]] * 2),
    OPACITY,
    F32([1]),
    F32([0]),
    1,
    False,
    1,
]
LABELS = [np.zeros((2, 5), F32), I64([1, 2]), I64([1, 2]), PARTNER, F32([1, 0.5]), 5, 0.0, 1.0]
REFUSED = {  # function, the arguments that differ, what is said
    "nowhere": ("paste", {0: (0, 12, 2)}, "no memory"),
    "partners nowhere": ("paste", {2: (0, 0, 2)}, "no memory"),
    "no axes": ("paste", {3: I64([])}, "1 to 8 axes"),
    "nine axes": ("paste", {3: I64([[1, -1]] * 9)}, "1 to 8 axes"),
    "half an axis": ("paste", {3: I64([1, -1, 2])}, "1 to 8 axes"),
    "negative": ("paste", {3: I64([[-3, -1]])}, "bad axes"),
    "axis 8": ("paste", {3: I64([[3, 8]])}, "bad axes"),
    "axis -2": ("paste", {3: I64([[3, -2]])}, "bad axes"),
    "axis 1 alone": ("paste", {3: I64([[3, 1]])}, "each axis"),
    "an axis twice": ("paste", {3: I64([[3, 0], [3, 0]])}, "each axis"),
    "huge": ("paste", {3: I64([[1 << 40, -1], [1 << 40, -1]])}, "too many cells"),
    "partner": ("paste", {4: I32([1, 2])}, "partner out of range"),
    "no box": ("paste", {3: I64([[3, 0]])}, "lengths"),
    "box": ("paste", {3: I64([[3, 0]]), 5: I32([0, 4, 0, 3])}, "box out of range"),
    "source": ("paste", {3: I64([[3, 0]]), 5: I32([0, 3] * 2), 9: I32([2, 1, 0, 3])}, "box out"),
    "opacity": ("paste", {6: F32([1])}, "lengths"),
    "mask": ("paste", {7: F32([1, 1, 1])}, "lengths"),
    "mask of 8 bytes": ("paste", {7: I64([1, 1])}, "lengths"),
    "no grid": ("paste", {3: I64([[3, 0]]), 5: I32([0, 3] * 2), 7: F32([1, 1])}, "lengths"),
    "no cells": (
        "paste", {3: I64([[3, 0]]), 5: I32([0, 3] * 2), 7: F32([]), 8: I64([0])}, "mask out",
    ),
    "more cells": (
        "paste", {3: I64([[3, 0]]), 5: I32([0, 3] * 2), 7: F32([1] * 8), 8: I64([4])}, "mask out",
    ),
    "cells of the mask": (
        "paste", {3: I64([[3, 0]]), 5: I32([0, 3] * 2), 7: F32([1] * 5), 8: I64([2])}, "lengths",
    ),
    "type": ("paste", {11: 8}, "unknown type"),
    "more partners": ("paste", {4: I32([1, 0, 1, 0]), 6: F32([1] * 4)}, "number of rows"),
    "three rows": ("paste", {1: (X.ctypes.data, 8, 3)}, "number of rows"),
    "a row too few": ("paste", {0: (X.ctypes.data, 12, 1)}, "number of rows"),
    "fewer than none": ("paste", {2: (X.ctypes.data, 12, -1)}, "lengths"),
    "nobody's partner": ("paste", {2: (X.ctypes.data, 12, 1)}, "partner out of range"),
    "a partner of few": ("paste", {2: ROWS[:1]}, "partner out of range"),
    "normalise another": ("mix_normalize", {0: (X.ctypes.data, 12, 3)}, "number of rows"),
    "a row nowhere": ("paste", {1: I64([0, 0])}, "no memory"),
    "a partner nowhere": ("paste", {2: I64([0, 0])}, "no memory"),
    "one row": ("paste", {1: ROWS[:1]}, "number of rows"),
    "half an address": ("paste", {2: ROWS.view(I32)[:3]}, "lengths"),
    "normalise nowhere": ("mix_normalize", {1: I64([0, 0])}, "no memory"),
    "17 channels": ("mix_normalize", {4: 17}, "bad shape"),
    "no height": ("mix_normalize", {2: 0}, "bad shape"),
    "integers": ("mix_normalize", {10: 4}, "unknown type"),
    "label of nobody": ("mix_labels", {3: I32([1, 2])}, "partner out of range"),
    "few labels": ("mix_labels", {0: np.zeros((1, 5), F32)}, "lengths"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_the_module_checks_what_it_is_given(name):
    function, changes, text = REFUSED[name]
    arguments = list({"paste": PASTE, "mix_labels": LABELS}.get(function, NORMALIZE))
    getattr(KERNEL, function)(*arguments)
    for at, value in changes.items():
        arguments[at] = value
    with pytest.raises(ValueError, match=text):
        getattr(KERNEL, function)(*arguments)


def test_no_memory_is_needed_in_place():
    """Whatever the layout: as little as 8 MB may be allocated beside a batch of 28 MB."""
    code = """import resource, numpy as np, batchmix as bm
x = np.zeros((2, 96, 96, 96, 4), np.float32)
plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 2, dict(zip("DHW", (96,) * 3)))
bm.backends._native.set_threads(1)
bm.mix(x[:, :1, :1, :1], bm.Plan.identity(2), "NDHWC")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), -1))
print(bm.mix(x, plan, "NDHWC", out=x) is x)
"""
    assert run(code).stdout == "True\n"


def soft_labels(y, other, partner, lam, classes, off, on):
    """As the NumPy backend: each term rounded to float32."""
    target, rows = np.full((len(y), classes), off, np.float32), np.arange(len(y))
    target[rows, y.astype(np.intp)] += lam * np.float32(on)
    target[rows, other[partner].astype(np.intp)] += (1 - lam) * np.float32(on)
    return target


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_labels(dtype):
    rng = np.random.default_rng(0)
    y, other = rng.integers(0, 7, (2, 40, 2)).astype(dtype)
    partner, lam = rng.integers(0, 40, 40).astype(np.int32), rng.random(40, np.float32)
    lam[:3] = 0, 1, 0.5
    for own, theirs in ((y[:, 0], other[:, 1]), (y[::-1, 0], y[::-1, 0]), (y[:0, 0], y[:0, 0])):
        arguments = (own, theirs, partner[: len(own)], lam[: len(own)], 7, 0.1 / 7, 0.9)
        got = _native.mix_labels(*arguments)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, soft_labels(*arguments))


def test_labels_that_are_not_for_the_kernel():
    partner, lam = np.int32([1, 0]), np.float32([0.5, 1])
    for y in ([0, 5], [-1, 0], [0.0, 1.0], [True, False], np.array([0, 1], ">i8"), [[0], [1]],
              np.uint64([0, 1 << 63]), ["0", "1"], [0, None]):  # fmt: skip
        assert _native.mix_labels(np.asarray(y), np.array([0, 1]), partner, lam, 5, 0, 1) is None
        assert _native.mix_labels(np.array([0, 1]), np.asarray(y), partner, lam, 5, 0, 1) is None
    y = np.array([0, 1])
    assert _native.mix_labels(y, y, partner.astype("i8"), lam, 5, 0, 1) is None
    assert _native.mix_labels(y, y, partner, lam.astype("f8"), 5, 0, 1) is None
    with taken("rows"):
        assert _native.mix_labels(y, y, partner, lam, 5, 0, 1) is None


def test_any_number_of_channels():
    """More than the kernel does go the portable way."""
    rng = np.random.default_rng(0)
    for channels in (1, KERNEL.MAX_CHANNELS, KERNEL.MAX_CHANNELS + 1, 40):
        x = rng.integers(0, 256, (3, 4, 5, channels), np.uint8)
        mean, std = rng.random(channels) * 9, 1 + rng.random(channels)
        plan = bm.draw(SWITCH, bm.Key(0), 3, {"H": 4, "W": 5})
        got = bm.mix_normalize(list(x), plan, mean.tolist(), std.tolist())
        want = (bm.mix(x.astype(float), plan, "NHWC") - mean) / std
        np.testing.assert_allclose(got, want.transpose(0, 3, 1, 2), atol=1e-4)


def test_rows_are_not_written_in_another_order():
    """Rows in C order and `out` in another: that is not one order of memory for both."""
    rows = list(np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8))
    out = np.zeros((2, 3, 4, 5), np.uint8).transpose(0, 2, 3, 1)
    plan = bm.draw(SWITCH, bm.Key(0), 2, {"H": 4, "W": 5})
    addresses = np.array([row.ctypes.data for row in rows])
    memory = memory_of(out)
    assert not _native.paste(addresses, addresses, memory, "uint8", plan, "NHWC", None)


@pytest.fixture
def asked_anew():
    """The number of threads is asked for again, before and after."""
    _native._default_threads.cache_clear()
    yield
    _native._default_threads.cache_clear()


def test_threads_are_those_asked_for(monkeypatch, asked_anew):
    size = 64 << 20
    monkeypatch.setattr(_native, "_cores", lambda: 8)
    assert _native._threads(None, size) == 8
    assert _native._threads(2, size) == 2  # the framework's
    # 512 float32 images of 32 x 32: a thread would cost more than it gains
    assert _native._threads(None, 512 * 3 * 32 * 32 * 4) == 1
    monkeypatch.setenv("BATCHMIX_NUM_THREADS", "3")
    assert _native._threads(None, size) == 8  # asked for once
    _native._default_threads.cache_clear()
    assert _native._threads(None, size) == 3
    _native.set_threads(5)
    assert _native._threads(None, size) == 5
    _native.set_threads(None)
    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(bm.MixError, match="counts threads"):
            _native.set_threads(bad)


def test_a_number_of_threads_that_is_none(monkeypatch, asked_anew):
    monkeypatch.setenv("BATCHMIX_NUM_THREADS", "all")
    with pytest.raises(bm.MixError, match="BATCHMIX_NUM_THREADS: got 'all'"):
        bm.mix(np.zeros((2, 3)), bm.Plan([1, 0], [], [0.5, 0.5], "", ()), "NC")


@pytest.mark.filterwarnings(
    "ignore:os.fork:RuntimeWarning"
)  # of JAX, where another test imported it
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_use_one_thread(monkeypatch, asked_anew, start):
    """After a fork of a process that has mixed with threads, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads of the test run
        monkeypatch.setattr(_native, "_BYTES_PER_THREAD", 1)
        _native.set_threads(3)
        x = np.arange(4 * 3 * 64 * 64, dtype=np.float32).reshape(4, 3, 64, 64)
        plan = bm.draw(SWITCH, bm.Key(0), 4, {"H": 64, "W": 64})
        want = float(bm.mix(x, plan, "NCHW").sum())
        _native.set_threads(None)
        context = multiprocessing.get_context(start)
        queue = context.Queue()
        child = context.Process(target=in_a_child, args=(queue,))
        child.start()
        assert queue.get(timeout=60) == (1, want)
        child.join()


def run(code, **environment):
    """A fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_without_the_kernel_there_is_one_warning():
    code = """import sys, warnings
sys.modules["batchmix.backends._kernel"] = None
import numpy as np, batchmix as bm
from batchmix.backends import _native
plan = bm.Plan([1, 0], [], [0.5, 0.5], "", ())
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        bm.mix(np.float32([[0], [4]]), plan, "NC")
print(_native.kernels()["host"], len(seen), "native kernel" in str(seen[0].message))
"""
    assert run(code).stdout == "portable 1 True\n"


def test_the_kernel_is_chosen_by_name():
    code = "from batchmix.backends import _native; print(_native.kernels()['host'])"
    for name in [*SETS, "portable"]:
        assert run(code, BATCHMIX_KERNEL=name).stdout == f"{name}\n"
    assert "got 'mmx'" in run(code, BATCHMIX_KERNEL="mmx").stderr


def test_an_install_without_a_compiler_succeeds(tmp_path):
    """The extension is optional: the build says so and goes on."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path / "lib",
         "--build-temp", tmp_path / "temp"],
        cwd=REPO, capture_output=True, text=True, check=False,
        env={**os.environ, "CC": "/nonexistent/cc", "CXX": "/nonexistent/c++"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "_kernel" in done.stderr + done.stdout
    assert not list(tmp_path.rglob("*.so"))


def set_up(monkeypatch):
    """What setup.py asks setuptools for."""
    setuptools = pytest.importorskip("setuptools")
    asked = {}
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(setuptools, "setup", lambda **given: asked.update(given))
    runpy.run_path("setup.py")
    return asked


@pytest.mark.parametrize(
    ("target", "x86"),
    [("linux-x86_64", True), ("linux-aarch64", False), ("macosx-11.0-arm64", False),
     ("macosx-10.9-universal2", False), ("macosx-10.13-x86_64", True), ("win-amd64", False)],
)  # fmt: skip
def test_instruction_sets_are_those_of_the_machine_built_for(monkeypatch, target, x86):
    """A cross build for ARM must not ask its compiler for AVX."""
    monkeypatch.setattr(sysconfig, "get_platform", lambda: target)
    (extension,) = set_up(monkeypatch)["ext_modules"]
    assert ("BATCHMIX_X86" in dict(extension.define_macros)) is x86


@pytest.mark.parametrize("free", [False, True])
def test_free_threaded_pythons_have_an_extension_of_their_own(monkeypatch, free):
    """They have no limited API; asked for all the same, the build fails."""
    real = sysconfig.get_config_var
    monkeypatch.setattr(
        sysconfig, "get_config_var", lambda name: free if name == "Py_GIL_DISABLED" else real(name)
    )
    asked = set_up(monkeypatch)
    (extension,) = asked["ext_modules"]
    assert extension.py_limited_api is not free
    assert ("Py_LIMITED_API" in dict(extension.define_macros)) is not free
    assert bool(asked.get("options")) is not free
