"""`mix` against the oracle: every policy, pairing, layout, dtype and batch size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix._mix import mix_ids
from checks import (
    DTYPES,
    EXAMPLES,
    LAYOUTS,
    PAIRINGS,
    POLICIES,
    ROUTES,
    SWITCH,
    assert_mixed,
    assert_written,
    plans,
    sizes,
    taken,
    values,
)
from conftest import ASKED, MAKERS


def drawn(policy, batch, layout, pairing=PAIRINGS["derangement"], step=0):
    """A plan for a layout."""
    return bm.draw(policy, bm.Key(7, 1, step), batch, sizes(layout), pairing=pairing)


@pytest.fixture(params=ROUTES)
def route(request):
    """Each of the routes."""
    with taken(request.param):
        yield request.param


def assert_on_all_routes(xp, x, plan, layout, dtype):
    """`mix` is what the oracle says; input is left alone; in place gives the same."""
    given = xp.array(x, dtype)
    before, exact = xp.copy(given), oracle.mix(xp.numpy(given), plan, layout)
    for route in ROUTES:
        with taken(route):
            got, in_place = bm.mix(given, plan, layout), xp.copy(given)
            assert_written(xp, lambda out: bm.mix(out, plan, layout, out=out), in_place, got)
        assert xp.dtype(got) == xp.dtype(given) == dtype
        assert type(got) is type(given)
        assert_mixed(xp.numpy(got), xp.numpy(given), plan, layout, dtype, exact=exact)
        np.testing.assert_array_equal(xp.numpy(given), xp.numpy(before))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_and_pairing(xp, policy):
    # PerPair needs mutual partners; test_policies has what happens with others
    pairings = PAIRINGS if policy != "per pair" else {"reverse": PAIRINGS["reverse"]}
    for step, pairing in enumerate(pairings.values()):
        for batch in (2, 5):
            plan = drawn(POLICIES[policy], batch, "NCHW", pairing, step)
            x = values(np.random.default_rng(step), batch, "NCHW", "float32")
            assert_on_all_routes(xp, x, plan, "NCHW", "float32")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_dtype(xp, layout):
    policy = SWITCH if LAYOUTS[layout][1] else POLICIES["mixup"]
    for k, dtype in enumerate(DTYPES):
        # where each shape is compiled, the small batches in turns
        for batch in (k % 3, 5) if xp.compiled else (0, 1, 2, 5):
            x = values(np.random.default_rng(batch), batch, layout, dtype)
            assert_on_all_routes(xp, x, drawn(policy, batch, layout, step=batch), layout, dtype)


@settings(max_examples=EXAMPLES)
@given(
    plan=plans(),
    route=st.sampled_from(ROUTES),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("name", ASKED)
def test_any_plan(name, plan, route, dtype, seed):
    """Hand-made plans: several rows of one partner, masks, stretched sources."""
    xp = MAKERS[name]()
    layout = "NC" + plan.axes
    rng = np.random.default_rng(seed)
    shape = (len(plan), 2, *plan.size)
    x = rng.integers(0, 256, shape) if dtype in ("uint8", "int16") else rng.standard_normal(shape)
    given, other = xp.array(x, dtype), xp.array(x[::-1], dtype)
    with taken(route):
        got = bm.mix(given, plan, layout)
        two = bm.mix(given, plan, layout, other=other)
        in_place = xp.copy(given)
        assert_written(xp, lambda out: bm.mix(out, plan, layout, out=out), in_place, got)
    assert_mixed(xp.numpy(got), xp.numpy(given), plan, layout, dtype)
    assert_mixed(xp.numpy(two), xp.numpy(given), plan, layout, dtype, xp.numpy(other))


# the largest constant that leaves room for 1/4096 steps, and what rounding to the dtype may add
CONSTANT = {"uint8": (255, 0.5 / 255), "int16": (16384, 1e-6), "float16": (64, 2**-11)}
CONSTANT |= {"bfloat16": (64, 2**-8), "float32": (64, 1e-6), "float64": (64, 1e-7)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_match_pixels(xp, layout):
    """The label weight of each class is the measured share of its pixels."""
    batch, policies = 5, ["mixup", "cutmix", "cutmix minmax", "switch", "per batch"]
    for k, (dtype, route) in enumerate(itertools.product(DTYPES, ROUTES)):
        policy = policies[k % 5] if LAYOUTS[layout][1] else "mixup"  # a box needs an axis
        (constant, step), plan = CONSTANT[dtype], drawn(POLICIES[policy], batch, layout, step=k)
        soft = xp.numpy(bm.mix_labels(xp.ids(range(batch)), plan, batch))
        shares = np.zeros((batch, batch))
        for label in range(batch):  # image `label` is bright, all others 0: count what is left
            x = np.zeros((batch, *LAYOUTS[layout][0]))
            x[label] = constant
            with taken(route):
                mixed = xp.numpy(bm.mix(xp.array(x, dtype), plan, layout))
            shares[:, label] = mixed.reshape(batch, -1).mean(1) / constant
        np.testing.assert_allclose(soft, shares, atol=step)
        np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)


def test_nan_and_inf_stay_where_they_are(xp, route):
    """Opacity 1 is a copy, 0 leaves the row alone: neither is a product with the other row."""
    x = np.ones((4, 3, 6, 6))
    x[0], x[2] = np.nan, np.inf
    box = [[[0, 3], [0, 6]], [[0, 6], [0, 6]], [[0, 6], [0, 6]], [[2, 2], [0, 6]]]
    plan = bm.Plan([1, 1, 3, 0], box, [1, 1, 1, 1], "HW", (6, 6))
    got = xp.numpy(bm.mix(xp.array(x, "float32"), plan, "NCHW"))
    assert np.isnan(got[0, :, 3:]).all()
    assert (got[0, :, :3] == 1).all()
    assert (got[1:] == 1).all()


def test_a_mask_of_zeros_and_ones_copies(xp, route):
    x = np.full((2, 1, 2, 2), np.nan)
    x[1] = 5
    mask = np.array([[[1, 0], [0, 1]]] * 2)
    plan = bm.Plan([1, 1], [[[0, 2], [0, 2]]] * 2, [1, 1], "HW", (2, 2), mask=mask)
    got = xp.numpy(bm.mix(xp.array(x, "float32"), plan, "NCHW"))[0, 0]
    assert np.isnan(got).tolist() == [[False, True], [True, False]]


def test_out_is_written_and_returned(xp, route):
    plan = drawn(SWITCH, 4, "NCHW")
    x = xp.array(values(np.random.default_rng(0), 4, "NCHW", "float32"), "float32")
    want = bm.mix(x, plan, "NCHW")
    assert_written(xp, lambda out: bm.mix(x, plan, "NCHW", out=out), xp.copy(x) * 0, want)


def test_other_gives_the_partners(xp, route):
    """Two streams: own content from the first batch, partners from the second."""
    plan = drawn(SWITCH, 5, "NHWC")
    rng = np.random.default_rng(0)
    one, two = (values(rng, 5, "NHWC", "float32") for _ in range(2))
    a, b = xp.array(one, "float32"), xp.array(two, "float32")
    got = bm.mix(a, plan, "NHWC", other=b)
    assert_mixed(xp.numpy(got), xp.numpy(a), plan, "NHWC", "float32", xp.numpy(b))
    assert_written(xp, lambda out: bm.mix(out, plan, "NHWC", other=b, out=out), a, got)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_row_that_is_its_own_partner_is_left_alone(xp, route, batch):
    """Also where partners come from another batch: the label says lam = 1, and so do the pixels."""
    x, y = (xp.array(np.full((batch, 2, 5, 7), v), "float32") for v in (1, 2))
    plan = bm.Plan(range(batch), [[[0, 5], [0, 7]]] * batch, [0.5] * batch, "HW", (5, 7))
    for other in (None, y):
        got = bm.mix(x, plan, "NCHW", other=other)
        np.testing.assert_array_equal(xp.numpy(got), xp.numpy(x))
    assert (plan.lam == 1).all()


def test_mask_axes_in_another_order(xp, route):
    """The plan's axes need not come in the order of the layout."""
    rng = np.random.default_rng(0)
    mask = rng.random((2, 3, 5))
    plan = bm.Plan([1, 0], [[[0, 3], [1, 5]]] * 2, [0.5, 1], "WH", (3, 5), mask=mask)
    x = rng.standard_normal((2, 2, 5, 3))
    got = bm.mix(xp.array(x, "float64"), plan, "NCHW")
    assert_mixed(xp.numpy(got), x, plan, "NCHW", "float64")


