"""Applying a plan to waveforms so that what is blended is as loud as what is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchmix._batch import dtype_of
from batchmix._errors import mix_error
from batchmix._mix import checked, mix
from batchmix._plan import Plan
from batchmix.backends import Backend, _formula, called_as_is
from batchmix.backends._contract import COMPUTE

_WHERE = "Audio(keep_energy=True)"


@called_as_is
def mix_energy(x: Any, plan: Plan, layout: str, *, other: Any = None, out: Any = None) -> Any:
    """The verb of `fields.Audio` with `keep_energy`, where it is described."""
    b = checked("mix()", x, plan, layout, other, out)
    check_energy(x)
    if _one_shows(b, x, plan):
        return mix(x, plan, layout, other=other, out=out)
    compute = COMPUTE[dtype_of(x)]
    mixed = mix(x, plan, layout, other=other)
    wide = mixed
    if compute != dtype_of(x):  # rounded once, at the end
        others = None if other is None else b.cast(other, compute)
        wide = mix(b.cast(x, compute), plan, layout, other=others)
    squares = _squares(b, x, plan, layout)
    loud = wide * b.cast(squares, compute) ** -0.5
    if b.is_integer(x):
        info = np.iinfo(dtype_of(x))
        loud = b.where(loud > info.max, 0 * loud + info.max, loud)
        loud = b.where(loud < info.min, 0 * loud + info.min, loud)
    kept = b.where(squares == 1, mixed, b.rounded(loud, x))
    return kept if out is None else mix(x, _copy(plan), layout, other=kept, out=out)


def _copy(plan: Plan) -> Plan:
    """Each row is the same row of `other`."""
    rows = len(plan)
    all_of_it, none = np.ones(rows, np.float32), np.zeros(rows, np.float32)
    at = np.arange(rows, dtype=np.int32)
    box = np.zeros((rows, 0, 2), np.int32)
    return Plan.unchecked(
        axes="", size=(), others=rows, partner=at, box=box, opacity=all_of_it, lam=none
    )


def check_energy(x: Any) -> None:
    """Zero is silence."""
    if dtype_of(x).startswith("uint"):
        raise mix_error(
            _WHERE, f"`x` has dtype {dtype_of(x)}.",
            "It scales waveforms about 0; of unsigned integers silence is the middle of the range.",
            "Convert to int16 or to floats about 0 first.",
        )  # fmt: skip


def _one_shows(b: Backend, x: Any, plan: Plan) -> bool:
    """Whether the host can see that no cell is blended; not in a graph, nor on a device."""
    layers = (plan, *plan.above)
    known = all(type(layer.opacity) is np.ndarray for layer in layers)
    if not known or b.on_host(b.array(plan.opacity, x)) is None:
        return False
    hard = all(bool(((layer.opacity == 0) | (layer.opacity == 1)).all()) for layer in layers)
    masks = [layer.mask for layer in layers if layer.mask is not None]
    return hard and all(bool(((m == 0) | (m == (255 if m.dtype == np.uint8 else 1))).all())
                        for m in masks)  # fmt: skip


def _squares(b: Backend, x: Any, plan: Plan, layout: str) -> Any:
    """The sum of the squares of the weights in each cell; exactly 1 where one row shows."""
    total: Any = 1.0
    for layer in (plan, *plan.above):
        opacity = _formula.opacity_of(b, x, layer, layout)
        inside = _formula.inside_of(b, x, layer, layout, opacity > 0)
        opacity = b.where(inside, opacity, 0 * opacity)
        total = (1 - opacity) * (1 - opacity) * total + opacity * opacity
    return total
