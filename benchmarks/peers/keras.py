"""Keras' layers MixUp and CutMix, on one of its backends; both draw per row, boxes in fractions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras  # type: ignore[import-untyped, unused-ignore]
import numpy as np

import cases as c

_NAMES = {"torch": "Keras", "jax": "Keras on JAX", "tensorflow": "Keras on TensorFlow"}


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both, on one-hot labels, which the layers need, made beforehand."""
    x = keras.ops.convert_to_tensor(batch.x.numpy())
    inputs = {"images": x, "labels": keras.ops.one_hot(batch.y.numpy(), c.CLASSES)}
    mix = keras.layers.MixUp(alpha=1.0, data_format="channels_first")
    cut = keras.layers.CutMix(factor=(1.0, 1.0), data_format="channels_first")

    def call(layer: Any) -> Any:
        found = layer(inputs)
        for value in found.values():  # JAX comes back before it is done
            getattr(value, "block_until_ready", lambda: None)()
        return found

    def seen(layer: Any) -> c.Mixed:
        with c.noted(layer, "get_random_transformation") as drawn:
            mixed = _numpy(call(layer))
        found = _numpy(drawn[0])
        order = found["permutation_order"]
        if layer is mix:
            plan = batch.plan(order, c.whole(batch.size), 1 - found["mix_weight"].astype(float))
        else:
            plan = batch.plan(order, [_box(mask) for mask in found["batch_masks"][:, 0]], 1.0)
        return c.Mixed(mixed["images"], plan, mixed["labels"])

    library = _NAMES[keras.backend.backend()]
    yield c.Case(library, c.MIXUP_ROWS, "new array", lambda: call(mix), lambda: seen(mix))
    yield c.Case(library, c.CUTMIX_ROWS, "new array", lambda: call(cut), lambda: seen(cut))


def _numpy(found: dict[str, Any]) -> dict[str, Any]:
    """The same arrays, on the host."""
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


def _box(mask: Any) -> list[list[int]]:
    """The rectangle of cells that a mask [H, W] marks."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return [[int(at[0]), int(at[-1]) + 1] if len(at) else [0, 0] for at in sides]