def test_plan_arrays_in_any_memory_order(xp, route):
    """Boxes and masks that lie in memory by columns, of other dtypes too."""
    rng = np.random.default_rng(0)
    box = np.stack([np.sort(rng.integers(0, n + 1, (4, 2)), 1) for n in (5, 7)], 1)
    mask = rng.random((4, 5, 7)).astype(np.float32)
    x = xp.array(rng.standard_normal((4, 2, 5, 7)), "float64")
    for masked in (None, mask):
        plan = bm.Plan([1, 2, 3, 0], box, [0.5] * 4, "HW", (5, 7), mask=masked)
        by_column = bm.Plan(
            np.array([0, 3, 2, 1])[::-1],
            np.asfortranarray(box),
            [0.5] * 4,
            "HW",
            (5, 7),
            mask=None if masked is None else np.asfortranarray(masked),
        )
        np.testing.assert_array_equal(by_column.partner, plan.partner)
        want, got = bm.mix(x, plan, "NCHW"), bm.mix(x, by_column, "NCHW")
        np.testing.assert_array_equal(xp.numpy(got), xp.numpy(want))


def test_memory_order_is_kept(route):
    plan = drawn(SWITCH, 4, "NCHW")
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((4, 2, 5, 7)))
    assert bm.mix(x, plan, "NCHW").strides == x.strides
    x.flags.writeable = False  # read-only input is fine: it is not written to
    bm.mix(x, plan, "NCHW")


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_ids_are_chosen_never_averaged(xp, route, dtype):
    mask = np.random.default_rng(0).choice([0.2, 0.5, 0.9], (2, 6, 6)).astype(np.float32)
    box = [[[0, 6], [0, 6]], [[1, 5], [2, 6]]]
    x = np.zeros((2, 6, 6), int)
    x[1] = 1
    for plan in (
        bm.Plan([1, 0], box, [0.75, 0.5], "HW", (6, 6)),
        bm.Plan([1, 0], box, [0.75, 1], "HW", (6, 6), mask=mask),
    ):
        got = mix_ids(xp.array(x, dtype), plan, "NHW")
        assert xp.dtype(got) == dtype
        np.testing.assert_array_equal(xp.numpy(got), oracle_ids(x, plan))


