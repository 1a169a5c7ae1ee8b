"""Datarax' operator, compiled as its Pipeline compiles it; one lam or box per batch, NHWC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from datarax.operators.batch_mix_operator import BatchMixOperator, BatchMixOperatorConfig
from flax import nnx

import batchmix as bm
import cases as c
import compiled
from batchmix.policies import CutMix, MixUp, PerBatch
from peers.jax import jitted


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both modes, and the same of batchmix, which draws on the host."""
    x = jnp.asarray(batch.x.numpy().transpose(0, 2, 3, 1))
    y = jnp.asarray(batch.y.numpy())
    data = {"image": x, "label": jax.nn.one_hot(y, c.CLASSES)}
    for work, policy, mode in (
        (c.MIXUP, PerBatch(MixUp(1.0)), "mixup"),
        (c.CUTMIX, PerBatch(CutMix(1.0)), "cutmix"),
    ):
        for how, step in {
            "whole step, eager": compiled.eager,
            "whole step, jitted": jitted,
        }.items():
            made = step(batch, policy, "NHWC")
            yield compiled.ours(made, jax.block_until_ready, work, how, x, y, "NHWC")
        yield _case(batch, work, mode, data)


def _case(batch: c.Batch, work: str, mode: str, data: dict[str, Any]) -> c.Case:
    """One mode; what it draws, a twin with the same seed draws too, where it can be seen."""
    operator = _operator(mode)
    compiled = nnx.jit(_apply)

    def call() -> Any:
        return jax.block_until_ready(compiled(operator, data))

    def seen() -> c.Mixed:
        nonlocal operator
        operator = _operator(mode)
        mixed = call()
        plan = _plan(batch, mode, _operator(mode), data)
        pixels = compiled.channels_first(mixed["image"], "NHWC")
        return c.Mixed(pixels, plan, np.asarray(mixed["label"]))

    return c.Case("Datarax", work, "whole step, jitted", call, seen)


def _operator(mode: str) -> Any:
    """Anew, with its stream of random numbers at the start."""
    config = BatchMixOperatorConfig(
        mode=mode, alpha=1.0, data_field="image", label_field="label", stream_name="mix"
    )
    return BatchMixOperator(config, rngs=nnx.Rngs(mix=0))


def _apply(operator: Any, data: dict[str, Any]) -> Any:
    """What its Pipeline calls."""
    mixed, _ = operator._apply_on_raw(data, {})
    return mixed


def _plan(batch: c.Batch, mode: str, operator: Any, data: dict[str, Any]) -> bm.Plan:
    """The draws of an operator, read off a call that is not compiled."""
    with (
        c.noted(jax.random, "beta") as lams,
        c.noted(jax.random, "permutation") as orders,
        c.noted(jax.random, "randint") as centres,
    ):
        _apply(operator, data)
    if mode == "mixup":
        return batch.plan(orders[0], c.whole(batch.size), 1 - float(lams[0]))
    across, down = map(float, centres)
    share = np.sqrt(np.float32(1) - np.float32(float(lams[0])))
    box: list[list[int]] = []
    for centre, side in zip((down, across), batch.size.values()):
        ends = np.float32(centre) + np.array([-0.5, 0.5], np.float32) * (side * share)
        # a cell is inside where lo <= cell < hi, with ends that have fractions
        box.append(np.ceil(ends.clip(0, side)).astype(int).tolist())
    return batch.plan(orders[0], box, 1.0)
