"""Rows that lie apart, to a mixed batch: the same as stacking first."""

import functools

import numpy as np
import pytest

import batchmix as bm
from batchmix.policies import CutMix, MixUp, Sometimes
from checks import DTYPES, PAIRINGS, ROUTES, SWITCH, assert_written, taken, values

B, H, W = 7, 20, 37
SIZE = {"H": H, "W": W}
MEAN, STD = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]


@pytest.fixture(params=ROUTES)
def route(request):
    """Each of the routes."""
    with taken(request.param):
        yield request.param


def pixels(xp, channels=3, seed=0):
    """uint8 [B, H, W, C], and its rows as arrays of their own."""
    x = np.random.default_rng(seed).integers(0, 256, (B, H, W, channels), np.uint8)
    return x, [xp.array(row, "uint8") for row in x]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NTC"])
def test_stack_is_mix_of_the_stack(xp, route, layout):
    for dtype in DTYPES:
        whole = values(np.random.default_rng(0), B, layout, dtype)
        x, rows = xp.array(whole, dtype), [xp.array(row, dtype) for row in whole]
        shape = dict(zip(layout, x.shape))
        size = {axis: shape[axis] for axis in ("T" if layout == "NTC" else "HW")}
        plan = bm.draw(SWITCH, bm.Key(1), B, size)
        want = bm.mix(x, plan, layout)
        got = bm.mix_stack(rows, plan, layout)
        assert xp.dtype(got) == dtype
        np.testing.assert_array_equal(xp.numpy(got), xp.numpy(want))
        out = xp.array(whole * 0, dtype)
        write = functools.partial(bm.mix_stack, rows, plan, layout)
        assert_written(xp, lambda out, write=write: write(out=out), out, want)
        np.testing.assert_array_equal(xp.numpy(bm.mix_stack(x, plan, layout)), xp.numpy(want))


def test_rows_and_out_in_other_orders_of_memory(route):
    """Rows are read as they lie, `out` is written as it lies."""
    rows = [np.random.default_rng(k).integers(0, 256, (H, W, 3), np.uint8) for k in range(B)]
    plan = bm.draw(SWITCH, bm.Key(1), B, SIZE)
    want = bm.mix_stack(rows, plan)
    permuted = np.empty((B, 3, H, W), np.uint8).transpose(0, 2, 3, 1)
    gaps = np.empty((B, H, W, 6), np.uint8)[..., ::2]
    for out in (permuted, gaps):
        np.testing.assert_array_equal(bm.mix_stack(rows, plan, out=out), want)
    by_column = [np.asfortranarray(row) for row in rows]
    np.testing.assert_array_equal(bm.mix_stack(by_column, plan), want)
    normal = bm.mix_normalize(rows, plan, MEAN, STD)
    out = np.empty((B, H, W, 3), np.float32).transpose(0, 3, 1, 2)
    got = bm.mix_normalize(by_column, plan, MEAN, STD, out=out)
    np.testing.assert_allclose(got, normal, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4, 17])
