"""Plans: pure, replayable, checked, saved."""

import dataclasses
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix._columns import COLUMNS
from batchmix.pairing import Reverse, Roll
from batchmix.policies import CutMix, MixUp, Paste, Switch
from checks import PAIRINGS, POLICIES, plans

SIZE = {"H": 8, "W": 12}
SWITCH = Switch([MixUp(0.8), CutMix(1.0)])


def same(a, b):
    """Every array of two plans is equal."""
    assert a.form == b.form
    assert list(a.columns()) == list(b.columns())
    for name, column in a.columns().items():
        np.testing.assert_array_equal(column, b.columns()[name])
    return True


@pytest.mark.parametrize("policy", POLICIES)
def test_a_draw_depends_on_its_arguments_alone(policy):
    def draw(*key):
        return bm.draw(POLICIES[policy], bm.Key(*key), 16, SIZE, pairing=Reverse())

    first = draw(1, 2, 3, 4)
    np.random.seed(0)
    np.random.random(7)
    assert same(first, draw(1, 2, 3, 4))


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, 2**40)] * 4), st.integers(0, 3), st.integers(1, 9))
def test_every_part_of_the_key_counts(key, part, more):
    other = list(key)
    other[part] += more
    a, b = (bm.draw(MixUp(1.0), bm.Key(*k), 16, {}) for k in (key, other))
    assert not np.array_equal(a.opacity, b.opacity)
    assert not np.array_equal(a.partner, b.partner)


