"""The oracle on cases worked out by hand, and that a wrong result is seen by it."""

import numpy as np
import pytest

import batchmix as bm
import oracle
from checks import assert_mixed

X = np.array([[[[0.0, 0], [0, 0]]], [[[8.0, 8], [8, 8]]]])  # two images 2x2
PLAN = bm.Plan([1, 0], [[[0, 1], [0, 2]], [[0, 2], [0, 2]]], [1, 0.25], "HW", (2, 2))


def test_by_hand():
    assert oracle.mix(X, PLAN, "NCHW").tolist() == [[[[8, 8], [0, 0]]], [[[6, 6], [6, 6]]]]
    assert oracle.lam(PLAN).tolist() == [0.5, 0.75]
    assert oracle.labels([0, 1], PLAN, 2).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_mask_by_hand():
    mask = np.array([[[1, 0.5], [0, 1]], [[0, 0], [0, 0]]])
    plan = bm.Plan([1, 0], [[[0, 2], [0, 2]]] * 2, [0.5, 1], "HW", (2, 2), mask=mask)
    assert oracle.mix(X, plan, "NCHW")[0].tolist() == [[[4, 2], [0, 4]]]
    assert oracle.lam(plan).tolist() == [1 - 1.25 / 4, 1]


def test_source_by_hand():
    x = np.array([[0.0, 0, 0, 0], [1, 2, 3, 4]])
    plan = bm.Plan([1, 1], [[[1, 3]]] * 2, [1, 1], "T", (4,), source=[[[0, 4]]] * 2)
    assert oracle.mix(x, plan, "NT").tolist() == [[0, 2, 4, 0], [1, 2, 3, 4]]


@pytest.mark.parametrize("where", [(0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 0, 1)])
def test_a_wrong_pixel_is_seen(where):
    wrong = bm.mix(X, PLAN, "NCHW")
    assert_mixed(wrong, X, PLAN, "NCHW", "float64")
    wrong[where] += 0.01
    with pytest.raises(AssertionError):
        assert_mixed(wrong, X, PLAN, "NCHW", "float64")


def test_a_wrong_plan_is_seen():
    shifted = bm.Plan(PLAN.partner, PLAN.box, [1, 0.5], "HW", (2, 2))
    with pytest.raises(AssertionError):
        assert_mixed(bm.mix(X, shifted, "NCHW"), X, PLAN, "NCHW", "float64")
