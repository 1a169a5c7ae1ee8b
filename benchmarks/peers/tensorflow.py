"""The papers' formulas as they are written by hand for TensorFlow, compiled by XLA; per row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

import batchmix as bm
import cases as c
import compiled
from batchmix.fields import Image, Labels
from batchmix.policies import Policy


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """MixUp and CutMix, and the same of batchmix."""
    pixels = {c.MIXUP_ROWS: _compiled_of(1, _mix), c.CUTMIX_ROWS: _compiled_of(1, _cut)}
    step = {
        c.MIXUP_ROWS: _compiled_of(
            2, lambda x, y, order, lam: (_mix(x, order, lam), _soft(y, order, lam))
        ),
        c.CUTMIX_ROWS: _compiled_of(
            2, lambda x, y, order, lam, box: (_cut(x, order, box), _soft(y, order, lam))
        ),
    }
    # an eager call of a compiled function comes back when it is done
    framework = compiled.Framework(
        "TensorFlow", tf.constant, lambda done: done, pixels, step, _jitted
    )
    return compiled.cases(framework, batch)


def _jitted(batch: c.Batch, policy: Policy) -> compiled.Step:
    """A Mixer in a function: the graph draws, pixels and labels are compiled by XLA."""
    mixer = bm.Mixer(policy, {0: Image("NCHW"), 1: Labels(c.CLASSES)})
    graph = tf.function(lambda x, y, at: mixer((x, y), step=at, epoch=0 * at), autograph=False)
    steps = itertools.count()

    def step(x: Any, y: Any) -> Any:
        at = next(steps)
        pixels, labels = graph(x, y, tf.constant(at, tf.int64))
        return pixels, labels, lambda: bm.draw(policy, bm.Key(0, 0, at), len(batch), batch.size)

    return step


def _compiled_of(tensors: int, formula: Callable[..., Any]) -> Callable[..., Any]:
    """Behind its first arguments arrays of NumPy, which are converted in the fastest way."""
    compiled = tf.function(formula, jit_compile=True, autograph=False)
    return lambda *given: compiled(*given[:tensors], *map(tf.constant, given[tensors:]))


def _mix(x: Any, order: Any, lam: Any) -> Any:
    """x [B, C, H, W], lam [B]."""
    lam = lam[:, None, None, None]
    return x * lam + tf.gather(x, order) * (1 - lam)


def _cut(x: Any, order: Any, box: Any) -> Any:
    """x [B, C, H, W], box [B, 2, 2]."""
    box = tf.transpose(tf.reshape(box, [-1, 4]))[..., None, None, None]
    top, bottom, left, right = tf.unstack(box)
    down, across = tf.range(x.shape[2])[:, None], tf.range(x.shape[3])
    inside = (top <= down) & (down < bottom) & (left <= across) & (across < right)
    return tf.where(inside, tf.gather(x, order), x)


def _soft(y: Any, order: Any, lam: Any) -> Any:
    """Dense labels."""
    own, other = tf.one_hot(y, c.CLASSES), tf.one_hot(tf.gather(y, order), c.CLASSES)
    return own * lam[:, None] + other * (1 - lam[:, None])
