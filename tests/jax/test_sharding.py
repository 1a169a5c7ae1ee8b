"""Batches that lie on several devices: any pairing, and pairings that need no exchange."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import batchmix as bm
from batchmix._mix import mix_ids
from batchmix.adapters.jax import draw, within_shards
from batchmix.pairing import Derangement, Reverse, Within
from checks import SWITCH

B, C = 16, 5
HW = {"H": 6, "W": 8}
X = np.random.default_rng(1).standard_normal((B, 4, 6, 8)).astype(np.float32)
Y = np.arange(B, dtype=np.int32) % C
COLLECTIVE = re.compile(r"\b(?:all-|collective-|reduce-scatter|ragged-)[\w-]+\(")


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled():
    """How a program is split is decided before machine code is optimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def plan_of(pairing, masked=False):
    """A drawn plan, or one with all parts."""
    plan = bm.draw(SWITCH, bm.Key(0), B, HW, pairing=pairing)
    if not masked:
        return plan
    box, source = [[[1, 6], [0, 5]]] * B, [[[0, 6], [0, 8]]] * B
    mask = np.random.default_rng(0).random((B, 6, 8))
    return bm.Plan(plan.partner, box, plan.opacity, "HW", (6, 8), mask=mask, source=source)


def step(plan, x, y):
    """Images, ids and labels."""
    soft = bm.mix_labels(y, plan, C, smoothing=0.1)
    images = bm.mix(x, plan, "NCHW")
    return images, mix_ids(x > 0, plan, "NCHW"), soft, *bm.pairs(y, plan)


def assert_close(got, want):
    """Two tuples of arrays, up to a rounding."""
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


MESHES = {  # kind of axes, sizes of (data, model), what the batch is split over
    "auto": (AxisType.Auto, (8, 1), ("data",)),
    "explicit": (AxisType.Explicit, (8, 1), ("data",)),
    "auto, two axes": (AxisType.Auto, (4, 2), ("data", "model")),
    "explicit, two axes": (AxisType.Explicit, (4, 2), ("data",)),
}


@pytest.fixture(params=MESHES)
def sharded(request):
    """A mesh, and a batch on it."""
    kind, shape, spec = MESHES[request.param]
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(kind, kind))
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, PartitionSpec(*spec)))
        yield mesh, x, jax.device_put(Y, NamedSharding(mesh, PartitionSpec("data")))


@pytest.mark.parametrize("masked", [False, True])
def test_any_pairing(sharded, masked):
    """Rows are fetched from other devices, and the result is sharded as the batch is."""
    _, x, y = sharded
    assert len(x.devices()) == 8
    plan = plan_of(Derangement(), masked)
    want = step(plan, X, Y)
    constant = jax.jit(lambda plan, x, y: step(plan_of(Derangement()), x, y))
    for way in (step, jax.jit(step), *([] if masked else [constant])):
        got = way(plan, x, y)
        assert_close(got, want)
        assert got[0].sharding.is_equivalent_to(x.sharding, 4)


@pytest.mark.parametrize("masked", [False, True])
def test_partners_of_the_same_shard_need_no_exchange(sharded, masked):
    mesh, x, y = sharded
    shards = mesh.shape["data"]
    plan = plan_of(Within(shards, Derangement()), masked)
    want = step(plan, X, Y)
    split = within_shards(step, mesh, "data")
    program = jax.jit(split).lower(plan, x, y).compile()
    constant = jax.jit(lambda _, x, y: split(plan, x, y))
    for way in (split, program, *([] if masked else [constant])):
        got = way(plan, x, y)
        assert_close(got, want)
        assert got[0].sharding.is_equivalent_to(x.sharding, 4)
    assert COLLECTIVE.findall(program.as_text()) == []


def test_an_exchange_would_be_seen(sharded):
    _, x, y = sharded
    text = jax.jit(step).lower(plan_of(Derangement()), x, y).compile().as_text()
    assert COLLECTIVE.findall(text)


def test_a_partner_on_another_device_is_refused(sharded):
    mesh, x, y = sharded
    plan = plan_of(Reverse())
    shards = mesh.shape["data"]
    with pytest.raises(bm.MixError, match=rf"row 0 is row 15.*\n.*Within\(groups={shards}\)"):
        within_shards(step, mesh, "data")(plan, x, y)
    few = bm.draw(SWITCH, bm.Key(0), 6, HW)
    with pytest.raises(bm.MixError, match="6 rows for"):
        within_shards(step, mesh, "data")(few, X[:6], Y[:6])


def test_a_partner_on_another_device_shows_where_nothing_is_known(sharded):
    """A plan that is traced cannot be read: its rows are NaN, and not of some other row."""
    mesh, x, y = sharded
    plan = plan_of(Reverse())
    images, _, soft, *_ = jax.jit(within_shards(step, mesh, "data"))(plan, x, y)
    mixed = plan.opacity > 0
    pasted = np.asarray([(bm.mix(X, plan, "NCHW")[i] != X[i]).any() for i in range(B)])
    assert mixed.any()
    np.testing.assert_array_equal(np.isnan(np.asarray(images)).any((1, 2, 3)), pasted)
    assert np.isnan(np.asarray(soft)).all()


def test_gradients_cross_no_device_either(sharded):
    mesh, x, _ = sharded
    plan = plan_of(Within(mesh.shape["data"]))
    split = within_shards(lambda plan, x: bm.mix(x, plan, "NCHW"), mesh, "data")
    grad = jax.jit(jax.grad(lambda x, plan: (split(plan, x) ** 2).sum())).lower(x, plan).compile()
    want = jax.grad(lambda x: (bm.mix(x, plan, "NCHW") ** 2).sum())(jnp.asarray(X))
    np.testing.assert_allclose(grad(x, plan), want, rtol=1e-5, atol=1e-5)
    assert COLLECTIVE.findall(grad.as_text()) == []


def test_a_draw_in_a_sharded_program(sharded):
    _, x, _ = sharded

    @jax.jit
    def mixed(k, x):
        return bm.mix(x, draw(SWITCH, bm.Key(0, 0, k), B, HW), "NCHW")

    for k in (0, 3):
        want = bm.mix(X, bm.draw(SWITCH, bm.Key(0, 0, k), B, HW), "NCHW")
        assert_close([mixed(k, x)], [want])


def test_each_process_draws_for_its_own_rows():
    """The recipe for several hosts: mix local rows under the process's own rank, then join them."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    key = bm.Key(0, 0, 3, rank=jax.process_index())
    local = bm.mix(X, bm.draw(SWITCH, key, B, HW), "NCHW")
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    whole = jax.make_array_from_process_local_data(sharding, local)
    assert whole.shape == (B * jax.process_count(), *X.shape[1:])
    np.testing.assert_array_equal(whole, local)
    other = bm.draw(SWITCH, key._replace(rank=1), B, HW)
    assert not np.array_equal(other.lam, bm.draw(SWITCH, key, B, HW).lam)


def test_ids_without_channels(sharded):
    """The choice of ids has the sharding of its cases, also where that is part of the type."""
    plan, (_, x, _) = plan_of(Derangement()), sharded
    ids = jax.jit(lambda plan, x: mix_ids(x[:, 0] > 0, plan, "NHW"))(plan, x)
    np.testing.assert_array_equal(ids, mix_ids(X[:, 0] > 0, plan, "NHW"))
