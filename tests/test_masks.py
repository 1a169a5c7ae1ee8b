"""Masks of 8 bits and of fewer cells, sources stretched linearly: every path against the oracle."""

import numpy as np
import pytest

import batchmix as bm
from batchmix._mix import mix_ids
from batchmix.backends import _formula, _loop
from checks import DTYPES, ROUTES, assert_mixed, assert_written, taken

SHAPES = {  # layout -> shape of a row, and the axes of the plan
    "NCHW": ((3, 13, 40), "HW"),
    "NHWC": ((13, 40, 3), "HW"),
    "NWH": ((40, 13), "HW"),
    "NT": ((300,), "T"),
    "NDHWC": ((5, 7, 9, 2), "DHW"),
}
B = 4


def grids(size):
    """Every cell, some, one."""
    return [size, tuple(max(1, n // 3) for n in size), tuple(1 for _ in size)]


def patterns(rng, shape):
    """Shares in long runs, in short ones, and of fifths; and the opacity that goes with them.

    Of fifths no blend of two integers lies half way between two others, where a rounding of the
    weight in float32 would decide.
    """
    steps = np.sort(rng.integers(0, 2, shape), -1)
    return [(steps, 0.5), (rng.integers(0, 2, shape), 0.25), (rng.integers(0, 6, shape) / 5, 1)]


def masked(layout, compiled=False):
    """Plans with every kind of mask; where programs are compiled for each shape, fewer."""
    shape, axes = SHAPES[layout]
    size = tuple(shape[layout.index(axis) - 1] for axis in axes)
    rng = np.random.default_rng(len(size))
    box = np.sort([[rng.choice(n + 1, 2, replace=False) for n in size] for _ in range(B)])
    box[0] = [[0, n] for n in size]
    for grid in grids(size)[1 : 2 if compiled else None]:
        for pattern, third in patterns(rng, (B, *grid)):
            for mask in (np.uint8(np.rint(255 * pattern)), np.float32(pattern)):
                yield bm.Plan([1, 2, 3, 0], box, [1, 1, third, 1], axes, size, mask=mask)


def stretched(layout, compiled=False):
    """Plans with sources, some larger than their box, some smaller, with and without a mask."""
    shape, axes = SHAPES[layout]
    size = tuple(shape[layout.index(axis) - 1] for axis in axes)
    rng = np.random.default_rng(7 + len(size))
    for _ in range(2 if compiled else 4):
        box, source = np.sort(
            [[[rng.choice(n + 1, 2, replace=False) for n in size] for _ in range(B)] for _ in "bs"]
        )
        box[0], source[1] = [[0, n] for n in size], [[0, n] for n in size]
        for mask in (None, rng.integers(0, 2, (B, *(1 + n // 2 for n in size)), np.uint8) * 255):
            columns = {"source": source, "mask": mask, "resample": "bilinear"}
            yield bm.Plan([1, 2, 3, 0], box, [1, 0.5, 1, 0.25], axes, size, **columns)


def batch(xp, layout, dtype):
    rng = np.random.default_rng(3)
    shape = (2, B, *SHAPES[layout][0])
    values = rng.integers(0, 256, shape) if "int" in dtype else rng.standard_normal(shape)
    return [xp.array(v, dtype) for v in values]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("plans", [masked, stretched], ids=lambda make: make.__name__)
def test_every_path_gives_what_the_oracle_gives(xp, route, dtype, layout, plans):
    if xp.compiled and DTYPES.index(dtype) % len(SHAPES) != list(SHAPES).index(layout):
        pytest.skip("a program for each is compiled: they take turns")
    x, other = batch(xp, layout, dtype)
    some = slice(None) if dtype == "uint8" else slice(DTYPES.index(dtype) % 4, None, 4)
    with taken(route):
        for plan in list(plans(layout, bool(xp.compiled)))[some]:
            got = bm.mix(x, plan, layout)
            assert_mixed(xp.numpy(got), xp.numpy(x), plan, layout, dtype)
            theirs = bm.mix(x, plan, layout, other=other)
            assert_mixed(xp.numpy(theirs), xp.numpy(x), plan, layout, dtype, xp.numpy(other))
            out = xp.copy(x)
            assert_written(xp, lambda out, p=plan: bm.mix(out, p, layout, out=out), out, got)


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_a_source_as_large_as_its_box_is_copied(xp, dtype, resample):
    """Bit by bit, and NaN and infinity stay in their cells."""
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 6)).astype(float)
    if dtype != "uint8":
        x[1, 2, 2:4] = np.nan, np.inf
    box, source = [[[0, 3], [1, 5]]] * 2, [[[1, 4], [2, 6]]] * 2
    plan = bm.Plan([1, 1], box, [1, 1], "HW", (5, 6), source=source, resample=resample)
    want = x.copy()
    want[0, 0:3, 1:5] = x[1, 1:4, 2:6]
    np.testing.assert_array_equal(xp.numpy(bm.mix(xp.array(x, dtype), plan, "NHW")), want)


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
@pytest.mark.parametrize("n", [40_000, 70_001])
def test_long_axes(xp, n, resample):
    """Products of two positions do not fit in 32 bits."""
    x = np.random.default_rng(0).integers(0, 256, (2, n))
    plan = bm.Plan(
        [1, 0], [[[3, n]], [[n - 5, n]]], [1, 1], "T", (n,), source=[[[0, n - 7]], [[1, n]]],
        mask=np.uint8([[255, 0, 51]] * 2), resample=resample,
    )  # fmt: skip
    given = xp.array(x, "uint8")
    with taken("native" if "native" in ROUTES else "formula"):
        got = xp.numpy(bm.mix(given, plan, "NT"))
    np.testing.assert_array_equal(got, bm.mix(np.uint8(x), plan, "NT"))
    if ROUTES != ["formula"]:
        for route in ROUTES:
            with taken(route):
                np.testing.assert_array_equal(xp.numpy(bm.mix(given, plan, "NT")), got)


def test_positions_in_32_bits_are_divided_as_in_64():
    """The long division that frameworks without int64 need."""
    rng = np.random.default_rng(0)
    n = 2**31 - 1
    width = rng.integers(1, n // 8, 1000)
    middle, by = 2 * rng.integers(0, width) + 1, rng.integers(1, n // 8, 1000)
    found, rest = _formula._divided(*(np.int32(v) for v in (middle, by, 2 * width)), n // 8, n // 8)
    assert found.dtype == rest.dtype == np.int32
    want = np.divmod(middle * by, 2 * width)
    np.testing.assert_array_equal([found, rest], want)


@pytest.mark.parametrize("route", ROUTES)
def test_ids_take_the_nearest_cell(xp, route):
    ids = np.arange(12).reshape(2, 6)
    plan = bm.Plan(
        [1, 1], [[[0, 6]]] * 2, [1, 1], "T", (6,), source=[[[1, 3]]] * 2, resample="bilinear"
    )
    with taken(route):
        got = mix_ids(xp.array(ids, "int64"), plan, "NT")
    assert xp.numpy(got)[0].tolist() == [7, 7, 7, 8, 8, 8]


def test_rows_that_lie_apart():
    """As a loader stacks them."""
    x = np.random.default_rng(1).integers(0, 256, (B, 13, 40, 3), np.uint8)
    for plan in [*masked("NHWC"), *stretched("NHWC")]:
        np.testing.assert_array_equal(bm.mix_stack(list(x), plan), bm.mix(x, plan, "NHWC"))
        assert_mixed(bm.mix_stack(list(x), plan), x, plan, "NHWC", "uint8")


def test_a_wrong_weight_is_seen(monkeypatch):
    """Steps of 1/256 of what they are: the oracle and the paths are not the same code."""
    plan = next(iter(stretched("NT")))
    x = np.random.default_rng(1).integers(0, 256, (B, 300), np.uint8)
    taps = _loop._taps
    monkeypatch.setattr(_loop, "_taps", lambda s, n, parts: taps(s, n, parts // 256))
    with taken("rows"), pytest.raises(AssertionError):
        assert_mixed(bm.mix(x, plan, "NT"), x, plan, "NT", "uint8")
