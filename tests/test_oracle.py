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


def test_a_mask_of_8_bits_and_fewer_cells_by_hand():
    x = np.array([[0.0] * 5, [255.0] * 5])
    plan = bm.Plan(
        [1, 0], [[[0, 5]]] * 2, [1, 0.25], "T", (5,), mask=np.uint8([[51, 255], [0, 255]])
    )
    # the middles of five cells, 1, 3, 5, 7 and 9 tenths: the third is the second cell's already
    assert oracle.mix(x, plan, "NT").tolist() == [
        [51, 51, 255, 255, 255],
        [255, 255] + [191.25] * 3,
    ]
    np.testing.assert_allclose(oracle.lam(plan), [1 - (2 * 0.2 + 3) / 5, 1 - 0.25 * 3 / 5])


def test_bilinear_by_hand():
    x = np.array([[0.0, 0, 0, 0, 0], [0, 8, 24, 5, 5]])
    plan = bm.Plan(
        [1, 1], [[[0, 4]]] * 2, [1, 1], "T", (5,), source=[[[1, 3]]] * 2, resample="bilinear"
    )
    # 8 and 24 have their middles at 1 and 3 of 4; those of four cells are at 0.5, 1.5, 2.5 and 3.5
    assert oracle.mix(x, plan, "NT")[0].tolist() == [8, 12, 20, 24, 0]
    down = bm.Plan(
        [1, 1], [[[1, 3]]] * 2, [1, 1], "T", (5,), source=[[[0, 5]]] * 2, resample="bilinear"
    )
    # 5 cells over 2: the first takes 1/4 of cell 0 and 3/4 of cell 1, the second 3/4 and 1/4
    assert oracle.mix(x, down, "NT")[0].tolist() == [0, 6, 5, 0, 0]


def test_bilinear_in_steps_and_rounded_by_hand():
    assert oracle.two_cells(3, 5, (0, 3), 1, 256) == (3, 0.5)
    # 2 cells over 5: 0.4 (k + 1/2) - 1/2, so -0.3, 0.1, 0.5; 0.1 is nearest to 26 of 256 steps
    assert [oracle.two_cells(0, 2, (0, 5), k, 256) for k in (0, 1, 2)] == [
        (0, 0), (0, 26 / 256), (0, 0.5),
    ]  # fmt: skip
    x = np.uint8([[[0, 0], [0, 0]], [[0, 1], [2, 4]]])
    box, source = [[[0, 1], [0, 1]]] * 2, [[[0, 2], [0, 2]]] * 2
    plan = bm.Plan([1, 1], box, [0.5, 1], "HW", (2, 2), source=source, resample="bilinear")
    # one cell over all four: 1.75, rounded to 2, then half of it
    assert oracle.mix(x, plan, "NHW")[0].tolist() == [[1, 0], [0, 0]]


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