def test_ids_of_another_stream(xp, route):
    plan = bm.Plan([1, 0], [[[0, 2]], [[1, 3]]], [1, 0.75], "T", (3,))
    x, other = xp.ids([[1, 2, 3], [4, 5, 6]]), xp.ids([[7, 8, 9], [10, 11, 12]])
    got = mix_ids(x, plan, "NT", other=other)
    assert xp.numpy(got).tolist() == [[10, 11, 3], [4, 8, 9]]
    assert_written(xp, lambda out: mix_ids(x, plan, "NT", other=other, out=out), xp.copy(x), got)


def oracle_ids(x, plan):
    """Cell by cell: the partner's id where its weight is above one half."""
    out = x.copy()
    for row, h, w in np.ndindex(x.shape):
        if oracle.alpha(plan, row, {"H": h, "W": w}) > 0.5:
            out[row, h, w] = x[plan.partner[row], h, w]
    return out


WIDTHS = ["int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64", "complex64"]


@pytest.mark.parametrize("route", ROUTES)
def test_bits_of_ids_of_any_width_are_kept(route):
    """Ids are copied, not read: what is no number, and what would be rounded, stays as it is."""
    rng, shape = np.random.default_rng(0), (4, 6, 6)
    box = [[[0, 6], [0, 6]], [[1, 5], [2, 6]], [[0, 0], [0, 6]], [[0, 6], [3, 4]]]
    mask = rng.random((4, 6, 6))
    for masked in (None, mask):
        plan = bm.Plan([1, 2, 3, 0], box, [1, 0.75, 1, 0.5], "HW", (6, 6), mask=masked)
        weight = plan.opacity[:, None, None] * (1 if masked is None else plan.mask)
        at = np.arange(6)
        for k, ends in enumerate((plan.box[:, 0], plan.box[:, 1])):
            inside = (at >= ends[:, :1]) & (at < ends[:, 1:])
            weight = weight * (inside[:, :, None] if k == 0 else inside[:, None])
        for dtype in WIDTHS:
            item = np.dtype(dtype).itemsize
            x = rng.integers(0, 256, (*shape, item), np.uint8).view(dtype)[..., 0]
            with taken(route):
                got = mix_ids(x, plan, "NHW")
            want = np.where(weight[..., None] > 0.5, x[plan.partner][..., None].view(np.uint8),
                            x[..., None].view(np.uint8))  # fmt: skip
            assert got.dtype == x.dtype
            np.testing.assert_array_equal(got[..., None].view(np.uint8), want, err_msg=dtype)
