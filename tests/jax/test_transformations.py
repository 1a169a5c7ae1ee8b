"""What only JAX has: plans as arguments of jit, grad, vmap and scan, and what is compiled."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import batchmix as bm
import batchmix.adapters.jax
from batchmix._mix import mix_ids
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp
from checks import SWITCH

B, C = 8, 5
HW = {"H": 6, "W": 7}
MASKED = bm.Plan(
    np.roll(np.arange(B), 1), [[[1, 6], [0, 5]]] * B, np.resize([0.5, 1, 0.25], B), "HW", (6, 7),
    mask=np.random.default_rng(0).random((B, 6, 7)), source=[[[0, 6], [0, 7]]] * B,
)  # fmt: skip
X = np.random.default_rng(1).standard_normal((B, 3, 6, 7)).astype(np.float32)
Y = np.arange(B, dtype=np.int32) % C


def plan_of(step=0, policy=SWITCH, batch=B, size=HW):
    """A drawn plan."""
    return bm.draw(policy, bm.Key(0, 0, step), batch, size)


def mix(plan, x):
    """Images only."""
    return bm.mix(x, plan, "NCHW")


def assert_close(got, want):
    """Two pytrees of arrays, up to a rounding."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def step(plan, x, y):
    """What a training step does with a plan."""
    images = mix(plan, x)
    soft = bm.mix_labels(y, plan, C, smoothing=0.1)
    pairs = bm.pairs(y, plan)
    loss = bm.losses.soft_cross_entropy(images[:, :, 0].mean(1)[:, :C], soft)
    squared = bm.losses.pairwise(lambda z, y: (z - y) ** 2, images.mean((1, 2, 3)), pairs)
    return images, soft, pairs, loss, squared, mix_ids(x > 0, plan, "NCHW")


@pytest.mark.parametrize("plan", [plan_of(), MASKED])
def test_a_jitted_step_is_the_eager_one_and_that_of_numpy(plan):
    want = step(plan, X, Y)
    assert_close(step(plan, jnp.asarray(X), jnp.asarray(Y)), want)
    assert_close(jax.jit(step)(plan, X, Y), want)
    assert_close(jax.jit(lambda x, y: step(plan, x, y))(X, Y), want)  # the plan as a constant


def test_one_trace_for_all_plans_of_one_shape():
    traces = []

    @jax.jit
    def counted(plan, x):
        traces.append(plan)
        return mix(plan, x)

    for policy in (SWITCH, MixUp(1.0), CutMix(), None):
        for k in range(3):
            plan = plan_of(k, policy)
            assert_close(counted(plan, X), mix(plan, X))
    assert len(traces) == 1
    assert repr(traces[0]) == "Plan(8 rows, HW=6x7)"  # a traced plan has no values to show
    counted(plan_of(batch=4), X[:4])
    assert len(traces) == 2


@pytest.mark.parametrize("plan", [plan_of(policy=MixUp(1.0)), plan_of(policy=CutMix()), MASKED])
def test_gradients_flow_to_both_rows(plan):
    """The derivative of what a row becomes is the weight that each row has in it."""
    check_grads(lambda x: mix(plan, x), (X,), order=1, modes=("fwd", "rev"), rtol=1e-2)
    grad = jax.jit(jax.grad(lambda x, plan: mix(plan, x).sum()))(X, plan)
    if plan.mask is None:
        want = plan.lam.copy()  # weight that the row keeps, and that others take of it
        np.add.at(want, plan.partner, 1 - plan.lam)
        np.testing.assert_allclose(grad.sum((1, 2, 3)), want * X[0].size, rtol=1e-5)
    other = jax.grad(lambda o: bm.mix(jnp.asarray(X), plan, "NCHW", other=o).sum())(jnp.asarray(X))
    own = jax.grad(lambda x: bm.mix(x, plan, "NCHW", other=jnp.asarray(X)).sum())(jnp.asarray(X))
    assert_close(own + other, grad)


def test_gradients_of_a_copy_have_no_nan():
    """The other row's NaN is not in the result, so it must not be in the derivative."""
    x = X.copy()
    x[0] = np.nan
    plan = bm.Plan([0, 0], [[[0, 6], [0, 3]]] * 2, [1, 1], "HW", (6, 7))
    grad = jax.grad(lambda x: mix(plan, x)[1, :, :, 3:].sum())(jnp.asarray(x[:2]))
    assert np.isfinite(grad).all()


def test_labels_have_gradients():
    soft = jnp.asarray(np.eye(C, dtype=np.float32)[Y])
    grad = jax.grad(lambda y: bm.mix_labels(y, plan_of()).sum())(soft)
    np.testing.assert_allclose(grad.sum(), B * C, rtol=1e-6)


def stacked(plans):
    """Several plans of one shape as one, with a leading axis."""
    return jax.tree.map(lambda *columns: np.stack(columns), *plans)


def test_scan_over_stacked_plans():
    plans = [plan_of(k) for k in range(4)]

    def body(x, plan):
        return x, mix(plan, x)

    got = jax.lax.scan(body, X, stacked(plans))[1]
    assert_close(got, np.stack([mix(p, X) for p in plans]))


