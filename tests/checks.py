"""What tests assert about a mixed batch, and the plans and routes that they try."""

import contextlib
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.backends import _loop, _native
from batchmix.pairing import Derangement, Permutation, Reverse, Roll, Within
from batchmix.policies import (
    Blend,
    Columns,
    CutMix,
    FMix,
    GridMix,
    MixUp,
    Mosaic,
    PerBatch,
    PerPair,
    ResizeMix,
    Schedule,
    SmoothMix,
    Sometimes,
    SpecMix,
    Switch,
)
from conftest import ASKED, INTERPRETED

# how long an example takes says nothing on a machine that others use
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")
# of a state machine; BATCHMIX_TEST_RUNS=2000 looks for what a few runs do not find
RUNS = hypothesis.settings(
    max_examples=int(os.environ.get("BATCHMIX_TEST_RUNS", "40")), stateful_step_count=20
)

SWITCH = Switch([MixUp(0.8), CutMix(1.0)])
POLICIES = {
    "none": None,
    "mixup": MixUp(1.0),
    "mixup dominant": MixUp(0.5, dominant=True),
    "blend": Blend(0.45, 0.55),
    "cutmix": CutMix(1.0),
    "cutmix inside": CutMix(0.5, placement="inside"),
    "cutmix minmax": CutMix(minmax=(0.2, 0.8)),
    "switch": SWITCH,
    "switch nested": Switch([Sometimes(MixUp(1.0), 0.5), PerBatch(CutMix())], [0.3, 0.7]),
    "sometimes": Sometimes(SWITCH, 0.5),
    "per batch": PerBatch(SWITCH),
    "per pair": PerPair(SWITCH),
    "schedule": Schedule({0: MixUp(1.0), 2: CutMix()}, by="step"),
    "resizemix": ResizeMix(),
    "resizemix nearest": ResizeMix(resample="nearest"),
    "fmix": FMix(),
    "gridmix": GridMix(3),
    "smoothmix": SmoothMix(),
    "specmix": SpecMix(),
    "columns": Columns(0.3),
    "mosaic": Mosaic(),
    "ricap": Mosaic("crop", beta=0.3),
    "switch of all": Switch([ResizeMix(), FMix(), SmoothMix(), Mosaic("crop"), MixUp(1.0)]),
}
TWO_AXES = ("mosaic", "ricap", "switch of all")
PAIRINGS = {
    "reverse": Reverse(),
    "roll": Roll(1),
    "roll 2": Roll(-2),
    "permutation": Permutation(),
    "derangement": Derangement(),
    "within": Within(2, Derangement()),
}
LAYOUTS = {  # layout -> shape without the batch, and the axes that boxes lie on
    "NCHW": ((2, 5, 7), "HW"),
    "NHWC": ((7, 4, 3), "HW"),
    "NHW": ((3, 6), "HW"),
    "NCTHW": ((2, 3, 4, 5), "HW"),
    "NCDHW": ((1, 3, 4, 5), "DHW"),
    "NCT": ((2, 9), "T"),
    "NTC": ((9, 2), "T"),
    "NC": ((6,), ""),
    "NTHWC": ((3, 4, 5, 2), "T"),
}
DTYPES = ["float16", "bfloat16", "float32", "float64", "uint8", "int16"]
# a rounding of the exact result is allowed one step of the dtype, at the size of the values
RELATIVE = {"float64": 1e-7, "float32": 1e-6, "float16": 2**-10, "bfloat16": 2**-7}


def sizes(layout):
    """Size to draw for, of the axes of a layout."""
    shape, axes = LAYOUTS[layout]
    return {axis: shape[layout.index(axis) - 1] for axis in axes}


def values(rng, batch, layout, dtype):
    """A batch that uses the range of the dtype."""
    shape = (batch, *LAYOUTS[layout][0])
    if dtype in ("uint8", "int16"):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)
    return rng.standard_normal(shape) * 3


