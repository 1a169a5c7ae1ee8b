"""ReMix: the published label rule, on the share that is really left."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchmix as bm
from batchmix.pairing import Other, Reverse
from batchmix.policies import (
    ClassMix,
    CutMix,
    Layers,
    MixUp,
    PerBatch,
    PerPair,
    ReMix,
    Sometimes,
    Switch,
)

COUNTS = [900, 300, 100, 99]
HW = {"H": 8, "W": 8}
Y = np.arange(400) % 4


def draw(policy, y=Y, **more):
    return bm.draw(policy, bm.Key(2), len(y), HW, hints={"label": y}, **more)


def published(lam, mine, theirs, counts, kappa=3, tau=0.5):
    """Row by row; lam is the share of the row itself."""
    found = []
    for own, i, j in zip(lam.tolist(), mine, theirs):
        if counts[i] / counts[j] >= kappa and own < tau:
            found.append(0.0)
        elif counts[i] / counts[j] <= 1 / kappa and 1 - own < tau:
            found.append(1.0)
        else:
            found.append(own)
    return np.array(found)


@pytest.mark.parametrize("inner", [MixUp(1.0), CutMix(1.0), Sometimes(CutMix(), 0.5),
                                   Switch([MixUp(), CutMix()]), PerBatch(MixUp(1.0))])  # fmt: skip
def test_the_published_rule(inner):
    plan, plain = draw(ReMix(inner, COUNTS)), draw(inner)
    for name in ("partner", "box", "opacity", "lam", "kind"):
        np.testing.assert_array_equal(getattr(plan, name), getattr(plain, name))
    want = published(plan.lam, Y, Y[plan.partner], COUNTS)
    np.testing.assert_array_equal(plan.label_lam, want.astype(np.float32))
    if not isinstance(inner, PerBatch):
        assert {0.0, 1.0} < set(plan.label_lam.tolist())


def test_at_the_limits_of_the_rule():
    """900 to 300 is three times as much; 300 to 99 is a little more, 300 to 101 a little less."""

    @dataclass(frozen=True)
    class Half:
        def sample(self, request):
            return replace(MixUp(1.0).sample(request), opacity=np.array([0.5, 0.5001, 0.4, 0.6]))

    y = np.array([0, 0, 1, 1])
    plan = draw(ReMix(Half(), [300, 100]), y, pairing=Reverse())
    # opacities as executed: half is not less than tau, and 0.5001 is half on the lattice
    assert plan.label_lam.tolist() == pytest.approx([0.5, 0.5, 1, 0.4], abs=1e-3)
    assert draw(ReMix(Half(), [301, 101]), y, pairing=Reverse()).label_lam[2] < 1


def test_labels_are_mixed_by_it():
    plan = draw(ReMix(MixUp(1.0), COUNTS))
    soft = bm.mix_labels(Y, plan, 4)
    for row, partner in enumerate(plan.partner):
        want = np.zeros(4)
        want[Y[row]] += plan.label_lam[row]
        want[Y[partner]] += 1 - plan.label_lam[row]
        np.testing.assert_allclose(soft[row], want, atol=1e-6)


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=5),
    st.floats(1.01, 50),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_any_counts_and_parameters(counts, kappa, tau, step):
    y = np.random.default_rng(step).integers(0, len(counts), 12)
    policy = ReMix(CutMix(1.0), counts, kappa, tau)
    plan = bm.draw(policy, bm.Key(0, 0, step), 12, HW, hints={"label": y})
    want = published(plan.lam, y, y[plan.partner], counts, kappa, tau)
    other = np.array([counts[i] / counts[j] for i, j in zip(y, y[plan.partner])])
    clear = (np.abs(other / kappa - 1) > 1e-9) & (np.abs(other * kappa - 1) > 1e-9)
    np.testing.assert_allclose(plan.label_lam[clear], want[clear], atol=1e-6)


def test_masks_count_by_what_they_show():
    y, maps = np.array([0, 1]), np.zeros((2, 8, 8), int)
    maps[:, 0, 0] = 1
    hints = {"label": y, "mask": maps}
    policy = ReMix(ClassMix(), [1000, 1])
    assert policy.reads == ("mask", "label")
    for step in range(8):
        plan = bm.draw(policy, bm.Key(0, 0, step), 2, HW, hints=hints, pairing=Reverse())
        want = published(plan.lam, y, y[::-1], [1000, 1])
        np.testing.assert_array_equal(plan.label_lam, want.astype(np.float32))


def test_probabilities_and_another_batch():
    soft = np.eye(4, dtype=np.float32)[Y] * 0.7 + 0.1
    policy = ReMix(MixUp(1.0), COUNTS)
    np.testing.assert_array_equal(draw(policy, soft).label_lam, draw(policy).label_lam)
    theirs = np.array([3, 0])
    plan = draw(policy, other=Other(2, {"label": theirs}))
    want = published(plan.lam, Y, theirs[plan.partner], COUNTS)
    np.testing.assert_array_equal(plan.label_lam, want.astype(np.float32))


def test_inside_of_others():
    plan = draw(Switch([ReMix(MixUp(1.0), COUNTS), CutMix()]))
    cut = plan.kind == 1
    np.testing.assert_array_equal(plan.label_lam[cut], plan.lam[cut])
    want = published(plan.lam, Y, Y[plan.partner], COUNTS)
    np.testing.assert_array_equal(plan.label_lam[~cut], want[~cut].astype(np.float32))
    layered = Layers([ReMix(MixUp(1.0), COUNTS), ReMix(CutMix(), COUNTS)])
    assert draw(layered).above[0].label_lam is not None
    paired = draw(ReMix(PerPair(MixUp(1.0)), COUNTS), pairing=Reverse())
    want = published(paired.lam, Y, Y[paired.partner], COUNTS)
    np.testing.assert_array_equal(paired.label_lam, want.astype(np.float32))
    for shared in (PerPair, PerBatch):  # the rows of a draw have classes of their own
        with pytest.raises(bm.MixError, match="Put it outside: ReMix"):
            draw(shared(ReMix(MixUp(1.0), COUNTS)), pairing=Reverse())
    assert draw(ReMix(MixUp(1.0), COUNTS), np.zeros(0, int)).label_lam.shape == (0,)
    assert draw(ReMix(MixUp(1.0), COUNTS), np.zeros(1, int)).lam.tolist() == [1]


@pytest.mark.parametrize("y", [[0, 4], [-1, 0]])
def test_labels_without_a_count(y):
    with pytest.raises(bm.MixError, match="4 counts"):
        draw(ReMix(MixUp(), COUNTS), np.array(y))


def test_labels_that_are_none():
    with pytest.raises(bm.MixError, match="'label'"):
        draw(ReMix(MixUp(), COUNTS), np.zeros(3))
    with pytest.raises(bm.MixError, match="reads 'label'"):
        bm.draw(ReMix(MixUp(), COUNTS), bm.Key(0), 3, HW)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReMix(MixUp, COUNTS),
        lambda: ReMix(Layers([MixUp(), CutMix()]), COUNTS),
        lambda: ReMix(MixUp(), []),
        lambda: ReMix(MixUp(), [1, 0]),
        lambda: ReMix(MixUp(), [1, np.inf]),
        lambda: ReMix(MixUp(), [1, np.nan]),
        lambda: ReMix(MixUp(), "ab"),
        lambda: ReMix(MixUp(), 5),
        lambda: ReMix(MixUp(), COUNTS, kappa=1),
        lambda: ReMix(MixUp(), COUNTS, kappa=np.nan),
        lambda: ReMix(MixUp(), COUNTS, tau=1.1),
        lambda: ReMix(MixUp(), COUNTS, tau="0.5"),
    ],
)
def test_wrong_parameters(make):
    with pytest.raises(bm.MixError, match="ReMix"):
        make()


def test_it_is_a_value():
    policy = ReMix(CutMix(), np.array(COUNTS), kappa=4)
    assert pickle.loads(pickle.dumps(policy)) == policy == eval(repr(policy))
    assert hash(policy) == hash(ReMix(CutMix(), COUNTS, 4))
