"""A draw inside a compiled program: the plan of bm.draw, whenever the program runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import batchmix as bm
from batchmix.adapters.jax import draw
from batchmix.pairing import Reverse
from batchmix.policies import CutMix, MixUp, Paste, PerPair, Schedule
from checks import PAIRINGS, POLICIES, SWITCH

B = 8
HW = {"H": 6, "W": 7}
WHILE_RUNNING = (ValueError, jax.errors.JaxRuntimeError)  # by whether the caller waits


def assert_same(got, want):
    """Every array of two plans, and their axes and sizes."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=str(path))
        assert a.dtype == b.dtype


# whether one of several policies draws at all decides what columns a plan has: it is refused
@pytest.mark.parametrize("policy", list(POLICIES))
def test_the_same_plan_as_on_the_host(policy):
    def drawn(epoch, step):
        key = bm.Key(5, epoch, step, 1)
        return draw(POLICIES[policy], key, B, HW, pairing=Reverse())

    jitted = jax.jit(drawn)
    for epoch, step in [(0, 0), (1, 0), (0, 3)]:
        want = bm.draw(POLICIES[policy], bm.Key(5, epoch, step, 1), B, HW, pairing=Reverse())
        assert_same(jitted(epoch, step), want)
        assert_same(drawn(epoch, step), want)
        assert_same(drawn(jnp.int32(epoch), np.int64(step)), want)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_every_part_of_the_key_may_be_traced(pairing):
    pairing = PAIRINGS[pairing]
    jitted = jax.jit(lambda *key: draw(SWITCH, bm.Key(*key), B, HW, pairing=pairing))
    for key in [(0, 0, 0, 0), (1, 2, 3, 4)]:
        assert_same(jitted(*key), bm.draw(SWITCH, bm.Key(*key), B, HW, pairing=pairing))


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("size", [{}, {"T": 16}])
def test_every_batch_and_size(batch, size):
    policy = MixUp(1.0)
    jitted = jax.jit(lambda step: draw(policy, bm.Key(0, 0, step), batch, size))
    assert_same(jitted(3), bm.draw(policy, bm.Key(0, 0, 3), batch, size))


def test_in_scan_and_vmap():
    x = np.random.default_rng(0).standard_normal((B, 3, 6, 7)).astype(np.float32)
    steps = np.arange(3)
    want = [bm.mix(x, bm.draw(SWITCH, bm.Key(0, 0, int(k)), B, HW), "NCHW") for k in steps]

    def mixed(step):
        return bm.mix(jnp.asarray(x), draw(SWITCH, bm.Key(0, 0, step), B, HW), "NCHW")

    scanned = jax.jit(lambda: jax.lax.scan(lambda _, k: (_, mixed(k)), 0, steps)[1])
    for got in (scanned(), jax.vmap(mixed)(steps)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_drawn_is_refused_while_tracing():
    apart = PAIRINGS["roll"]
    with pytest.raises(bm.MixError, match="each other's partner"):
        jax.jit(lambda k: draw(PerPair(MixUp()), bm.Key(0, 0, k), B, HW, pairing=apart))(0)
    with pytest.raises(bm.MixError, match="no axes"):
        jax.jit(lambda k: draw(CutMix(), bm.Key(0, 0, k), B, {}))(0)


def test_a_key_below_zero():
    jitted = jax.jit(lambda k: draw(SWITCH, bm.Key(0, 0, k), B, HW).lam)
    with pytest.raises(WHILE_RUNNING, match="integers >= 0"):
        jitted(-1).block_until_ready()


class Masked:
    """MixUp through a mask: a plan with one more part."""

    def sample(self, request):
        paste = MixUp(1.0).sample(request)
        mask = np.ones((len(request.partner), *request.size.values()), np.float32)
        return Paste(box=paste.box, opacity=paste.opacity, kind=paste.kind, mask=mask)


def test_a_policy_with_a_mask():
    jitted = jax.jit(lambda k: draw(Masked(), bm.Key(0, 0, k), B, HW))
    assert_same(jitted(2), bm.draw(Masked(), bm.Key(0, 0, 2), B, HW))


def test_a_policy_whose_parts_depend_on_the_key():
    policy = Schedule({0: MixUp(1.0), 2: Masked()}, by="step")
    jitted = jax.jit(lambda k: draw(policy, bm.Key(0, 0, k), B, HW).lam)
    jitted(1).block_until_ready()
    with pytest.raises(WHILE_RUNNING, match="room for one kind of plan"):
        jitted(2).block_until_ready()
