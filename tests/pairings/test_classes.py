"""SameClass, OtherClass and Balanced: what they draw, and what rows get that find nobody."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import batchmix as bm
from batchmix.pairing import Balanced, Other, OtherClass, SameClass, Within
from batchmix.policies import MixUp

PAIRINGS = [SameClass(), OtherClass(), Balanced(), Balanced([0.5, 0.25, 0.25])]
GOLDEN = ["6091a0663e5a8f33", "4a89d074ad3af32a", "e9bc221b32f8b419", "f5758d42ecabfa24"]


def drawn(pairing, y, step=0, other=None):
    """The plan's partners, which is what a user gets."""
    hints = {"label": np.asarray(y)}
    pool = None if other is None else Other(len(other), {"label": np.asarray(other)})
    key = bm.Key(0, 0, step)
    plan = bm.draw(MixUp(1.0), key, len(y), {}, pairing=pairing, hints=hints, other=pool)
    return plan.partner


def rates(pairing, y, count=3000, other=None):
    """Counts [B, rows of the pool] over many keys."""
    seen = np.zeros((len(y), len(y if other is None else other)), int)
    for step in range(count):
        seen[np.arange(len(y)), drawn(pairing, y, step, other)] += 1
    return seen


def assert_rates(seen, shares):
    """Pearson's statistic of each row, at a level of one in a thousand over all."""
    assert (seen[shares == 0] == 0).all()
    for row, share in zip(seen, shares):
        some = share > 0
        if some.sum() > 1:
            expected = share[some] * row.sum()
            assert stats.chisquare(row[some], expected).pvalue > 1e-3 / len(seen)


LONG_TAIL = [0, 0, 0, 0, 1, 1, 2, 0]


def test_same_class_is_uniform_over_the_others_of_the_class():
    y = np.array(LONG_TAIL)
    same = (y[:, None] == y) & ~np.eye(len(y), dtype=bool)
    same[6, 6] = True  # alone in its class
    assert_rates(rates(SameClass(), y), same / same.sum(1, keepdims=True))


def test_other_class_is_uniform_over_the_rows_of_other_classes():
    y = np.array(LONG_TAIL)
    apart = y[:, None] != y
    assert_rates(rates(OtherClass(), y), apart / apart.sum(1, keepdims=True))


def balanced(y, weights, self_too=False):
    """What Balanced is to draw, from its docstring, row by row."""
    shares = np.zeros((len(y), len(y)))
    for i in range(len(y)):
        rest = [j for j in range(len(y)) if self_too or j != i]
        of = {c: [j for j in rest if y[j] == c] for c in {y[j] for j in rest}}
        total = sum(weights[c] for c in of)
        for c, rows in of.items():
            shares[i, rows] = weights[c] / total / len(rows)
    return shares


@pytest.mark.parametrize("weights", [None, [1, 2, 4], [0, 1, 3], [5, 0, 1]])
def test_balanced_draws_the_class_first(weights):
    want = balanced(LONG_TAIL, weights or [1, 1, 1])
    assert_rates(rates(Balanced(weights), LONG_TAIL), want)


def test_from_another_batch_no_row_is_left_out():
    mine, theirs = [0, 1, 2], [2, 0, 0, 1, 1, 1]
    y = np.array(theirs)
    same = (np.array(mine)[:, None] == y).astype(float)
    assert_rates(rates(SameClass(), mine, other=theirs), same / same.sum(1, keepdims=True))
    assert_rates(rates(OtherClass(), mine, other=theirs), (1 - same) / (6 - same.sum(1))[:, None])
    want = balanced(theirs, [1, 2, 4], self_too=True)[:1].repeat(3, 0)
    assert_rates(rates(Balanced([1, 2, 4]), mine, other=theirs), want)


@pytest.mark.parametrize("pairing", [SameClass(), OtherClass()])
def test_nobody_of_the_class_in_another_batch_gives_any_row(pairing):
    mine = [0, 0] if isinstance(pairing, SameClass) else [7, 7]
    assert_rates(rates(pairing, mine, other=[7, 7, 7]), np.full((2, 3), 1 / 3))


def test_each_row_of_another_batch_is_used_about_equally_often():
    partner = drawn(SameClass(), [0] * 10 + [1] * 5, other=[0, 1, 0, 1, 0])
    assert sorted(np.bincount(partner).tolist()) == [2, 3, 3, 3, 4]
    assert sorted(drawn(SameClass(), [3] * 8, other=[3] * 8).tolist()) == list(range(8))


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_no_row_and_of_one(pairing, batch):
    assert drawn(pairing, np.zeros(batch, int)).tolist() == list(range(batch))
    assert drawn(pairing, np.zeros(batch, int), other=[1, 1]).shape == (batch,)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_another_batch_of_no_rows_is_refused(pairing):
    with pytest.raises(bm.MixError):
        drawn(pairing, [0, 1], other=np.zeros(0, int))


