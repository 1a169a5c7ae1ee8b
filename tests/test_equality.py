"""One plan, one result: every framework gives what NumPy gives, compiled or not."""

import numpy as np
import pytest
from hypothesis import given, settings

import batchmix as bm
from batchmix._mix import mix_ids
from checks import (
    DTYPES,
    EXAMPLES,
    LAYOUTS,
    PAIRINGS,
    POLICIES,
    RELATIVE,
    TWO_AXES,
    plans,
    sizes,
    values,
)
from conftest import ASKED, INTERPRETED, MAKERS

B, C = 6, 5
IDS = [0, 4, 2, 2, 1, 3]
# of the largest value: two roundings of a dtype may fall one step apart
APART = RELATIVE | {"float64": 1e-6}


def drawn(layout):
    """A plan of every policy that can be drawn for a layout, and one with a mask and a source."""
    size = sizes(layout)
    for step, (name, policy) in enumerate(POLICIES.items()):
        if len(size) != 2 and name in TWO_AXES:
            continue
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


def cases(xp, layout, dtypes, function):
    """(dtype, plan, way) of one layout: all, or, where each shape is compiled, in turns.

    A program of its own is compiled for plans without more, with a mask and with a source. Every
    layout and dtype has the first and one of the others as it is, and one of the three compiled.
    """
    turn = list(LAYOUTS).index(layout)
    for k, dtype in enumerate(dtypes, start=turn):
        compiled = xp.compiled and xp.compiled(function)
        for step, plan in enumerate(drawn(layout)):
            if INTERPRETED and (step + k) % 5:
                continue
            part = 1 if plan.mask is not None else 2 if plan.source is not None else 0
            if not compiled or part in (0, 1 + k % 2):
                yield dtype, plan, function
            if compiled and part == (k % 3 if plan.size else 0):
                yield dtype, plan, compiled


def assert_equal(got, want, plan, dtype):
    """Bit by bit where rows are copied and for 8 bits, else up to one rounding."""
    got, want = np.asarray(got, np.float64), np.asarray(want).astype(np.float64)
    copied = np.ones(len(plan), bool)  # all of the row, in every layer
    for layer in plan.layers:
        exact = layer.mask is None and (layer.source is None or layer.resample == "nearest")
        copied &= (layer.opacity == 0) | ((layer.opacity == 1) & exact)
    np.testing.assert_array_equal(got[copied], want[copied])
    # 8 bits times a 12-bit opacity are exact in float32; 16 bits may round the other way
    apart = {"uint8": 0, "int16": 1}.get(dtype) or APART.get(dtype, 0) * np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=apart)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels(xp, layout):
    def both(plan, x, other):
        """Partners of the batch itself, and of another."""
        return bm.mix(x, plan, layout), bm.mix(x, plan, layout, other=other)

    host = MAKERS["numpy"]()
    for dtype, plan, mix in cases(xp, layout, DTYPES, both):
        rng = np.random.default_rng(0)
        mine = [host.array(values(rng, B, layout, dtype), dtype) for _ in range(2)]
        theirs = [xp.array(v.astype(np.float64), dtype) for v in mine]
        for got, want in zip(mix(plan, *theirs), both(plan, *mine), strict=True):
            assert xp.dtype(got) == dtype
            assert_equal(xp.numpy(got), want, plan, dtype)


@pytest.mark.parametrize("layout", ["NHW", "NCT"])
def test_ids(xp, layout):
    def ids(plan, x):
        return mix_ids(x, plan, layout)

    for dtype, plan, mix in cases(xp, layout, ["int64", "uint8", "bool", "float32"], ids):
        x = np.random.default_rng(0).integers(0, 2, (B, *LAYOUTS[layout][0])).astype(dtype)
        got = mix(plan, xp.array(x, dtype))
        assert xp.dtype(got) == dtype
        np.testing.assert_array_equal(xp.numpy(got), ids(plan, x))


def test_labels(xp):
    def labels(plan, ids, many):
        """All that can be made of labels."""
        soft = bm.mix_labels(ids, plan, C), bm.mix_labels(ids, plan, C, smoothing=0.1)
        both = bm.parts(ids, plan) if plan.above else bm.pairs(ids, plan)
        return [*soft, bm.mix_labels(many, plan), *both]

    many = np.random.default_rng(0).random((B, C)).astype(np.float32)
    for mix in ways(xp, labels):
        for plan in drawn("NCHW"):
            want = labels(plan, np.array(IDS), many)
            got = mix(plan, xp.ids(IDS), xp.array(many, "float32"))
            for mine, theirs in zip(want, got, strict=True):
                np.testing.assert_allclose(xp.numpy(theirs), mine, rtol=1e-6, atol=1e-7)


@settings(max_examples=EXAMPLES)
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
