"""Hosts whose callbacks mix a batch one after another, and leave its ids to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.fields import Grid

_LAYOUTS = {2: "NC", 4: "NCHW"}


def earlier(host: Any, batch: Any, by: Any) -> list[Any]:
    """Callbacks that mixed this batch before; `host.mixed_by` keeps them, whoever called them."""
    number, acted = getattr(host, "mixed_by", (None, []))
    return [] if number != batch or by in acted else acted  # in it: the same batch once more


def own_seed(host: Any, batch: Any, by: Any, seed: int) -> int:
    """A seed that nobody gave: another one for each that mixes a batch."""
    return int(seed) + (len(earlier(host, batch, by)) << 32)  # those of Trainers are below


def join(where: str, host: Any, batch: Any, by: Any) -> None:
    """The weights of two plans may be multiplied only if one of them blends all cells alike."""
    acted = [*earlier(host, batch, by), by]
    cuts = sum(bool((abs(1 - one.plan.opacity - one.plan.lam) > 1e-6).any()) for one in acted)
    if cuts > 1 or any(one.to_loss != by.to_loss for one in acted):
        raise mix_error(
            where, f"{len(acted)} of them mix a batch, {cuts} of which paste boxes.",
            "A second box hides part of the first, and all must leave the same targets to the "
            "loss, or interpolate it, or none.",
            f"Use one: {where}(Switch([policies.MixUp(0.4), policies.CutMix(1.0)])).",
        )  # fmt: skip
    host.mixed_by = batch, acted


def plans_of(host: Any, by: Any) -> list[bm.Plan]:
    """All plans of the batch, for the one who mixed it last: the loss is computed once."""
    _, acted = host.mixed_by
    return [one.plan for one in acted] if acted[-1] is by else []


def held(
    plans: list[bm.Plan], rows: int, own: Sequence[float] | None = None
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """[(source [B], weight [B])]: what rows hold in the end, their own content first.

    `own`: of each plan the one weight of all rows, where a loss takes no other for each row.
    """
    parts = [(np.arange(rows), np.ones(rows, np.float32))]
    for k, plan in enumerate(plans):
        (_, *sources), (kept, *shares) = (x.T for x in bm.parts(np.arange(rows), plan))
        if own is not None:
            kept, shares = np.float32(own[k]), [np.float32(1 - own[k])]
        theirs = [
            (at[source], share * weight[source])
            for source, share in zip(sources, shares)
            for at, weight in parts
        ]
        parts = [(at, kept * weight) for at, weight in parts] + theirs
    return parts


def grids(where: str, inputs: Sequence[Any], targets: Sequence[Any]) -> list[Grid]:
    """The fields of inputs that nobody named, where targets that nobody named have one weight."""
    parts = [(x, tuple(_LAYOUTS)) for x in inputs] + [(y, (1, 2)) for y in targets]
    for part, axes in parts:
        if getattr(part, "ndim", 0) not in axes:
            shape = tuple(getattr(part, "shape", ()))
            raise mix_error(
                where, f"got a {type(part).__name__} of shape {shape}.",
                "What no field names is an image [B, C, H, W], a table [B, C], or a target [B] or "
                "[B, C]: one weight per row does not say which cells are the partner's.",
                f"Say what it is: {where}(Mixer(policy, {{0: Image('NCHW'), 1: Mask('NHW')}})).",
            )  # fmt: skip
    return [Grid(_LAYOUTS[x.ndim]) for x in inputs]


def averaged(y: Any, plan: bm.Plan, other: Any = None, *, classes: int | None = None) -> Any:
    """A field: targets [B] or [B, C] averaged by the weights of a plan; ids become soft labels."""
    if y.ndim == 1 and not y.is_floating_point():
        return bm.mix_labels(y, plan, classes)
    mixed = bm.mix_labels(y.reshape(len(y), -1), plan).reshape(y.shape)
    return mixed.to(y.dtype) if y.is_floating_point() else mixed
