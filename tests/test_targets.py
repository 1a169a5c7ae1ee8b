"""Numbers to be predicted: blended by the share of the row that was counted."""

import numpy as np
import pytest

import batchmix as bm
import oracle
from batchmix.fields import Features, Grid, Labels, Targets
from batchmix.policies import Columns, CutMix, Layers, MixUp, Mosaic
from checks import SWITCH

B = 6
POLICIES = [MixUp(1.0), CutMix(), SWITCH, Mosaic(), Layers([CutMix(), MixUp(1.0)])]


def plan_of(policy, **more):
    return bm.draw(policy, bm.Key(5), B, {"H": 5, "W": 7}, **more)


def sources(plan):
    """[B, B]: the weight of each row of the batch in each mixed one."""
    found, shares = np.zeros((B, B)), oracle.shares(plan)
    for row in range(B):
        for source, share in zip([row, *(k.partner[row] for k in plan.layers)], shares[row]):
            found[row, source] += share
    return found


@pytest.mark.parametrize("shape", [(B,), (B, 1), (B, 3), (B, 4, 2)])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_targets_of_any_shape(xp, shape, policy, dtype):
    plan, y = plan_of(policy), xp.array(np.random.default_rng(0).standard_normal(shape), dtype)
    found = Targets()(y, plan)
    assert xp.dtype(found) == dtype
    want = np.tensordot(sources(plan), xp.numpy(y), 1)
    bound = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 2e-6)
    np.testing.assert_allclose(xp.numpy(found), want, rtol=bound, atol=bound)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_number_that_nobody_knows_stays_with_its_row(xp, policy):
    """NaN where it has a weight, and nowhere else; also where the row itself has none left."""
    y = np.arange(2.0 * B).reshape(B, 2)
    y[2, 0] = y[4, 1] = np.nan
    y[1, 1] = np.inf
    plans = [plan_of(policy)]
    if policy is POLICIES[0]:  # whole rows, too
        plans += [bm.Plan([1, 2, 0, 4, 5, 3], [], [1, 1, 1, 0, 0, 1], "", ())]
        plans += [plans[-1].then(plans[-1])]
    for plan in plans:
        weights = sources(plan)
        found = xp.numpy(Targets()(xp.array(y, "float32"), plan))
        for column in range(2):
            known = np.isfinite(y[:, column])
            reached = (weights[:, ~known] > 0).any(1)
            np.testing.assert_array_equal(np.isfinite(found[:, column]), ~reached)
            want = weights[:, known] @ y[known, column]
            np.testing.assert_allclose(found[~reached, column], want[~reached], rtol=1e-5)


def test_in_a_compiled_step(xp):
    if xp.compiled is None:
        pytest.skip("no compiler of this framework in the test")
    y, plan = xp.array(np.arange(2.0 * B).reshape(B, 2), "float32"), plan_of(SWITCH)
    run = xp.compiled(Targets())
    np.testing.assert_allclose(xp.numpy(run(y, plan)), xp.numpy(Targets()(y, plan)), rtol=1e-6)


def test_partners_of_another_batch(xp):
    plan = plan_of(MixUp(1.0), other=2)
    y, theirs = np.arange(float(B)), np.array([10.0, 20.0])
    found = Targets()(xp.array(y, "float32"), plan, xp.array(theirs, "float32"))
    want = plan.lam * y + (1 - plan.lam) * theirs[plan.partner]
    np.testing.assert_allclose(xp.numpy(found), want, rtol=1e-6)


def test_a_loss_leaves_out_what_nobody_knows():
    """Two numbers to predict, of which a row may lack one."""
    torch = pytest.importorskip("torch")

    y = torch.tensor([[1.0, 2.0], [3.0, torch.nan], [5.0, 6.0]])
    plan = bm.Plan([1, 0, 2], [], [0.25, 0.5, 0], "", ())
    target = Targets()(y, plan)
    known = ~target.isnan()
    assert known.tolist() == [[True, False], [True, False], [True, True]]
    z = torch.zeros(3, 2, requires_grad=True)
    ((z - target)[known] ** 2).mean().backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad[~known] == 0).all()


def test_several_tasks_share_one_plan(xp):
    """Two kinds of classes, tags, and a number, each by the same weights."""
    rows = np.arange(B)
    batch = {
        "table": xp.array(np.eye(B), "float32"), "animal": xp.ids(rows), "place": xp.ids(rows % 2),
        "tags": xp.array(np.eye(B), "float32"), "age": xp.array(rows, "float32"),
    }  # fmt: skip
    fields = {
        "table": Features("NC"), "animal": Labels(B), "place": Labels(2, smoothing=0.1),
        "tags": Labels(rule="union"), "age": Targets(),
    }  # fmt: skip
    for policy, axes in ((MixUp(1.0), None), (Columns(0.4), "C")):
        mixer = bm.Mixer(policy, fields, axes=axes, seed=2)
        plan = mixer.but().draw(batch)
        mixed = {name: xp.numpy(value) for name, value in mixer(batch).items()}
        weights = sources(plan)
        np.testing.assert_allclose(mixed["animal"], weights, atol=1e-6)
        place = weights @ np.eye(2)[rows % 2] * 0.9 + 0.05
        np.testing.assert_allclose(mixed["place"], place, atol=1e-6)
        np.testing.assert_array_equal(mixed["tags"], weights > 0)
        np.testing.assert_allclose(mixed["age"], weights @ rows, rtol=1e-5)


def test_a_forecast_is_a_grid_and_a_number_is_a_target(xp):
    """A series that follows is pasted in time; a target is blended by the weight of the row."""
    y = xp.array(np.arange(B)[:, None, None] * np.ones((8, 1)), "float32")
    plan = bm.draw(CutMix(), bm.Key(1), B, {"T": 8})
    pasted, blended = xp.numpy(Grid("NTC")(y, plan)), xp.numpy(Targets()(y, plan))
    np.testing.assert_allclose(pasted.mean(1), blended[:, 0], rtol=1e-5)
    assert (blended == blended[:, :1]).all()
