"""Soft labels and pairs: exact weights, rows that sum to 1, and what is refused."""

import numpy as np
import pytest

import batchmix as bm
import oracle
from batchmix.policies import MixUp, Sometimes
from checks import SWITCH

B, C = 6, 5


def plan_of(batch=B, policy=SWITCH, step=0):
    """A plan for images of 4 x 6."""
    return bm.draw(policy, bm.Key(3, 0, step), batch, {"H": 4, "W": 6})


@pytest.mark.parametrize("batch", [0, 1, 2, 5, 6])
def test_labels_are_those_of_the_oracle(xp, batch):
    plan = plan_of(batch)
    y = [k % C for k in range(batch)]
    soft = bm.mix_labels(xp.ids(y), plan, C)
    assert xp.dtype(soft) == "float32"
    np.testing.assert_allclose(xp.numpy(soft), oracle.labels(y, plan, C), atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "bool"])
def test_ids_of_any_integer_type(xp, dtype):
    plan, y = plan_of(), [0, 1, 1, 0, 1, 0]
    soft = xp.numpy(bm.mix_labels(xp.array(y, dtype), plan, 2))
    np.testing.assert_allclose(soft, oracle.labels(y, plan, 2), atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_ids_in_a_column(xp, dtype):
    """As the data sets of Keras have them; with one class they are probabilities."""
    plan, y = plan_of(), np.arange(B) % C
    soft = bm.mix_labels(xp.array(y[:, None], dtype), plan, C)
    np.testing.assert_allclose(xp.numpy(soft), oracle.labels(y, plan, C), atol=1e-6)
    other = bm.mix_labels(xp.array(y[:, None], dtype), plan, C, other=xp.array(y[:, None], dtype))
    np.testing.assert_array_equal(xp.numpy(other), xp.numpy(soft))
    binary = bm.mix_labels(xp.array([[1], [0]] * 3, dtype), plan, 1)
    assert binary.shape == (B, 1)
    if xp.looks:
        with pytest.raises(bm.MixError, match="with classes=3"):
            bm.mix_labels(xp.array(y[:, None], dtype), plan, 3)


def test_rows_sum_to_one_when_both_labels_are_equal(xp):
    soft = xp.numpy(bm.mix_labels(xp.ids([3] * B), plan_of(), C))
    assert (soft[:, 3] == 1).all()
    assert (soft.sum(1) == 1).all()


def test_smoothing_is_timms(xp):
    """off = s / C and on = 1 - s + s / C, before mixing."""
    plan, y = plan_of(), [0, 1, 2, 3, 4, 0]
    hard = oracle.labels(y, plan, C)
    soft = xp.numpy(bm.mix_labels(xp.ids(y), plan, C, smoothing=0.1))
    np.testing.assert_allclose(soft, hard * 0.9 + 0.1 / C, atol=1e-6)
    one_hot = xp.array(np.eye(C)[y], "float32")
    same = xp.numpy(bm.mix_labels(one_hot, plan, smoothing=0.1))
    np.testing.assert_allclose(soft, same, atol=1e-6)


def test_rows_left_alone_have_hard_labels(xp):
    plan = plan_of(policy=Sometimes(MixUp(1.0), 0.5))
    soft = xp.numpy(bm.mix_labels(xp.ids([0, 1, 2, 3, 4, 0]), plan, C))
    alone = plan.lam == 1
    assert alone.any()
    assert not alone.all()
    assert set(np.unique(soft[alone])) == {0, 1}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "uint8"])
def test_labels_with_a_column_per_class(xp, dtype):
    """One-hot and multi-hot; a label that both rows have stays exactly 1."""
    y = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]])
    plan = bm.Plan([1, 2, 0], [], [0.3, 0.6, 1], "", ())
    soft = bm.mix_labels(xp.array(y, dtype), plan, 3)
    assert xp.dtype(soft) == "float32"
    soft = xp.numpy(soft)
    want = (1 - plan.opacity)[:, None] * y + plan.opacity[:, None] * y[plan.partner]
    np.testing.assert_allclose(soft, want, atol=1e-6)
    assert (soft[:, 1] == 1).all()


