"""Columns of a table: categories are chosen, numbers are blended, and the label counts both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Features, Labels, Targets
from batchmix.policies import Columns, MixUp, Sometimes, Switch
from checks import EXAMPLES

B = 4000
MIXED = [0, (3, 4, 5), 7]
WHOLE = [0, 3, 4, 5, 7]
NUMBERS = [1, 2, 6]


def drawn(policy, batch=B, columns=8):
    return bm.draw(policy, bm.Key(2), batch, {"C": columns})


@pytest.mark.parametrize("policy", [Columns(0.3, MIXED), Columns(categorical=MIXED, alpha=0.7)])
def test_categories_are_chosen_and_numbers_are_blended(policy):
    mask = drawn(policy).mask
    assert set(np.unique(mask[:, WHOLE])) == {0, 1}
    np.testing.assert_array_equal(mask[:, 3], mask[:, 4])
    np.testing.assert_array_equal(mask[:, 3], mask[:, 5])
    share = mask[:, NUMBERS]
    assert (share == share[:, :1]).all()
    np.testing.assert_array_equal(share * 4096 % 1, 0)
    coins = mask[:, [0, 3, 7]]
    assert coins.mean(0) == pytest.approx(share.mean(), abs=0.03)
    # given the share of a row, each group is chosen with that probability, and on its own
    for low in (0, 0.25, 0.5, 0.75):
        rows = (share[:, 0] >= low) & (share[:, 0] < low + 0.25)
        if rows.sum() > 400:
            assert coins[rows].mean() == pytest.approx(share[rows].mean(), abs=0.04)
    rest = coins - share[:, :1]
    correlation = np.corrcoef(rest.T)[~np.eye(3, dtype=bool)]
    assert np.abs(correlation).max() < 0.06


def test_the_share_of_a_row_is_that_of_mixup():
    """Of numbers alone it is MixUp, draw for draw."""
    policy = Columns(categorical=(), alpha=0.4)
    np.testing.assert_array_equal(drawn(policy).lam, drawn(MixUp(0.4)).lam)
    mask = drawn(Columns(alpha=0.4)).mask
    lam, width = drawn(Columns(categorical=(), alpha=0.4)).lam, 400
    wide = drawn(Columns(alpha=0.4), columns=width)
    assert mask.dtype == np.uint8
    np.testing.assert_allclose(wide.lam, lam, atol=5 * 0.5 / width**0.5)


def test_without_more_it_is_what_it_was():
    """A seed of an earlier run replays."""
    np.testing.assert_array_equal(drawn(Columns(0.3)).mask, drawn(Columns(0.3, None)).mask)
    every = drawn(Columns(0.3, categorical=range(8)))
    np.testing.assert_array_equal(every.mask, drawn(Columns(0.3)).mask / 255)
    np.testing.assert_array_equal(every.lam, drawn(Columns(0.3)).lam)


def test_a_table_by_counting(xp):
    """Each cell says whose it is; labels and targets are counted from the cells."""
    rows, columns = 12, 8
    table = np.tile(np.arange(rows)[:, None], (1, columns)).astype(np.float32)
    policy = Columns(categorical=MIXED, alpha=1.0)
    fields = {0: Features("NC"), 1: Labels(rows), 2: Targets()}
    mixer = bm.Mixer(policy, fields, axes="C", seed=1)
    batch = (
        xp.array(table, "float32"),
        xp.ids(np.arange(rows)),
        xp.array(np.arange(rows), "float32"),
    )
    plan = mixer.but().draw(batch)
    mixed, soft, target = map(xp.numpy, mixer(batch))
    for row, partner in enumerate(plan.partner):
        theirs = (mixed[row] - row) / (partner - row)  # share of the partner, cell by cell
        assert set(theirs[WHOLE].round(5)) <= {0, 1}
        assert soft[row, partner] == pytest.approx(theirs.mean(), abs=1e-5)
        assert soft[row, row] == pytest.approx(1 - theirs.mean(), abs=1e-5)
        assert target[row] == pytest.approx(mixed[row].mean(), abs=1e-4)
    np.testing.assert_allclose(plan.lam, oracle.lam(plan), atol=1e-6)


def test_one_hot_columns_stay_one_hot():
    rng = np.random.default_rng(0)
    table = np.concatenate([np.eye(3)[rng.integers(0, 3, 50)], rng.normal(size=(50, 2))], 1)
    plan = bm.draw(Columns(0.5, [range(3)]), bm.Key(0), 50, {"C": 5})
    mixed = bm.mix(table, plan, "NC")
    np.testing.assert_array_equal(np.sort(mixed[:, :3]), [[0, 0, 1]] * 50)
    assert (plan.mask[:, :3].mean(1) % 1 == 0).all()


def test_beside_other_policies():
    plan = drawn(Switch([Columns(0.3), Columns(0.5, MIXED), Sometimes(MixUp(1.0), 0.5)]), 60)
    np.testing.assert_allclose(plan.lam, oracle.lam(plan), atol=1e-6)
    assert {0, 1, 2} <= set(plan.kind.tolist())


def test_columns_weigh_what_they_tell():
    """FEAT-MIX of ExcelFormer: the label is the share of importance that was kept."""
    importance = np.array([4.0, 1, 1, 1, 1])
    plan = bm.draw(Columns(alpha=0.5), bm.Key(0), 100, {"C": 5})
    told = plan.relabel(np.tile(importance, (100, 1)))
    kept = 1 - plan.mask / 255
    np.testing.assert_allclose(told.label_lam, (kept * importance).sum(1) / 8, atol=1e-6)
    np.testing.assert_array_equal(told.lam, plan.lam)


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.integers(0, n - 1), unique=True), st.integers(0, 5),
            st.sampled_from([None, 0.2, 1.0]), st.integers(0, 99),
        )
    )
)  # fmt: skip
@settings(max_examples=EXAMPLES)
def test_any_columns(case):
    columns, categorical, batch, alpha, seed = case
    policy = Columns(categorical=categorical, alpha=alpha)
    plan = bm.draw(policy, bm.Key(seed), batch, {"C": columns})
    assert hash(policy) == hash(Columns(categorical=tuple(categorical), alpha=alpha))
    assert np.isin(plan.mask[:, categorical], (0, 1)).all()
    rest = np.delete(plan.mask, categorical, 1)
    assert (rest == rest[:, :1]).all()
    share = plan.mask.mean(1, dtype=float)
    alone = plan.partner == np.arange(batch)
    np.testing.assert_allclose(plan.lam, np.where(alone, 1, 1 - share), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"categorical": 3}, "got categorical=3"),
        ({"categorical": "ab"}, "got categorical='ab'"),
        ({"categorical": [0, 0]}, "none twice"),
        ({"categorical": [0, (1, 0)]}, "none twice"),
        ({"categorical": [()]}, "places of columns"),
        ({"categorical": [-1]}, "places of columns"),
        ({"categorical": [True]}, "places of columns"),
        ({"categorical": [1.5]}, "places of columns"),
        ({"alpha": 0}, "got alpha=0"),
        ({"prob": 0.5, "alpha": 1.0}, "Leave one of them out"),
    ],
)
def test_what_does_not_fit_is_said(options, says):
    with pytest.raises(bm.MixError, match=says.replace("(", r"\(")):
        Columns(**options)


def test_a_column_that_is_not_there():
    with pytest.raises(bm.MixError, match="the draw has 8 columns, and column 8"):
        drawn(Columns(categorical=[(7, 8)]))
    assert Columns(categorical=np.array([1, 2])) == Columns(categorical=[1, 2])


def test_a_place_that_no_table_has():
    with pytest.raises(bm.MixError, match="none twice"):
        Columns(categorical=[2**70])