def test_normalize(xp, route, channels):
    """Against the formula in float64."""
    x, rows = pixels(xp, channels)
    mean, std = (np.resize(v, channels) for v in (MEAN, STD))
    policies = [SWITCH, CutMix(), MixUp(1.0), Sometimes(SWITCH, 0.5)]
    for step, (name, pairing) in enumerate(PAIRINGS.items()):
        plan = bm.draw(policies[step % 4], bm.Key(3, 0, step), B, SIZE, pairing=pairing)
        got = bm.mix_normalize(rows, plan, mean.tolist(), std.tolist())
        want = (bm.mix(x.astype(np.float64), plan, "NHWC") - mean) / std
        assert xp.dtype(got) == "float32"
        np.testing.assert_allclose(
            xp.numpy(got), want.transpose(0, 3, 1, 2), atol=2e-6, err_msg=name
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_normalize_to_half(xp, route, dtype):
    x, rows = pixels(xp)
    plan = bm.draw(SWITCH, bm.Key(3), B, SIZE)
    got = bm.mix_normalize(rows, plan, MEAN, STD, dtype=dtype)
    want = ((bm.mix(x.astype(np.float64), plan, "NHWC") - MEAN) / STD).transpose(0, 3, 1, 2)
    step = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    np.testing.assert_allclose(xp.numpy(got), want, atol=4 * step)
    out = xp.array(np.zeros((B, 3, H, W)), dtype)
    assert_written(
        xp, lambda out: bm.mix_normalize(rows, plan, MEAN, STD, dtype=dtype, out=out), out, got
    )


def test_a_whole_batch_and_a_mask(xp, route):
    """One array instead of rows; a mask goes the longer way."""
    x, rows = pixels(xp)
    plan = bm.draw(SWITCH, bm.Key(3), B, SIZE)
    whole = bm.mix_normalize(xp.array(x, "uint8"), plan, MEAN, STD)
    np.testing.assert_array_equal(
        xp.numpy(whole), xp.numpy(bm.mix_normalize(rows, plan, MEAN, STD))
    )
    mask = np.random.default_rng(0).random((B, H, W))
    masked = bm.Plan(plan.partner, plan.box, plan.opacity, "HW", (H, W), mask=mask)
    want = (bm.mix(x.astype(np.float64), masked, "NHWC") - MEAN) / STD
    got = bm.mix_normalize(rows, masked, MEAN, STD)
    np.testing.assert_allclose(xp.numpy(got), want.transpose(0, 3, 1, 2), atol=1e-5)


def test_streamed_and_in_threads(xp, monkeypatch):
    from batchmix import backends
    from batchmix.backends import _native

    x, rows = pixels(xp)
    plan = bm.draw(SWITCH, bm.Key(3), B, SIZE)
    want = [
        xp.numpy(f) for f in (bm.mix_stack(rows, plan), bm.mix_normalize(rows, plan, MEAN, STD))
    ]
    monkeypatch.setattr(_native, "_cache", lambda: 0)
    monkeypatch.setattr(_native, "_BYTES_PER_THREAD", 1)
    backends.set_threads(3)
    got = [xp.numpy(f) for f in (bm.mix_stack(rows, plan), bm.mix_normalize(rows, plan, MEAN, STD))]
    backends.set_threads(None)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    for row, before in zip(rows, x, strict=True):
        np.testing.assert_array_equal(xp.numpy(row), before)  # never written to


ROW = np.ones((8, 8, 3), np.uint8)
PLAN = bm.draw(MixUp(1.0), bm.Key(0), 2, {"H": 8, "W": 8})
BATCH = np.ones((2, 8, 8, 3), np.uint8)
SWAPPED = np.empty((2, 3, 8, 8), ">f4")
BAD = {
    "no rows": (lambda: bm.mix_stack([], PLAN), "got 0 rows"),
    "too few": (lambda: bm.mix_stack([ROW], PLAN), "drawn for 2"),
    "shapes": (lambda: bm.mix_stack([ROW, ROW[:4]], PLAN), "row 1 has shape (4, 8, 3)"),
    "dtypes": (lambda: bm.mix_stack([ROW, ROW.astype("f4")], PLAN), "dtype float32"),
    "ids": (lambda: bm.mix_stack([ROW.astype("i8")] * 2, PLAN), "int64"),
    "layout": (lambda: bm.mix_stack([ROW] * 2, PLAN, "NHW"), "layout 'NHW'"),
    "size": (lambda: bm.mix_stack([ROW[:4]] * 2, PLAN), "drawn for size"),
    "out shape": (lambda: bm.mix_stack([ROW] * 2, PLAN, out=ROW), "`out` is a ndarray"),
    "out is a row": (lambda: bm.mix_stack(BATCH, PLAN, out=BATCH), "shares memory with a row"),
    "not uint8": (lambda: bm.mix_normalize([ROW.astype("f4")] * 2, PLAN, MEAN, STD), "are uint8"),
    "mean": (lambda: bm.mix_normalize([ROW] * 2, PLAN, [0], STD), "3 channels"),
    "std": (lambda: bm.mix_normalize([ROW] * 2, PLAN, MEAN, [0, 1, 1]), "std > 0"),
    "dtype": (lambda: bm.mix_normalize([ROW] * 2, PLAN, MEAN, STD, dtype="float64"), "float64"),
    "out order": (lambda: bm.mix_normalize(BATCH, PLAN, MEAN, STD, out=SWAPPED), "dtype >f4"),
    "out of no array": (lambda: bm.mix_stack([ROW] * 2, PLAN, out=[ROW] * 2), "builtins.list"),
    "no sequence": (lambda: bm.mix_stack(None, PLAN), "`rows` is a NoneType"),
    "no plan": (lambda: bm.mix_stack([ROW] * 2, None), "no plan"),
    "mean of words": (lambda: bm.mix_normalize([ROW] * 2, PLAN, "abc", STD), "3 channels"),
    "out dtype": (lambda: bm.mix_normalize([ROW] * 2, PLAN, MEAN, STD, out=BATCH), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_messages(case):
    call, text = BAD[case]
    with pytest.raises(bm.MixError) as caught:
        call()
    assert text in str(caught.value)
    assert (ROW == 1).all()
    assert (BATCH == 1).all()