def assert_mixed(got, x, plan, layout, dtype, other=None, exact=None):
    """`got`, read as float64, is what the oracle makes of `x`, up to the rounding of its dtype."""
    if dtype in ("uint8", "int16"):  # of integers the oracle rounds what is stretched, too
        x, other = np.asarray(x).astype(dtype), other if other is None else other.astype(dtype)
    exact = oracle.mix(x, plan, layout, other) if exact is None else exact
    assert got.shape == exact.shape
    if dtype in ("uint8", "int16"):
        # 8 bits times a 12-bit opacity are exact in float32; 16 bits may round the other way
        np.testing.assert_allclose(got, np.rint(exact), rtol=0, atol=0 if dtype == "uint8" else 1)
    else:
        scale = np.abs(x).max(initial=1)
        np.testing.assert_allclose(got, exact, rtol=0, atol=RELATIVE[dtype] * scale)
    untouched = np.array([plan.lam[i] == 1 for i in range(len(plan))], bool)
    np.testing.assert_array_equal(got[untouched], np.asarray(x, np.float64)[untouched])


def assert_written(xp, mix, out, want):
    """`mix(out)` is `out` and holds `want`; where arrays cannot be written to, it is refused."""
    if not xp.writes:
        with pytest.raises(bm.MixError, match="cannot be written to"):
            mix(out)
        return
    assert mix(out) is out
    np.testing.assert_array_equal(xp.numpy(out), xp.numpy(want))


# examples that hypothesis tries; other frameworks compile a program for each shape
EXAMPLES = 15 if INTERPRETED else 60 if {"numpy", "torch"} & set(ASKED) else 20
# only arrays of these two reach the native kernel and the row loop
ROUTES = ["native", "rows", "formula"] if {"numpy", "torch"} & set(ASKED) else ["formula"]
ROUTES = ["native"] if INTERPRETED else ROUTES


@contextlib.contextmanager
def taken(route):
    """One of the routes of the host: the native kernel, or the row loop or formula without it."""
    with pytest.MonkeyPatch.context() as patch:
        if route != "native":
            patch.setitem(_native._state, "kernel", "portable")
        patch.setattr(_loop, "SMALL", 0 if route == "rows" else 10**9)
        yield


def in_a_child(queue):
    """For a process of its own: threads for a large batch, and the sum of a mixed one."""
    x = np.arange(4 * 3 * 64 * 64, dtype=np.float32).reshape(4, 3, 64, 64)
    plan = bm.draw(SWITCH, bm.Key(0), 4, {"H": 64, "W": 64})
    queue.put((_native._threads(None, 64 << 20), float(bm.mix(x, plan, "NCHW").sum())))


@st.composite
def plans(draw, size=None, exact=True):
    """Any valid plan: any partner map, any boxes, masks and sources of every kind."""
    batch = draw(st.integers(0, 5))
    if size is None:
        size = draw(st.lists(st.integers(1, 5), min_size=0, max_size=3))
    axes = "DHW"[: len(size)]

    def region(n, least=0):
        lo = draw(st.integers(0, n - least))
        return [lo, draw(st.integers(lo + least, n))]

    cells = st.integers(0, 4096).map(lambda k: k / 4096) if exact else st.floats(0, 1, width=32)
    mask = source = None
    if batch and size and draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        grid = [draw(st.integers(1, n)) for n in size] if draw(st.booleans()) else size
        mask = rng.choice([0, 0.25, 1], (batch, *grid))
        if draw(st.booleans()):
            mask = rng.choice(np.uint8([0, 51, 255]), (batch, *grid))
    if size and draw(st.booleans()):
        source = np.array([[region(n, 1) for n in size] for _ in range(batch)])
        source = source.reshape(batch, len(size), 2)
    box = np.array([[region(n) for n in size] for _ in range(batch)], int)
    return bm.Plan(
        partner=[draw(st.integers(0, batch - 1)) for _ in range(batch)],
        box=box.reshape(batch, len(size), 2),
        opacity=[draw(st.one_of(st.sampled_from([0, 1]), cells)) for _ in range(batch)],
        axes=axes,
        size=tuple(size),
        mask=mask,
        source=source,
        resample=draw(st.sampled_from(["nearest", "bilinear"])) if size else "nearest",
    )
