"""Masks of padding: by painting the content of every row that is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Grid, Ids, Labels, PaddingMask
from batchmix.policies import CutMix, Layers, MixUp, ResizeMix
from checks import EXAMPLES, SWITCH, plans

B, T = 6, 12
LENGTHS = np.array([3, 12, 7, 1, 9, 5])
MASK = np.arange(T) < LENGTHS[:, None]
DTYPES = ["bool", "int64", "uint8", "float32", "float16", "bfloat16"]
POLICIES = [MixUp(1.0), CutMix(), SWITCH, Layers([CutMix(), CutMix()]), ResizeMix()]


def plan_of(policy, seed=0):
    return bm.draw(policy, bm.Key(seed), B, {"T": T})


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cell_has_content_where_any_row_that_is_seen_has(xp, policy, dtype):
    plan = plan_of(policy)
    found = PaddingMask("NT")(xp.array(MASK, dtype), plan)
    assert xp.dtype(found) == dtype
    want = oracle.mix(MASK.astype(float), plan, "NT") > 0
    np.testing.assert_array_equal(xp.numpy(found), want)
    layer = plan.layers[-1]
    for row in range(B):  # where the last layer covers all else, the mask is its partner's
        lo, hi = layer.box[row, 0]
        if layer.opacity[row] == 1 and layer.source is None:
            theirs = MASK[layer.partner[row], lo:hi]
            np.testing.assert_array_equal(xp.numpy(found)[row, lo:hi], theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_table_of_tokens_is_as_long_as_the_longest(xp, dtype):
    """A plan without axes: MixUp of embeddings."""
    plan = bm.draw(MixUp(1.0), bm.Key(0), B, {})
    found = xp.numpy(PaddingMask("NT")(xp.array(MASK, dtype), plan))
    mixed = plan.lam < 1
    longest = np.where(mixed, np.maximum(LENGTHS, LENGTHS[plan.partner]), LENGTHS)
    np.testing.assert_array_equal(found.sum(1), longest)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_other_rules(xp, policy, dtype):
    plan, mask = plan_of(policy), xp.array(MASK, dtype)
    heavier = PaddingMask("NT", rule="heavier")(mask, plan)
    ids = Ids("NT")(mask, plan)
    assert xp.dtype(heavier) == dtype
    np.testing.assert_array_equal(xp.numpy(heavier), xp.numpy(ids))
    np.testing.assert_array_equal(xp.numpy(PaddingMask("NT", rule="own")(mask, plan)), MASK)


def test_masks_of_padded_images(xp):
    """As detectors and audio transformers have them."""
    mask = np.ones((B, 5, T), bool) & MASK[:, None]
    plan = bm.draw(CutMix(), bm.Key(2), B, {"H": 5, "W": T})
    found = PaddingMask("NHW")(xp.array(mask, "bool"), plan)
    want = oracle.mix(mask.astype(float), plan, "NHW") > 0
    np.testing.assert_array_equal(xp.numpy(found), want)


def test_partners_of_another_batch(xp):
    plan = bm.draw(MixUp(1.0), bm.Key(0), B, {}, other=2)
    theirs = xp.array(np.array([[1] * T, [0] * T]), "int64")
    found = PaddingMask("NT")(xp.array(MASK, "int64"), plan, theirs)
    want = np.where((plan.partner == 0)[:, None] & (plan.lam < 1)[:, None], 1, MASK)
    np.testing.assert_array_equal(xp.numpy(found), want)


def test_what_is_no_mask_of_padding(xp):
    plan = plan_of(CutMix())
    if xp.looks:
        with pytest.raises(bm.MixError, match="not 0 or 1"):
            PaddingMask("NT")(xp.array(np.where(MASK, 0, -1e4), "float32"), plan)
        with pytest.raises(bm.MixError, match="not 0 or 1"):
            PaddingMask("NT")(xp.array(2 * MASK, "int64"), plan, xp.array(MASK, "int64"))
        with pytest.raises(bm.MixError, match="not 0 or 1"):
            PaddingMask("NT")(xp.array(MASK, "int64"), plan, xp.array(2 * MASK, "int64"))
    with pytest.raises(bm.MixError, match="drawn for size"):
        PaddingMask("NT")(xp.array(MASK[:, 1:], "int64"), plan)
    with pytest.raises(bm.MixError, match="starts with N"):
        PaddingMask()
    with pytest.raises(bm.MixError, match="'union', 'heavier' or 'own'"):
        PaddingMask("NT", rule="both")


def test_complex_numbers_are_no_mask():
    with pytest.raises(bm.MixError, match="not 0 or 1"):
        PaddingMask("NT")(MASK.astype(complex), plan_of(CutMix()))


@pytest.mark.parametrize("inplace", [False, True])
def test_embeddings_and_their_mask_in_a_batch(xp, inplace):
    """Where a row is padded its embeddings are 0, and stay 0 where nothing that is seen is."""
    x = np.random.default_rng(0).standard_normal((B, T, 4)) * MASK[..., None]
    batch = {
        "x": xp.array(x, "float32"), "mask": xp.array(MASK, "int64"), "y": xp.ids(np.arange(B)),
    }  # fmt: skip
    fields = {"x": Grid("NTC"), "mask": PaddingMask("NT"), "y": Labels(B)}
    for policy in (MixUp(1.0), CutMix()):
        mixer = bm.Mixer(policy, fields, seed=3, inplace=inplace)
        plan = mixer.but().draw(batch)
        given = {name: xp.copy(value) for name, value in batch.items()}
        mixed = mixer(given)
        np.testing.assert_array_equal(xp.numpy(given["mask"]), MASK)  # never written to
        content = abs(xp.numpy(mixed["x"])).sum(2) > 0
        np.testing.assert_array_equal(xp.numpy(mixed["mask"]), content)
        np.testing.assert_allclose(xp.numpy(mixed["y"]).sum(1), 1, atol=1e-6)
        assert plan.size == (T,)


def test_in_a_compiled_step(xp):
    if xp.compiled is None:
        pytest.skip("no compiler of this framework in the test")
    for rule in ("union", "heavier", "own"):
        field = PaddingMask("NT", rule)
        for policy in (MixUp(1.0), Layers([CutMix(), CutMix()])):
            plan = plan_of(policy)
            found = xp.compiled(field)(xp.array(MASK, "bool"), plan)
            np.testing.assert_array_equal(xp.numpy(found), field(MASK, plan))


def test_one_graph_of_torch():
    torch = pytest.importorskip("torch")

    torch._dynamo.reset()
    fields = [PaddingMask("NT", rule) for rule in ("union", "heavier", "own")]
    compiled = torch.compile(
        lambda mask, plan: [field(mask, plan) for field in fields], backend="aot_eager",
        fullgraph=True,
    )  # fmt: skip
    for policy in (MixUp(1.0), CutMix(), Layers([CutMix(), CutMix()])):
        found = compiled(torch.tensor(MASK), plan_of(policy))
        for field, mask in zip(fields, found):
            np.testing.assert_array_equal(mask.numpy(), field(MASK, plan_of(policy)))


@given(plans(exact=False), st.integers(0, 99))
@settings(max_examples=EXAMPLES)
def test_any_plan(plan, seed):
    """What is blended, pasted, stretched: content shows where the mask says so."""
    mask = np.random.default_rng(seed).random((len(plan), *plan.size)) < 0.5
    layout = "N" + plan.axes
    for each in (plan, plan.then(plan)):
        found = PaddingMask(layout)(mask, each)
        assert found.dtype == bool
        shown = bm.mix(mask.astype(np.float32), each, layout) > 0
        np.testing.assert_array_equal(found, shown)
        np.testing.assert_array_equal(found, oracle.mix(mask.astype(float), each, layout) > 0)