def test_vmap_over_batches_and_plans():
    plans, many = [plan_of(k) for k in range(3)], np.stack([X, X[::-1], -X])
    labels = np.stack([Y, Y[::-1], Y])
    got = jax.vmap(step)(stacked(plans), many, labels)
    want = [step(p, x, y) for p, x, y in zip(plans, many, labels)]
    assert_close(got, jax.tree.map(lambda *parts: np.stack(parts), *want))
    assert_close(jax.vmap(mix, (None, 0))(MASKED, many), np.stack([mix(MASKED, x) for x in many]))
    assert_close(
        jax.vmap(mix, (0, None))(stacked(plans), jnp.asarray(X)),
        np.stack([mix(p, X) for p in plans]),
    )


def test_a_plan_is_a_pytree():
    leaves, form = jax.tree.flatten(MASKED)
    same = jax.tree.unflatten(form, leaves)
    for field in dataclasses.fields(bm.Plan):
        np.testing.assert_array_equal(getattr(same, field.name), getattr(MASKED, field.name))
    assert jax.tree.structure(plan_of(0)) == jax.tree.structure(plan_of(1))
    assert jax.tree.structure(plan_of()) != form  # other parts, another program
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(plan_of())]
    assert paths == [".partner", ".box", ".opacity", ".kind", ".lam"]


def test_a_source_on_a_long_axis():
    """Products of two positions do not fit in 32 bits."""
    n = 60_000
    plan = bm.Plan([1, 0], [[[0, n]], [[7, n]]], [1, 1], "T", (n,), source=[[[0, n - 2]], [[5, n]]])
    x = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
    want = bm.mix(x, plan, "NT")
    np.testing.assert_array_equal(bm.mix(jnp.asarray(x), plan, "NT"), want)
    np.testing.assert_array_equal(jax.jit(lambda plan, x: bm.mix(x, plan, "NT"))(plan, x), want)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize("policy", [SWITCH, MixUp(1.0), CutMix()])
def test_the_program_is_one_pass_without_a_second_batch(dtype, policy):
    """Gather, blend and choice are one fusion: no array of the batch's size but the result."""
    x = jnp.zeros((32, 3, 32, 32), dtype)
    plan = plan_of(policy=policy, batch=32, size={"H": 32, "W": 32})
    program = jax.jit(mix).lower(plan, x).compile()
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes == x.nbytes
    assert memory.temp_size_in_bytes < x.nbytes / 100
    entry = program.as_text().partition("\nENTRY")[2]
    assert len(re.findall(r"= \w+\[32,3,32,32\]\S* fusion\(", entry)) == 1
    assert not re.search(r"\[32,3,32,32\]\S* (copy|gather|select|multiply)\(", entry)


def test_a_second_batch_would_be_seen():
    x = jnp.zeros((32, 3, 32, 32))
    program = jax.jit(lambda x: jnp.sort(x, 0) + jnp.sort(x, 1)).lower(x).compile()
    assert program.memory_analysis().temp_size_in_bytes >= x.nbytes


def test_a_donated_batch():
    x = jnp.asarray(X)
    got = jax.jit(mix, donate_argnums=1)(MASKED, x + 0)
    assert_close(got, mix(MASKED, X))


def test_ids_out_of_range_show_in_a_traced_step():
    """Nothing can be raised there: the row is NaN, and no other row is touched."""
    ids = Y.copy()
    ids[2] = -100
    plan = plan_of()
    with pytest.raises(bm.MixError, match="label -100"):
        bm.mix_labels(jnp.asarray(ids), plan, C)
    soft = np.asarray(jax.jit(lambda plan, y: bm.mix_labels(y, plan, C))(plan, ids))
    wrong = (np.arange(B) == 2) | (plan.partner == 2)
    assert np.isnan(soft[wrong]).all()
    np.testing.assert_allclose(soft[~wrong], bm.mix_labels(Y, plan, C)[~wrong], rtol=1e-6)


def test_a_partner_out_of_range_shows():
    """Of a plan that is made while tracing nothing is checked."""
    plan = plan_of(policy=MixUp(1.0))
    for bad in (-1, B):
        moved = jax.jit(lambda plan, bad: jax.tree.map(lambda v: v, plan).unchecked(
            **vars(plan) | {"partner": plan.partner.at[3].set(bad)}))(plan, bad)  # fmt: skip
        got = np.asarray(mix(moved, jnp.asarray(X)))
        assert np.isnan(got[3]).all()
        assert np.isfinite(np.delete(got, 3, 0)).all()


def test_a_mixer_draws_outside_and_applies_inside():
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(C)}, seed=0)
    batch = (jnp.asarray(X), jnp.asarray(Y))
    plan = mixer.draw(batch)
    want = mixer.apply(batch, plan)
    assert_close(jax.jit(mixer.apply)(batch, plan), want)
    assert_close(mixer(batch, step=0), want)
    # numbers that are traced: drawn on the host each time the program runs
    jitted = jax.jit(lambda batch, step, epoch: mixer(batch, step, epoch))
    for step, epoch in [(0, 0), (3, 0), (3, 1)]:
        assert_close(jitted(batch, step, epoch), mixer(batch, step, epoch))


def test_a_mixer_that_would_repeat_one_mix_is_refused():
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(C)})
    with pytest.raises(bm.MixError, match=r"mixer\.apply"):
        jax.jit(mixer)((X, Y))
    with pytest.raises(bm.MixError, match=r"(?s)no `epoch`.*mixer\.apply"):
        jax.jit(lambda batch, step: mixer(batch, step=step))((X, Y), 0)
