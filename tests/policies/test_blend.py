"""Blend: the whole grid, at a share of the row from a range."""

import numpy as np
import pytest
from scipy import stats

import batchmix as bm
from batchmix.policies import Blend, MixUp, PerBatch


def lam(policy, rows=4000, step=0):
    return bm.draw(policy, bm.Key(1, 0, step), rows, {"H": 4, "W": 4}).lam


@pytest.mark.parametrize(("low", "high"), [(0.45, 0.55), (0, 1), (0.2, 0.21), (0.7, 0.7)])
def test_shares_are_uniform_in_the_range(low, high):
    found = lam(Blend(low, high))
    assert found.min() >= low - 1 / 8192
    assert found.max() <= high + 1 / 8192
    if high - low > 0.05:  # opacities are multiples of 1/4096
        assert stats.kstest(found, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_from_0_to_1_it_is_mixup_of_alpha_1():
    np.testing.assert_array_equal(lam(Blend(0, 1)), lam(MixUp(1.0)))


def test_all_of_the_partner_and_all_of_the_row():
    x = np.random.default_rng(0).random((6, 3, 8, 8), np.float32)
    x[2] = np.nan
    size = {"H": 8, "W": 8}
    own, theirs = (bm.draw(Blend(s, s), bm.Key(0), 6, size) for s in (1, 0))
    np.testing.assert_array_equal(bm.mix(x, own, "NCHW"), x)
    np.testing.assert_array_equal(bm.mix(x, theirs, "NCHW"), x[theirs.partner])
    assert own.lam.tolist() == [1] * 6
    assert theirs.lam.tolist() == [0] * 6


def test_per_batch_and_on_any_axes():
    assert len({*lam(PerBatch(Blend()), 9).tolist()}) == 1
    for size in ({}, {"T": 9}, {"D": 3, "H": 4, "W": 5}):
        assert np.abs(bm.draw(Blend(), bm.Key(0), 8, size).lam - 0.5).max() <= 0.0501


@pytest.mark.parametrize(
    ("low", "high"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), ("a", 1), (0, None), (float("nan"), 1)]
)
def test_what_is_no_range_is_refused(low, high):
    with pytest.raises(bm.MixError, match="0 <= low <= high <= 1"):
        Blend(low, high)
