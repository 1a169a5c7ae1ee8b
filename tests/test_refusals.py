"""Refusals, and roads that few callers take, which no other test of the core goes down."""

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Targets
from batchmix.policies import Layers, Mosaic, ResizeMix, Switch


def drawn(policy, **more):
    return bm.draw(policy, bm.Key(0), 4, {"H": 8, "W": 8}, **more)


def test_counts_are_no_targets(xp):
    with pytest.raises(bm.MixError, match="Convert counts to floats"):
        Targets()(xp.ids([1, 2]), bm.Plan.identity(2))


def test_no_layers():
    with pytest.raises(bm.MixError, match="Layers"):
        Layers([])


def test_two_ways_to_stretch_in_one_batch():
    with pytest.raises(bm.MixError, match="resample"):
        drawn(Switch([ResizeMix(), ResizeMix(resample="nearest")]))


def test_a_plan_for_another_batch_is_kept_with_its_length(tmp_path):
    plan = drawn(ResizeMix(), other=9)
    plan.save(tmp_path / "plan.npz")
    again = bm.Plan.load(tmp_path / "plan.npz")
    assert again.form == plan.form
    x, theirs = np.zeros((4, 8, 8)), np.ones((9, 8, 8))
    np.testing.assert_array_equal(
        bm.mix(x, again, "NHW", other=theirs), bm.mix(x, plan, "NHW", other=theirs)
    )
    with pytest.raises(bm.MixError, match="9"):
        bm.mix(x, again, "NHW", other=theirs[:5])


def test_a_folder_is_no_plan(tmp_path):
    with pytest.raises(bm.MixError, match="not a regular file"):
        bm.Plan.load(tmp_path)


def test_labels_by_a_rule_of_their_own_on_another_grid():
    """Where the rule says what the area does, the area of the other grid counts."""
    plan = drawn(bm.policies.CutMix())
    own = np.where([True, False, True, False], plan.lam, 0.25).astype(np.float32)
    plan = bm.Plan(plan.partner, plan.box, plan.opacity, "HW", (8, 8), label_lam=own)
    coarse = plan.at({"H": 4, "W": 4})
    np.testing.assert_array_equal(coarse.label_lam[[1, 3]], [0.25, 0.25])
    np.testing.assert_array_equal(coarse.label_lam[[0, 2]], coarse.lam[[0, 2]])


def test_a_plan_of_one_layer_is_that_layer():
    plan = drawn(Mosaic())
    one = plan.layers[0]
    assert one.layers == (one,)
    assert len(plan.layers) > 1
