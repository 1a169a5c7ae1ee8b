"""What is counted over many plans, against what is known of the distributions."""

import numpy as np
import pytest

import batchmix as bm
from batchmix.pairing import Permutation
from batchmix.policies import CutMix, MixUp, PerBatch, Sometimes, Switch

SIZE = {"H": 32, "W": 32}


def test_clipped_cutmix_pastes_031_and_inside_pastes_half():
    assert bm.stats(CutMix(1.0), {"H": 224, "W": 224}).pasted == pytest.approx(0.321, abs=0.005)
    assert bm.stats(CutMix(1.0), SIZE).pasted == pytest.approx(0.31, abs=0.005)
    inside = bm.stats(CutMix(1.0, placement="inside"), SIZE)
    assert inside.pasted == pytest.approx(0.5, abs=0.005)


def test_small_images_have_empty_boxes():
    found = bm.stats(CutMix(0.2), {"H": 8, "W": 8})
    # a side of floor(8 sqrt(1 - lam)) cells is 0 where 1 - lam < 1 / 64
    share = np.random.default_rng(0).beta(0.2, 0.2, 10**6) < 1 / 64
    assert found.empty == pytest.approx(share.mean(), abs=0.006)
    assert found.unmixed == found.empty
    assert 0.3 < found.unmixed + found.nearly < 0.33
    assert found.alone == found.self_pairs == 0


def test_shares_are_those_of_the_plans():
    policy = Switch([MixUp(0.3), CutMix(0.5)])
    found = bm.stats(policy, SIZE, batch=16, batches=20, seed=3, epoch=2, pairing=Permutation())
    plans = [bm.draw(policy, bm.Key(3, 2, k), 16, SIZE, pairing=Permutation()) for k in range(20)]
    assert (found.lam == np.concatenate([plan.lam for plan in plans])).all()
    own = np.mean([plan.partner == np.arange(16) for plan in plans])
    assert found.self_pairs == own > 0
    assert found.unmixed == pytest.approx((found.lam == 1).mean())
    assert found.pasted == pytest.approx(1 - found.lam.mean(), abs=1e-6)


def test_rows_left_alone_are_not_empty_boxes():
    found = bm.stats(Sometimes(CutMix(1.0), 0.25), SIZE)
    assert found.alone == pytest.approx(0.75, abs=0.01)
    assert found.empty < 0.01
    nothing = bm.stats(None, SIZE, batches=2)
    assert (nothing.pasted, nothing.unmixed, nothing.alone, nothing.nearly) == (0, 1, 1, 0)


def test_own_partners_of_a_permutation():
    assert bm.stats(MixUp(1.0), {}, batch=2, pairing=Permutation()).self_pairs == pytest.approx(
        0.5, abs=0.05
    )
    assert bm.stats(MixUp(1.0), {}, batch=8, pairing=Permutation()).self_pairs == pytest.approx(
        1 / 8, abs=0.02
    )


def test_margin_counts_both_ends():
    found = bm.stats(MixUp(0.2), {}, margin=0.1)
    lam = found.lam
    assert found.nearly == pytest.approx(((lam < 0.1) | ((lam > 0.9) & (lam < 1))).mean())
    assert bm.stats(MixUp(0.2), {}, margin=0).nearly == 0


def test_one_draw_per_batch_has_the_same_distribution():
    shared, own = (bm.stats(p, SIZE, batches=4096) for p in (PerBatch(CutMix()), CutMix()))
    assert shared.pasted == pytest.approx(own.pasted, abs=0.015)


def test_histogram_and_picture():
    found = bm.stats(MixUp(1.0), {}, batches=64)
    shares = found.histogram(10)
    assert shares.sum() == pytest.approx(1)
    assert (abs(shares - 0.1) < 0.02).all()  # Beta(1, 1) is uniform
    assert len(found.sparkline(10)) == 10
    assert bm.stats(None, {}, batches=1).sparkline(4) == "   █"
    assert "partner's weight 0.5" in repr(found)
    assert found.quantiles(0.5)[0] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch=0"),
        ({"batches": 0}, "batches=0"),
        ({"batch": 1.5}, "batch=1.5"),
        ({"margin": 0.6}, "margin=0.6"),
        ({"seed": -1}, "a key is Key"),
    ],
)
def test_numbers_out_of_range_are_refused(options, says):
    with pytest.raises(bm.MixError, match=f"(?i){says}"):
        bm.stats(MixUp(), {}, **options)
