"""A plan on another grid: a method of `Plan`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from batchmix._columns import checked_size, on_grid
from batchmix._errors import mix_error
from batchmix._layers import check_known, then, weights

if TYPE_CHECKING:
    from batchmix._plan import Plan


def at(plan: Plan, size: Mapping[str, int]) -> Plan:
    """The same plan on another grid, such as that of features, with `lam` counted there.

    Edges of boxes go to the nearest cell, and labels follow what is pasted there. Without axes rows
    are blended by their weights.

    Args:
      size: cells per axis: those of this plan, or {}.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 100], [0, 224]]] * 2, [1, 1], "HW", (224, 224))
      >>> small, flat = plan.at({"H": 7, "W": 7}), plan.at({})
      >>> small.box[0].tolist(), round(float(small.lam[0]), 2), round(float(flat.opacity[0]), 2)
      ([[0, 3], [0, 7]], 0.57, 0.45)
    """
    check_known("Plan.at()", plan)
    axes = tuple(size) if isinstance(size, Mapping) else ()
    cells = checked_size("Plan.at()", axes, *(size.values() if axes else ()))
    if not isinstance(size, Mapping) or set(axes) not in (set(plan.axes), set()):
        raise mix_error(
            "Plan.at()", f"got size={size!r}; the plan has the axes {plan.axes!r}.",
            "It maps each axis of the plan to its cells there; or it is {}.",
            "Pass for example plan.at({'H': 7, 'W': 7}).",
        )  # fmt: skip
    if not axes and plan.axes:
        return reduce(then, _blended(plan))
    order = [axes.index(axis) for axis in plan.axes]
    return reduce(then, [_rescaled(layer, tuple(cells[k] for k in order)) for layer in plan.layers])


def _rescaled(layer: Plan, size: tuple[int, ...]) -> Plan:
    """One layer on a grid of the same axes."""
    cells, n = np.array(size, np.int64)[:, None], np.array(layer.size, np.int64)[:, None]
    box = (2 * layer.box * cells + n) // (2 * n)
    source = layer.source
    if source is not None:
        source = (2 * source * cells + n) // (2 * n)
        low = np.minimum(source[..., 0], cells[:, 0] - 1)
        source = np.stack([low, np.maximum(source[..., 1], low + 1)], -1)
    mask = layer.mask
    if mask is not None:  # one of fewer cells stays as it is
        mask = on_grid(mask, tuple(map(min, mask.shape[1:], size)))
    return _anew(layer, box=box, source=source, mask=mask, size=size)


def _blended(plan: Plan) -> list[Plan]:
    """Its layers without axes, each at the opacity that leaves the weights as they are."""
    found = weights(plan).cumsum(1, dtype=np.float64)
    made = []
    for k, layer in enumerate(plan.layers):
        whole = np.where(found[:, k + 1] > 0, found[:, k + 1], 1)
        opacity = np.where(found[:, k + 1] > 0, 1 - found[:, k] / whole, 0).clip(0, 1)
        box = np.empty((len(plan), 0, 2), np.int32)
        changed = {"axes": "", "size": (), "source": None, "mask": None}
        made.append(_anew(layer, opacity=opacity, box=box, **changed))
    return made


def _anew(layer: Plan, **changed: Any) -> Plan:
    """A plan of one layer, checked, and what is derived counted again."""
    kept = {name: getattr(layer, name) for name in ("partner", "opacity", "kind")}
    label_lam = layer.label_lam
    if label_lam is not None:  # NaN, by area, where it says what the area does
        label_lam = np.where(label_lam == layer.lam, np.float32(np.nan), label_lam)
    return type(layer)(**layer.form | kept | {"label_lam": label_lam} | changed)
