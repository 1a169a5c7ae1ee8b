"""Rows that lie apart, to a mixed batch: the same as stacking first."""

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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NTC"])
def test_stack_is_mix_of_the_stack(xp, route, layout, dtype):
    size = {"T": 9} if layout == "NTC" else None
    x = xp.array(values(np.random.default_rng(0), B, layout, dtype), dtype)
    if size is None:
        shape = dict(zip(layout, x.shape))
        size = {"H": shape["H"], "W": shape["W"]}
    plan = bm.draw(SWITCH, bm.Key(1), B, size)
    rows = [xp.copy(row) for row in x]
    want = bm.mix(x, plan, layout)
    got = bm.mix_stack(rows, plan, layout)
    assert xp.dtype(got) == dtype
    np.testing.assert_array_equal(xp.numpy(got), xp.numpy(want))
    out = xp.copy(want) * 0
    assert_written(xp, lambda out: bm.mix_stack(rows, plan, layout, out=out), out, want)
    np.testing.assert_array_equal(xp.numpy(bm.mix_stack(x, plan, layout)), xp.numpy(want))


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("policy", [SWITCH, CutMix(), MixUp(1.0), Sometimes(SWITCH, 0.5)])
def test_normalize(xp, route, policy, channels, pairing):
    """Against the formula in float64."""
    x, rows = pixels(xp, channels)
    mean, std = (np.resize(v, channels) for v in (MEAN, STD))
    plan = bm.draw(policy, bm.Key(3), B, SIZE, pairing=PAIRINGS[pairing])
    got = bm.mix_normalize(rows, plan, mean.tolist(), std.tolist())
    want = (bm.mix(x.astype(np.float64), plan, "NHWC") - mean) / std
    assert xp.dtype(got) == "float32"
    np.testing.assert_allclose(xp.numpy(got), want.transpose(0, 3, 1, 2), atol=2e-6)


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
    from batchmix.backends import _native

    x, rows = pixels(xp)
    plan = bm.draw(SWITCH, bm.Key(3), B, SIZE)
    want = [
        xp.numpy(f) for f in (bm.mix_stack(rows, plan), bm.mix_normalize(rows, plan, MEAN, STD))
    ]
    monkeypatch.setattr(_native, "_cache", lambda: 0)
    monkeypatch.setattr(_native, "_BYTES_PER_THREAD", 1)
    bm.set_threads(3)
    got = [xp.numpy(f) for f in (bm.mix_stack(rows, plan), bm.mix_normalize(rows, plan, MEAN, STD))]
    bm.set_threads(None)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    for row, before in zip(rows, x, strict=True):
        np.testing.assert_array_equal(xp.numpy(row), before)  # never written to


ROW = np.ones((8, 8, 3), np.uint8)
PLAN = bm.draw(MixUp(1.0), bm.Key(0), 2, {"H": 8, "W": 8})
BATCH = np.ones((2, 8, 8, 3), np.uint8)
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
