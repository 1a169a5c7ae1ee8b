"""The native kernel: every instruction set, any memory, threads, and what it refuses."""

import multiprocessing
import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
from batchmix.backends import _native
from checks import (
    DTYPES,
    LAYOUTS,
    PAIRINGS,
    SWITCH,
    assert_mixed,
    in_a_child,
    plans,
    sizes,
    taken,
    values,
)

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


@pytest.fixture
def threads():
    """Three threads, whatever the size of the batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "_BYTES_PER_THREAD", 1)
        bm.set_threads(3)
        yield
        bm.set_threads(None)


def array(x, dtype):
    """NumPy, bfloat16 too."""
    import ml_dtypes

    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def test_the_kernel_is_built_here():
    """Where tests run there is a compiler: a portable path in silence would test nothing."""
    assert bm.kernels()["host"] in ("avx512", "avx2", "baseline")
    assert SETS


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_instruction_set(isa, threads, monkeypatch, layout, dtype, streamed):
    monkeypatch.setattr(_native, "_cache", lambda: 0 if streamed else 1 << 60)
    policy = SWITCH if LAYOUTS[layout][1] else bm.policies.MixUp(1.0)
    for step, pairing in enumerate(PAIRINGS.values()):
        plan = bm.draw(policy, bm.Key(1, 0, step), 7, sizes(layout), pairing=pairing)
        x = array(values(np.random.default_rng(step), 7, layout, dtype), dtype)
        got = bm.mix(x, plan, layout)
        assert_mixed(got.astype(float), x.astype(float), plan, layout, dtype)
        in_place = x.copy()
        bm.mix(in_place, plan, layout, out=in_place)
        np.testing.assert_array_equal(in_place.astype(float), got.astype(float))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [5, 40, 96, 1500])
def test_wide_and_narrow_lines(isa, threads, dtype, width):
    """Pairs and circles in place, short lines, long ones, and whole ones."""
    rng = np.random.default_rng(width)
    for case in range(6):
        box = np.stack([np.sort(rng.integers(0, n + 1, (6, 2)), 1) for n in (4, width)], 1)
        box[0] = [[0, 4], [0, width]]
        box[1] = [[1, 3], [0, width]]
        opacity = rng.choice([0, 0.25, 0.7, 1], 6)
        partner = [[5, 4, 3, 2, 1, 0], [1, 0, 3, 4, 5, 2], [1, 1, 1, 2, 3, 5]][case % 3]
        plan = bm.Plan(partner, box, opacity, "HW", (4, width))
        x = array(values_like(rng, (6, 2, 4, width), dtype), dtype)
        got = bm.mix(x, plan, "NCHW")
        in_place = x.copy()
        bm.mix(in_place, plan, "NCHW", out=in_place)
        np.testing.assert_array_equal(in_place.astype(float), got.astype(float))
        with taken("rows"):
            want = bm.mix(x, plan, "NCHW")
        np.testing.assert_array_equal(got.astype(float), want.astype(float))


def values_like(rng, shape, dtype):
    """The range of the dtype, NaN and infinity included where it has them."""
    if dtype in ("uint8", "int16"):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape)
    x = rng.standard_normal(shape) * 3
    x[0, 0, 0, 0], x[1, 0, 0, 0] = np.nan, np.inf
    return x


@settings(max_examples=150, deadline=None)
@given(
    plan=plans(exact=False),
    dtype=st.sampled_from(DTYPES),
    channels=st.integers(1, 3),
    order=st.permutations(range(4)),
    offset=st.integers(0, 5),
    gap=st.integers(0, 9),
    partners=st.booleans(),
    where=st.sampled_from(["new", "out", "in place"]),
)
def test_any_memory(plan, dtype, channels, order, offset, gap, partners, where):
    """Offsets that no vector is aligned to, gaps between rows, any order of axes, guarded ends.

    What the kernel cannot take goes the portable way: the result is the same, bit by bit.
    """
    layout = "NC" + plan.axes
    shape = (len(plan), channels, *plan.size)
    order = [axis for axis in order if axis < len(shape) - 1]
    rng = np.random.default_rng(offset)
    integer = dtype in ("uint8", "int16")
    fill = rng.integers(0, 200, shape) if integer else rng.standard_normal(shape)
    count = int(np.prod(shape[1:])) + gap

    def lay(memory):
        """The batch inside a larger piece of memory."""
        rows = memory[offset : offset + count * len(plan)].reshape(len(plan), count)
        inner = rows[:, : count - gap].reshape(len(plan), *(shape[1 + axis] for axis in order))
        return inner.transpose(0, *(1 + np.argsort(order)))

    def make(values):
        """A batch with a guard around it."""
        memory = array(np.full(offset + count * len(plan) + 9, 77), dtype)
        lay(memory)[...] = array(values, dtype)
        return memory

    x, others = lay(make(fill)), lay(make(fill[::-1])) if partners else None
    with taken("rows"):
        want = bm.mix(x, plan, layout, other=others)
    memory = make(fill if where == "in place" else np.zeros(shape))
    out = None if where == "new" else lay(memory)
    got = bm.mix(out if where == "in place" else x, plan, layout, other=others, out=out)
    np.testing.assert_array_equal(got.astype(float), want.astype(float))
    mine = np.zeros(len(memory), bool)
    lay(mine)[...] = True
    assert (memory[~mine] == 77).all()


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
        plan.blend[:] = 1
        with pytest.raises(ValueError, match="out of range"):
            bm.mix(x, plan, "NCHW")


def test_threads_are_those_asked_for(monkeypatch):
    size = 64 << 20
    monkeypatch.setattr(_native, "_cores", lambda: 8)
    assert _native._threads(None, size) == 8
    assert _native._threads(2, size) == 2  # the framework's
    assert _native._threads(None, 1 << 20) == 1  # too small to share
    monkeypatch.setenv("BATCHMIX_NUM_THREADS", "3")
    assert _native._threads(None, size) == 3
    bm.set_threads(5)
    assert _native._threads(None, size) == 5
    bm.set_threads(None)
    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(bm.MixError, match="counts threads"):
            bm.set_threads(bad)


def test_a_number_of_threads_that_is_none(monkeypatch):
    monkeypatch.setenv("BATCHMIX_NUM_THREADS", "all")
    with pytest.raises(bm.MixError, match="BATCHMIX_NUM_THREADS: got 'all'"):
        bm.mix(np.zeros((2, 3)), bm.Plan([1, 0], [], [0.5, 0.5], "", ()), "NC")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_use_one_thread(threads, start):
    """After a fork of a process that has mixed with threads, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads of the test run
        x = np.arange(4 * 3 * 64 * 64, dtype=np.float32).reshape(4, 3, 64, 64)
        plan = bm.draw(SWITCH, bm.Key(0), 4, {"H": 64, "W": 64})
        want = float(bm.mix(x, plan, "NCHW").sum())
        bm.set_threads(None)
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
plan = bm.Plan([1, 0], [], [0.5, 0.5], "", ())
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        bm.mix(np.float32([[0], [4]]), plan, "NC")
print(bm.kernels()["host"], len(seen), "native kernel" in str(seen[0].message))
"""
    assert run(code).stdout == "portable 1 True\n"


def test_the_kernel_is_chosen_by_name():
    code = "import batchmix; print(batchmix.kernels()['host'])"
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
