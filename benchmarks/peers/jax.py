"""The papers' formulas as they are written by hand for JAX, compiled; lam or box per row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import batchmix as bm
import batchmix.adapters.jax  # makes a plan a pytree
import cases as c
import compiled
from batchmix.pairing import Derangement
from batchmix.policies import Policy
from ours import plans


def cases(
    batch: c.Batch, array: Callable[[Any], Any] = jnp.asarray,
    wait: Callable[[Any], Any] = jax.block_until_ready,
) -> Iterator[c.Case]:  # fmt: skip
    """MixUp and CutMix, and the same of batchmix."""
    mix, cut = jax.jit(_mix), jax.jit(_cut)
    pixels, step = {c.MIXUP_ROWS: mix, c.CUTMIX_ROWS: cut}, {}
    step[c.MIXUP_ROWS] = jax.jit(
        lambda x, y, order, lam: (_mix(x, order, lam), _soft(y, order, lam))
    )
    step[c.CUTMIX_ROWS] = jax.jit(
        lambda x, y, order, lam, box: (_cut(x, order, box), _soft(y, order, lam))
    )
    framework = compiled.Framework("JAX", array, wait, pixels, step, jitted)
    return compiled.cases(framework, batch)


def jitted(batch: c.Batch, policy: Policy, layout: str = "NCHW") -> compiled.Step:
    """batchmix as docs/jax.md shows it: the plan is an argument of the compiled step."""
    draw = plans(policy, len(batch), batch.size, Derangement())
    compiled = jax.jit(
        lambda x, y, plan: (bm.mix(x, plan, layout), bm.mix_labels(y, plan, c.CLASSES))
    )

    def step(x: Any, y: Any) -> Any:
        plan = draw()
        return *compiled(x, y, plan), lambda: plan

    return step


def _mix(x: Any, order: Any, lam: Any) -> Any:
    """x [B, C, H, W], lam [B]."""
    lam = lam[:, None, None, None]
    return (x * lam + x[order] * (1 - lam)).astype(x.dtype)


def _cut(x: Any, order: Any, box: Any) -> Any:
    """x [B, C, H, W], box [B, 2, 2]."""
    top, bottom, left, right = box.reshape(-1, 4).T[..., None, None, None]
    down, across = jnp.arange(x.shape[2])[:, None], jnp.arange(x.shape[3])
    inside = (top <= down) & (down < bottom) & (left <= across) & (across < right)
    return jnp.where(inside, x[order], x)


def _soft(y: Any, order: Any, lam: Any) -> Any:
    """Dense labels."""
    own, other = jax.nn.one_hot(y, c.CLASSES), jax.nn.one_hot(y[order], c.CLASSES)
    return own * lam[:, None] + other * (1 - lam[:, None])