@pytest.mark.parametrize("pairing", PAIRINGS[1:])
def test_where_nobody_can_be_drawn_rows_are_left_as_they_are(pairing):
    if isinstance(pairing, Balanced):
        pairing = Balanced([0, 1])
    y = np.zeros(4, int)
    plan = bm.draw(MixUp(1.0), bm.Key(0), 4, {}, pairing=pairing, hints={"label": y})
    assert plan.partner.tolist() == [0, 1, 2, 3]
    assert plan.lam.tolist() == [1, 1, 1, 1]
    assert drawn(pairing, y, other=y).max() < 4


labels = st.lists(st.integers(0, 4), max_size=12)


@given(labels, st.integers(0, 99))
def test_same_class_is_a_permutation_within_classes(y, step):
    y = np.array(y, int)
    partner = drawn(SameClass(), y, step)
    assert sorted(partner.tolist()) == list(range(len(y)))
    np.testing.assert_array_equal(y[partner], y)
    alone = (y[:, None] == y).sum(1) == 1
    np.testing.assert_array_equal(partner == np.arange(len(y)), alone)


@given(labels, st.integers(0, 99))
def test_other_class_is_of_another_one_where_there_is_one(y, step):
    y = np.array(y, int)
    partner = drawn(OtherClass(), y, step)
    if len(set(y.tolist())) > 1:
        assert (y[partner] != y).all()
    else:
        np.testing.assert_array_equal(partner, np.arange(len(y)))


@given(labels, labels.filter(len), st.integers(0, 99))
def test_partners_are_rows_of_the_other_batch(y, others, step):
    y, others = np.array(y, int), np.array(others)
    same, apart = (drawn(p, y, step, others) for p in (SameClass(), OtherClass()))
    there = (y[:, None] == others).any(1)
    np.testing.assert_array_equal(others[same][there], y[there])
    there = (y[:, None] != others).any(1)
    assert (others[apart] != y)[there].all()
    assert drawn(Balanced(), y, step, others).max(initial=0) < len(others)


@given(labels.filter(lambda y: len(y) > 1), st.integers(0, 99))
def test_balanced_never_takes_the_row_itself_where_it_has_a_choice(y, step):
    assert (drawn(Balanced(), y, step) != np.arange(len(y))).all()


def test_probabilities_count_by_their_largest():
    y = np.array(LONG_TAIL)
    soft = 0.2 * np.random.default_rng(0).random((8, 3)) + np.eye(3)[y]
    for pairing in PAIRINGS:
        np.testing.assert_array_equal(drawn(pairing, soft), drawn(pairing, y))


def test_within_groups_the_labels_of_each_are_read():
    y = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    pairing = Within(2, OtherClass())
    assert pairing.reads == ("label",)
    partner = drawn(pairing, y)
    assert (y[partner] != y).all()
    np.testing.assert_array_equal(partner // 4, np.arange(8) // 4)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_label_that_says_no_class_is_refused(pairing):
    for label in (
        np.zeros(3),
        np.zeros((3, 1), int),
        np.zeros((3, 2, 2)),
        np.array(["a", "b", "c"]),
        np.array([[0.1, 0.9], [np.nan, 1], [1, 0]]),
    ):
        with pytest.raises(bm.MixError, match="'label'"):
            drawn(pairing, label)
    with pytest.raises(bm.MixError, match="reads 'label'"):
        bm.draw(MixUp(), bm.Key(0), 3, {}, pairing=pairing)


@pytest.mark.parametrize(
    "weights", [[], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1], "ab", 3, [[1, 2]], {"a": 1}]
)
def test_weights_that_are_no_weights(weights):
    with pytest.raises(bm.MixError, match="Balanced"):
        Balanced(weights)


@pytest.mark.parametrize("y", [[0, 3], [-1, 1]])
def test_labels_beyond_the_weights(y):
    with pytest.raises(bm.MixError, match="3 weights"):
        drawn(Balanced([1, 1, 1]), y)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_they_are_values(pairing):
    assert pickle.loads(pickle.dumps(pairing)) == pairing == eval(repr(pairing))
    assert hash(pairing) == hash(pickle.loads(pickle.dumps(pairing)))


def digest(pairing):
    """Of partners at one key, within a batch and from another."""
    y = np.arange(65) ** 2 % 11
    weighted = pairing if pairing != PAIRINGS[3] else Balanced(range(1, 12))
    found = [drawn(weighted, y, 3), drawn(weighted, y, 3, other=y[:40])]
    return hashlib.sha256(np.concatenate(found).astype("<i4").tobytes()).hexdigest()[:16]


def test_streams_are_frozen():
    assert [digest(pairing) for pairing in PAIRINGS] == GOLDEN