def test_the_same_plan_in_another_process():
    code = (
        "import batchmix as bm\n"
        "from batchmix.policies import *\n"
        "policy = Switch([MixUp(0.8), CutMix(1.0)])\n"
        "plan = bm.draw(policy, bm.Key(5, 6, 7), 32, {'H': 8, 'W': 12})\n"
        "print(plan.opacity.tobytes().hex(), plan.box.tobytes().hex(), plan.partner.tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plan = bm.draw(SWITCH, bm.Key(5, 6, 7), 32, SIZE)
    assert out.stdout.split(maxsplit=2) == [
        plan.opacity.tobytes().hex(),
        plan.box.tobytes().hex(),
        f"{plan.partner.tolist()}\n",
    ]


def test_who_and_how_much_are_separate():
    """Another pairing leaves box and opacity as they were, another policy the partners."""
    a = bm.draw(SWITCH, bm.Key(0), 64, SIZE)
    b = bm.draw(SWITCH, bm.Key(0), 64, SIZE, pairing=Roll(1))
    c = bm.draw(MixUp(0.3), bm.Key(0), 64, SIZE)
    np.testing.assert_array_equal(a.opacity, b.opacity)
    np.testing.assert_array_equal(a.box, b.box)
    np.testing.assert_array_equal(a.partner, c.partner)


@pytest.mark.parametrize("policy", POLICIES)
def test_opacities_are_on_the_lattice(policy):
    plan = bm.draw(POLICIES[policy], bm.Key(0), 64, SIZE, pairing=Reverse())
    assert (plan.opacity * 4096 == np.rint(plan.opacity * 4096)).all()
    assert plan.opacity.dtype == np.float32
    assert plan.partner.dtype == plan.box.dtype == np.int32
    assert plan.kind.dtype == np.int8


@settings(max_examples=100, deadline=None)
@given(plans())
def test_lam_is_what_is_left_of_each_row(plan):
    np.testing.assert_allclose(plan.lam, oracle.lam(plan), atol=1e-6)
    assert plan.lam.dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(plan=plans())
def test_a_saved_plan_comes_back(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("plans") / "plan"  # the name is kept as it is given
    plan.save(path)
    assert same(plan, bm.Plan.load(path))


def test_all_parts_are_saved(tmp_path):
    plan = bm.Plan(
        [1, 0], [[[0, 2]]] * 2, [0.5, 1], "T", (4,), mask=np.ones((2, 4)), kind=[0, 1],
        source=[[[1, 4]]] * 2, label_lam=[0.25, np.nan],
    )  # fmt: skip
    plan.save(tmp_path / "p.npz")
    assert same(plan, bm.Plan.load(tmp_path / "p.npz"))
    assert plan.label_lam.tolist() == [0.25, 0.5]  # NaN stands for lam


def test_no_pickle_is_read(tmp_path):
    evil = tmp_path / "evil.npz"
    np.savez(evil, format=np.array([bm.Plan], dtype=object))
    with pytest.raises(bm.MixError, match="without pickled objects"):
        bm.Plan.load(evil)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(bm.MixError, match="cannot read"):
        bm.Plan.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        bm.Plan.load(tmp_path / "nowhere")


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "p.npz"
    bm.Plan.identity(2, "T", (4,)).save(path)
    arrays = dict(np.load(path))
    arrays["format"] = np.array(99)
    np.savez(path, **arrays)
    with pytest.raises(bm.MixError, match="format 99"):
        bm.Plan.load(path)


def test_plans_are_frozen_and_own_their_indices():
    partner = np.array([1, 0], np.int32)
    plan = bm.Plan(partner, [], [0.5, 0.5], "", ())
    partner[0] = 77
    assert plan.partner.tolist() == [1, 0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.axes = "T"


def test_plans_and_policies_travel_between_processes():
    plan = bm.draw(SWITCH, bm.Key(0), 8, SIZE)
    assert same(plan, pickle.loads(pickle.dumps(plan)))
    for policy in POLICIES.values():
        assert pickle.loads(pickle.dumps(policy)) == policy
    mixer = bm.Mixer(SWITCH, {0: bm.fields.Image("NCHW")}, seed=3)
    assert pickle.loads(pickle.dumps(mixer)).state_dict() == mixer.state_dict()
    for pairing in PAIRINGS.values():
        assert pickle.loads(pickle.dumps(pairing)) == pairing


@pytest.mark.parametrize("batch", [0, 1, 256])
def test_repr_fits_a_line(batch):
    text = repr(bm.draw(SWITCH, bm.Key(0), batch, {"H": 224, "W": 224}))
    assert len(text) < 90
    assert "\n" not in text
    assert f"{batch} rows" in text


def test_repr_says_how_much_is_mixed():
    plan = bm.Plan([1, 0, 2], [[[0, 2], [0, 4]]] * 3, [1, 0.5, 1], "HW", (4, 8))
    assert repr(plan) == "Plan(3 rows, HW=4x8, 2 mixed, lam 0.75..1.00 mean 0.88)"
    assert repr(bm.Plan([1, 0], [], [0.5, 0], "", ())) == (
        "Plan(2 rows, 1 mixed, lam 0.50..1.00 mean 0.75)"
    )
    assert repr(bm.Plan.identity(0, "T", (9,))) == "Plan(0 rows, T=9)"


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_identity_leaves_every_row_alone(batch):
    plan = bm.Plan.identity(batch, "HW", (4, 8))
    assert same(plan, bm.draw(None, bm.Key(0), batch, {"H": 4, "W": 8}, pairing=Roll(0)))
    assert plan.partner.tolist() == list(range(batch))
    assert plan.kind.tolist() == [-1] * batch


def test_nothing_drawn_is_identity():
    plan = bm.draw(None, bm.Key(0), 3, SIZE)
    assert plan.lam.tolist() == [1, 1, 1]
    assert plan.kind.tolist() == [-1, -1, -1]


def test_opacity_is_what_is_executed():
    """0 where a row is its own partner, and where the box is empty."""
    plan = bm.Plan([0, 2, 1], [[[0, 4]], [[2, 2]], [[1, 3]]], [0.5, 1, 0.5], "T", (4,))
    assert plan.opacity.tolist() == [0, 0, 0.5]
    assert plan.lam.tolist() == [1, 1, 0.75]


def test_the_table_of_columns_is_what_plans_and_pastes_have():
    form = {"axes", "size", "resample", "others"}
    assert set(bm.Plan.identity(1).form) == form
    assert {f.name for f in dataclasses.fields(bm.Plan)} == set(COLUMNS) | form | {"above"}
    drawn = {name for name, column in COLUMNS.items() if not column.derived} - {"partner"}
    assert {f.name for f in dataclasses.fields(Paste)} == drawn | {"resample", "above"}


def test_a_plan_can_be_asked_for_its_attributes():
    plan = bm.draw(SWITCH, bm.Key(0), 4, SIZE)
    assert not hasattr(plan, "__jax_array__")  # but to JAX: tests/jax/test_unregistered.py
    assert dict(inspect.getmembers(plan))["axes"] == "HW"


@pytest.mark.parametrize(
    ("axes", "size"),
    [("N", (2,)), ("HH", (2, 2)), ("h", (2,)), ("H", (0,)), ("H", (2.5,)), ("H", ())],
)
def test_axes_and_sizes_that_do_not_fit(axes, size):
    with pytest.raises(bm.MixError, match=r"^Plan: got size="):
        bm.Plan([0, 1], np.zeros((2, len(size), 2), int), [0, 0], axes, size)