def test_partners_of_another_stream(xp):
    plan, y, z = plan_of(), [0] * B, [1] * B
    soft = xp.numpy(bm.mix_labels(xp.ids(y), plan, C, other=xp.ids(z)))
    np.testing.assert_allclose(soft[:, 0], plan.lam, atol=1e-6)
    np.testing.assert_allclose(soft[:, 1], 1 - plan.lam, atol=1e-6)
    own, partner, _ = bm.pairs(xp.ids(y), plan, other=xp.ids(z))
    assert xp.numpy(own).tolist() == y
    assert xp.numpy(partner).tolist() == z


def test_a_method_may_define_its_own_labels(xp):
    """timm's correct_lam=False, ReMix: the label weight is not the pixel share."""
    plan = bm.Plan([1, 0], [[[0, 4]]] * 2, [1, 1], "T", (8,), label_lam=[0.9, np.nan])
    soft = xp.numpy(bm.mix_labels(xp.ids([0, 1]), plan, 2))
    np.testing.assert_allclose(soft, [[0.9, 0.1], [0.5, 0.5]], atol=1e-6)
    assert xp.numpy(bm.pairs(xp.ids([0, 1]), plan)[2]) == pytest.approx([0.9, 0.5])


@pytest.mark.parametrize("shape", [(B,), (B, 3, 2)])
def test_pairs_of_any_labels(xp, shape):
    """Ids stay exact beyond what half precision could hold."""
    y = np.arange(np.prod(shape)).reshape(shape) + 100_000
    plan = plan_of()
    own, partner, lam = bm.pairs(xp.ids(y.tolist()), plan)
    np.testing.assert_array_equal(xp.numpy(own), y)
    np.testing.assert_array_equal(xp.numpy(partner), y[plan.partner])
    np.testing.assert_array_equal(xp.numpy(lam).astype(np.float32), plan.lam)
    assert xp.dtype(lam) == "float32"


def test_what_is_handed_out_may_be_written_to(xp):
    plan = plan_of()
    before = plan.lam.copy()
    for weights in (bm.pairs(xp.ids([0] * B), plan)[2], bm.mix_labels(xp.ids([0] * B), plan, 1)):
        if xp.writes:
            weights[:] = 7
    np.testing.assert_array_equal(plan.lam, before)


@pytest.mark.parametrize("bad", [-100, -1, 5, 99])
def test_ids_out_of_range(xp, bad):
    if not xp.looks:  # such a row has no label at all
        soft = xp.numpy(bm.mix_labels(xp.ids([0, 1, bad, 3, 4, 0]), plan_of(), C))
        reached = (np.arange(B) == 2) | (plan_of().partner == 2)
        np.testing.assert_array_equal(np.isnan(soft), np.repeat(reached[:, None], C, 1))
        return
    with pytest.raises(bm.MixError, match=rf"label {bad} with classes=5"):
        bm.mix_labels(xp.ids([0, 1, bad, 3, 4, 0]), plan_of(), C)
    with pytest.raises(bm.MixError, match=rf"label {bad} with classes=5"):
        bm.mix_labels(xp.ids([0] * B), plan_of(), C, other=xp.ids([bad] * B))
    with pytest.raises(bm.MixError, match=rf"label {bad} with classes=5"):
        bm.mix_labels(xp.ids([0, 1, bad, 3, 4, 0]), plan_of(), C, other=xp.ids([0] * B))


def test_as_many_classes_as_ids_of_32_bits_can_name():
    empty = bm.mix_labels(np.zeros(0, int), bm.Plan.identity(0), 2**31 - 1)
    assert empty.shape == (0, 2**31 - 1)
