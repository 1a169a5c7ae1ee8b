"""Near: C-Mixup's probabilities, at any bandwidth, for any batch."""

import hashlib
import pickle

import numpy as np
import pytest
from scipy import stats

import batchmix as bm
from batchmix.pairing import Near, Other
from batchmix.policies import MixUp


def drawn(pairing, y, step=0, other=None):
    pool = None if other is None else Other(len(other), {"target": np.asarray(other)})
    hints = {"target": np.asarray(y)}
    key = bm.Key(0, 0, step)
    plan = bm.draw(MixUp(2.0), key, len(y), {}, pairing=pairing, hints=hints, other=pool)
    return plan.partner


def published(y, others, bandwidth, leave_out):
    """The paper's probabilities, row by row."""
    shares = np.zeros((len(y), len(others)))
    for i in range(len(y)):
        for j in range(len(others)):
            if not (leave_out and i == j):
                gap = np.sum((np.atleast_1d(y[i]) - np.atleast_1d(others[j])) ** 2)
                shares[i, j] = np.exp(-gap / (2 * bandwidth**2))
    return shares / shares.sum(1, keepdims=True)


Y = np.array([0.0, 0.3, 0.5, 1.1, 4.0])
MANY = np.array([[0.0, 1.0], [0.5, 0.5], [0.4, 1.2], [2.0, 2.0]])


@pytest.mark.parametrize(
    ("y", "other", "bandwidth"),
    [(Y, None, 0.5), (Y, None, 100.0), (Y, Y[:3], 0.5), (MANY, None, 0.7), (MANY, MANY[1:], 2)],
)
def test_partners_follow_the_papers_probabilities(y, other, bandwidth):
    seen = np.zeros((len(y), len(y if other is None else other)))
    for step in range(3000):
        seen[np.arange(len(y)), drawn(Near(bandwidth), y, step, other)] += 1
    shares = published(y, y if other is None else other, bandwidth, leave_out=other is None)
    for row, share in zip(seen, shares):
        often = share > 0.002  # rarer ones are put together
        counts = np.append(row[often], row[~often].sum())
        expected = np.append(share[often], share[~often].sum()) * 3000
        kept = expected > 0
        assert (counts[~kept] == 0).all()
        assert stats.chisquare(counts[kept], expected[kept]).pvalue > 1e-4


@pytest.mark.parametrize("y", [Y[:, None], MANY])
def test_the_authors_code_draws_by_the_same_density(y):
    """There a kernel density around each row, which may draw the row itself; here it does not."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    rates = np.zeros((len(y), len(y)))
    for i in range(len(y)):
        density = neighbors.KernelDensity(kernel="gaussian", bandwidth=0.6).fit(y[i : i + 1])
        rates[i] = np.exp(density.score_samples(y))
    np.fill_diagonal(rates, 0)
    rates /= rates.sum(1, keepdims=True)
    np.testing.assert_allclose(rates, published(y, y, 0.6, leave_out=True), rtol=1e-9)


@pytest.mark.parametrize("bandwidth", [1e-140, 1e-9, 1e-3])
def test_where_all_weights_vanish_the_nearest_is_taken(bandwidth):
    assert drawn(Near(bandwidth), Y).tolist() == [1, 2, 1, 2, 3]
    assert drawn(Near(bandwidth), Y * 1e9).tolist() == [1, 2, 1, 2, 3]
    assert drawn(Near(bandwidth), [7.0, 9.0], other=[0.0, 8.9, 7.5]).tolist() == [2, 1]


def test_of_equally_near_rows_any():
    partners = [drawn(Near(1e-6), [0, 0, 0, 9], step) for step in range(300)]
    assert all((row[:3] != [0, 1, 2]).all() and row[:3].max() < 3 for row in partners)
    assert {row[3] for row in partners} == {0, 1, 2}


def test_targets_far_apart_and_wide_bandwidths_stay_numbers():
    y = np.array([-1e140, 0, 1e140, 1e140])
    assert drawn(Near(1.0), y).tolist()[2:] == [3, 2]
    counts = np.bincount([drawn(Near(1e140), [0.0, 5, 9], step)[0] for step in range(300)])
    assert counts[0] == 0
    assert counts[1:].min() > 100


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_small_batches(batch):
    assert drawn(Near(1.0), np.zeros(batch)).tolist() == [[], [0], [1, 0]][batch]
    assert drawn(Near(1.0), np.zeros(batch), other=[3.0]).tolist() == [0] * batch


def test_blocks_of_rows_are_drawn_as_one(monkeypatch):
    y = np.random.default_rng(0).normal(size=40)
    whole, from_other = drawn(Near(0.1), y), drawn(Near(0.1), y, other=y[::-1])
    monkeypatch.setattr("batchmix.pairing.near._AT_ONCE", 3 * 40)
    np.testing.assert_array_equal(drawn(Near(0.1), y), whole)
    np.testing.assert_array_equal(drawn(Near(0.1), y, other=y[::-1]), from_other)
    assert (whole != np.arange(40)).all()


def test_integers_and_a_column_are_targets_too():
    np.testing.assert_array_equal(drawn(Near(2), [1, 5, 9]), drawn(Near(2.0), [[1.0], [5], [9]]))


@pytest.mark.parametrize("bandwidth", [0, -1, np.nan, np.inf, "1", None, 1e-300, 1e300])
def test_bandwidths_that_are_none(bandwidth):
    with pytest.raises(bm.MixError, match="bandwidth"):
        Near(bandwidth)


@pytest.mark.parametrize(
    "target", [[0.0, np.nan], [0, np.inf], [1e200, 0], ["a", "b"], np.zeros((2, 2, 2)), [1j, 2]]
)
def test_targets_without_distances(target):
    with pytest.raises(bm.MixError, match="'target'"):
        drawn(Near(1.0), target)


def test_another_batch_with_other_targets():
    with pytest.raises(bm.MixError, match="1 numbers, those of the other batch 2"):
        drawn(Near(1.0), Y, other=MANY)
    with pytest.raises(bm.MixError):
        drawn(Near(1.0), Y, other=np.zeros(0))


def test_it_is_a_value():
    assert pickle.loads(pickle.dumps(Near(0.5))) == Near(0.5) == eval(repr(Near(0.5)))


def test_the_stream_is_frozen():
    y = (np.arange(65) ** 2 % 101) / 16  # exact
    found = np.concatenate([drawn(Near(0.5), y, 3), drawn(Near(0.5), y, 3, other=y[:40])])
    assert hashlib.sha256(found.astype("<i4").tobytes()).hexdigest()[:16] == "3777c146c12781b4"
