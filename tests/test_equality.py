"""One plan, one result: every framework gives what NumPy gives, compiled or not."""

import numpy as np
import pytest
from hypothesis import given, settings

import batchmix as bm
from batchmix._mix import mix_ids
from checks import DTYPES, LAYOUTS, PAIRINGS, POLICIES, RELATIVE, plans, sizes, values
from conftest import ASKED, MAKERS

B, C = 6, 5
IDS = [0, 4, 2, 2, 1, 3]
# of the largest value: two roundings of a dtype may fall one step apart
APART = RELATIVE | {"float64": 1e-6}


def drawn(layout):
    """A plan of every policy that can be drawn for a layout, and one with a mask and a source."""
    size = sizes(layout)
    for step, (name, policy) in enumerate(POLICIES.items()):
        if size or name in ("none", "mixup", "mixup dominant"):  # a box needs an axis
            key = bm.Key(5, 0, step)
            yield bm.draw(policy, key, B, size, pairing=PAIRINGS["reverse"])
    plan = bm.draw(POLICIES["mixup"], bm.Key(5), B, size)
    if not size:
        return
    mask = np.random.default_rng(0).choice([0, 0.25, 1], (B, *size.values()))
    full = [[[0, n] for n in size.values()]] * B
    box = [[[1, n] for n in size.values()]] * B
    opacity = [0.5, 1, 0.25, 1, 0, 0.75]
    form = ("".join(size), tuple(size.values()))
    yield bm.Plan(plan.partner, box, opacity, *form, mask=mask)
    yield bm.Plan(plan.partner, box, opacity, *form, source=full)


def ways(xp, function):
    """The function as it is, and compiled where the framework does that."""
    return [function] + ([xp.compiled(function)] if xp.compiled else [])


def assert_equal(got, want, plan, dtype):
    """Bit by bit where rows are copied and for 8 bits, else up to one rounding."""
    got, want = np.asarray(got, np.float64), np.asarray(want).astype(np.float64)
    copied = (plan.opacity == 0) | ((plan.opacity == 1) & (plan.mask is None))  # all of the row
    np.testing.assert_array_equal(got[copied], want[copied])
    # 8 bits times a 12-bit opacity are exact in float32; 16 bits may round the other way
    apart = {"uint8": 0, "int16": 1}.get(dtype) or APART.get(dtype, 0) * np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=apart)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels(xp, layout):
    host = MAKERS["numpy"]()
    one = ways(xp, lambda plan, x: bm.mix(x, plan, layout))
    two = ways(xp, lambda plan, x, other: bm.mix(x, plan, layout, other=other))
    for dtype in DTYPES:
        rng = np.random.default_rng(0)
        x, other = (host.array(values(rng, B, layout, dtype), dtype) for _ in range(2))
        theirs = [xp.array(v.astype(np.float64), dtype) for v in (x, other)]
        for plan in drawn(layout):
            for mix in two:
                got = mix(plan, *theirs)
                assert xp.dtype(got) == dtype
                assert_equal(xp.numpy(got), bm.mix(x, plan, layout, other=other), plan, dtype)
            for mix in one:
                got = xp.numpy(mix(plan, theirs[0]))
                assert_equal(got, bm.mix(x, plan, layout), plan, dtype)


@pytest.mark.parametrize("layout", ["NHW", "NCT"])
def test_ids(xp, layout):
    ways_to_mix = ways(xp, lambda plan, x: mix_ids(x, plan, layout))
    for dtype in ("int64", "uint8", "bool", "float32"):
        x = np.random.default_rng(0).integers(0, 2, (B, *LAYOUTS[layout][0])).astype(dtype)
        for plan in drawn(layout):
            for mix in ways_to_mix:
                got = mix(plan, xp.array(x, dtype))
                assert xp.dtype(got) == dtype
                np.testing.assert_array_equal(xp.numpy(got), mix_ids(x, plan, layout))


def test_labels(xp):
    def labels(plan, ids, many):
        """All that can be made of labels."""
        soft = bm.mix_labels(ids, plan, C), bm.mix_labels(ids, plan, C, smoothing=0.1)
        return [*soft, bm.mix_labels(many, plan), *bm.pairs(ids, plan)]

    many = np.random.default_rng(0).random((B, C)).astype(np.float32)
    for mix in ways(xp, labels):
        for plan in drawn("NCHW"):
            want = labels(plan, np.array(IDS), many)
            got = mix(plan, xp.ids(IDS), xp.array(many, "float32"))
            for mine, theirs in zip(want, got, strict=True):
                np.testing.assert_allclose(xp.numpy(theirs), mine, rtol=1e-6, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(plan=plans(size=[3, 4], exact=False))
@pytest.mark.parametrize("name", ASKED)
def test_any_opacity(name, plan):
    """Also off the lattice of drawn plans."""
    xp = MAKERS[name]()
    x = np.random.default_rng(0).standard_normal((len(plan), 3, 3, 4)).astype(np.float32)
    got = xp.numpy(bm.mix(xp.array(x, "float32"), plan, "NCDH"))
    np.testing.assert_allclose(got, bm.mix(x, plan, "NCDH"), rtol=1e-6, atol=1e-6)


def test_another_result_would_be_seen(xp):
    """The comparison itself: one unit of an 8-bit pixel, one step of a float."""
    plan = bm.draw(POLICIES["mixup"], bm.Key(0), B, {})
    x = np.full((B, 3), 200, np.uint8)
    with pytest.raises(AssertionError):
        assert_equal(x - 1.0, x, plan, "uint8")
    with pytest.raises(AssertionError):
        assert_equal(x * (1 + 3e-6), x, plan, "float32")
