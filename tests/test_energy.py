"""Audio(keep_energy=True): the weighted sum by the root of the squared weights, cell by cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Audio, Labels
from batchmix.policies import CutMix, Layers, MixUp, SmoothMix, Sometimes, SpecMix, Switch
from checks import EXAMPLES, RELATIVE, assert_written, plans

POLICIES = [
    MixUp(1.0), CutMix(), Switch([MixUp(1.0), CutMix()]), Sometimes(MixUp(1.0), 0.5), SmoothMix(),
    SpecMix(), Layers([MixUp(1.0), CutMix(), MixUp(2.0)]), Layers([SmoothMix(), MixUp(1.0)]),
]  # fmt: skip
LAYOUTS = {"NT": (9,), "NCT": (2, 9), "NTC": (9, 3)}
KEPT = {layout: Audio(layout, keep_energy=True) for layout in LAYOUTS}


def expected(x, plan, layout, other=None):
    """float64, row by row: what the oracle mixes, by the root of the sum of squared weights."""
    mixed, cells = oracle.mix(x.astype(float), plan, layout, other), layout[1:]
    for row in range(len(plan)):
        at = dict(zip(cells, np.indices(x.shape[1:], sparse=True)))
        seen = [np.ones(x.shape[1:])]
        for layer in plan.layers:
            a = oracle.alpha(layer, row, at)
            seen = [before * (1 - a) for before in seen] + [a * np.ones(x.shape[1:])]
        mixed[row] /= np.sqrt(sum(share**2 for share in seen))
    return mixed


def drawn(policy, seed=0):
    return bm.draw(policy, bm.Key(seed), 5, {"T": 9})


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_the_formula(xp, policy, layout, dtype):
    plan = drawn(policy)
    x = xp.array(np.random.default_rng(0).normal(size=(5, *LAYOUTS[layout])), dtype)
    before = xp.numpy(x).astype(float).copy()
    got = KEPT[layout](x, plan)
    assert xp.dtype(got) == dtype
    want = expected(before, plan, layout)
    np.testing.assert_allclose(
        xp.numpy(got), want, rtol=0, atol=4 * RELATIVE[dtype] * np.abs(want).max()
    )
    np.testing.assert_array_equal(xp.numpy(x), before)
    assert_written(xp, lambda out: KEPT[layout](out, plan, None, out), xp.copy(x), got)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_where_one_row_shows_it_is_a_copy(xp, policy):
    x = np.random.default_rng(1).normal(size=(5, 9)).astype(np.float32)
    x[0, 3], x[1, 2] = np.nan, np.inf
    plan = drawn(policy, 2)
    got = xp.numpy(KEPT["NT"](xp.array(x, "float32"), plan))
    plain = xp.numpy(bm.mix(xp.array(x, "float32"), plan, "NT"))
    alone = plan.weights[:, 0] == 1
    np.testing.assert_array_equal(got[alone], x[alone])
    if policy in (CutMix(), SpecMix()):
        np.testing.assert_array_equal(got, plain)
    else:
        assert not np.array_equal(got, plain, equal_nan=True)


@pytest.mark.parametrize("dtype", ["int16", "int8"])
def test_integers_are_saturated(xp, dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(2).integers(info.min, info.max + 1, (5, 9)).astype(dtype)
    x[0], x[1] = info.max, info.max
    x[2], x[3] = info.min, info.min
    plan = drawn(MixUp(8.0))
    got = KEPT["NT"](xp.array(x, dtype), plan)
    assert xp.dtype(got) == dtype
    want = np.clip(np.rint(expected(x, plan, "NT")), info.min, info.max)
    np.testing.assert_allclose(xp.numpy(got), want, rtol=0, atol=1)
    pairs = plan.partner[:4] // 2 == np.arange(4) // 2
    assert np.isin(xp.numpy(got)[:4][pairs], (info.min, info.max)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_unsigned_integers_are_refused(xp, dtype):
    if (xp.name, dtype) == ("torch", "uint16"):
        pytest.skip("PyTorch has few operations of uint16")
    x = xp.array(np.ones((5, 9)), dtype)
    for call in (KEPT["NT"], *([KEPT["NT"].check] if xp.writes else [])):
        with pytest.raises(bm.MixError, match="silence is the middle"):
            call(x, drawn(MixUp()))


@pytest.mark.parametrize("given", ["no", None, 1])
def test_it_is_kept_or_not(given):
    with pytest.raises(bm.MixError, match="True or False"):
        Audio("NT", keep_energy=given)


def test_power_is_kept_of_sounds_that_have_nothing_in_common(xp):
    x = np.random.default_rng(3).normal(size=(64, 4000)).astype(np.float32)
    plan = bm.draw(MixUp(1.0), bm.Key(0), 64, {"T": 4000})
    plain, kept = Audio("NT"), Audio("NT", keep_energy=True)
    power = [xp.numpy(f(xp.array(x, "float32"), plan)).astype(float).std(1) for f in (plain, kept)]
    np.testing.assert_allclose(power[0], np.hypot(plan.lam, 1 - plan.lam), rtol=0.1)
    np.testing.assert_allclose(power[1], 1, rtol=0.1)


def test_partners_of_another_batch(xp):
    rng = np.random.default_rng(4)
    x, theirs = rng.normal(size=(5, 9)), rng.normal(size=(3, 9))
    plan = bm.draw(MixUp(1.0), bm.Key(0), 5, {"T": 9}, other=3)
    got = KEPT["NT"](xp.array(x, "float64"), plan, xp.array(theirs, "float64"))
    np.testing.assert_allclose(xp.numpy(got), expected(x, plan, "NT", theirs), atol=1e-6)


def test_in_a_mixer_in_place_and_not(xp):
    x = np.random.default_rng(5).normal(size=(5, 2, 9)).astype(np.float32)
    fields = {0: KEPT["NCT"], 1: Labels(5)}
    found = []
    for inplace in (False, True):
        mixer = bm.Mixer(MixUp(1.0), fields, seed=3, inplace=inplace)
        batch = xp.array(x, "float32"), xp.ids(np.arange(5))
        mixed, labels = mixer(batch, step=0)
        assert (mixed is batch[0]) == (inplace and xp.writes)
        found.append((xp.numpy(mixed), xp.numpy(labels)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_in_a_compiled_function(xp):
    if xp.compiled is None:
        pytest.skip("its functions are not compiled here")
    x = xp.array(np.random.default_rng(6).normal(size=(5, 9)), "float32")
    for policy in (MixUp(1.0), SmoothMix()):
        plan = drawn(policy)
        compiled = xp.compiled(lambda x, plan: KEPT["NT"](x, plan))
        np.testing.assert_allclose(
            xp.numpy(compiled(x, plan)), xp.numpy(KEPT["NT"](x, plan)), atol=1e-6
        )


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_any_plan(data):
    plan = data.draw(plans(size=[6]))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(len(plan), 6))
    got = Audio("ND", keep_energy=True)(x, plan)
    np.testing.assert_allclose(got, expected(x, plan, "ND"), atol=1e-9 + 4e-7 * 4)
    if len(plan):
        out = Audio("ND", keep_energy=True)(x, plan, out=x)
        np.testing.assert_array_equal(out, got)


def test_in_one_graph_of_torch():
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    x = torch.tensor(np.random.default_rng(6).normal(size=(5, 9)), dtype=torch.float32)
    run = torch.compile(lambda x, plan: KEPT["NT"](x, plan), backend="aot_eager", fullgraph=True)
    for policy in (MixUp(1.0), CutMix(1.0), SmoothMix()):
        plan = drawn(policy)
        torch.testing.assert_close(run(x, plan), KEPT["NT"](x, plan))
