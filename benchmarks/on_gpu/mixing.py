"""batchmix on a device: whole steps, and the pixels alone with a plan that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

import batchmix as bm
import cases as c
from batchmix.fields import Field, Grid, Labels
from batchmix.pairing import Derangement, Pairing, Reverse
from batchmix.policies import CutMix, FMix, Layers, MixUp, PerPair, Policy, ResizeMix, Switch
from images import MEAN_255, STD_255, normalise
from ours import SWITCH, Fixed, plans

PIXELS = "pixels only"
RESIDENT = "plan on the device"
POLICIES: dict[str, Policy] = {  # what each row is mixed by
    "Switch of both": SWITCH,
    "FMix: a mask": FMix(1.0),
    "ResizeMix: a source": ResizeMix(),
    "MixUp under CutMix: layers": Layers([MixUp(1.0), CutMix(1.0)]),
    "Switch with FMix": Switch([MixUp(1.0), FMix(1.0)]),
}


def works(batch: c.Batch) -> dict[str, Policy]:
    """The work of the tables, as a policy."""
    return {
        c.MIXUP: Fixed(c.whole(batch.size), 1 - c.LAM),
        c.CUTMIX: Fixed(c.centred(batch.size), 1.0),
        c.MIXUP_ROWS: MixUp(1.0),
        c.CUTMIX_ROWS: CutMix(1.0),
        c.ROWS: SWITCH,
    }


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Everything: the step by hand, through `Mixer`, and its pixels."""
    for work, policy in works(batch).items():
        yield step(batch, work, "new array", policy, Derangement())
        yield step(batch, work, "in place", policy, Reverse())
        yield from pixels(batch, work, policy)
    yield step(batch, c.PAIRS, "in place", PerPair(SWITCH), Reverse())
    yield from few(batch, c.PAIRS, PerPair(SWITCH), Reverse())
    for inplace in (False, True):
        yield mixer(batch, inplace)
    yield resident(batch)


def in_a_graph(batch: c.Batch, backend: str) -> c.Case:
    """Within a function that torch compiles to one graph, or not at all."""
    plan = plans(SWITCH, len(batch), batch.size, Derangement())()
    mix = torch.compile(
        lambda x: bm.mix(x, plan, batch.layout), backend=backend, dynamic=False, fullgraph=True
    )

    def call() -> Any:
        return mix(batch.x)

    how = f"new array, {PIXELS}, in torch.compile"
    return c.Case("batchmix", c.ROWS, how, call, lambda: c.Mixed(call(), plan))


def few(
    batch: c.Batch, work: str, policy: Policy, pairing: Pairing | None = None
) -> Iterator[c.Case]:
    """In place for one pairing."""
    draw = plans(policy, len(batch), batch.size, pairing or Derangement())
    yield _pixels(batch, work, "in place", draw(), batch.work)


def pixels(batch: c.Batch, work: str, policy: Policy) -> Iterator[c.Case]:
    """A new array, one that is there, and in place by pairs."""
    size = len(batch), batch.size
    drawn = plans(policy, *size, Derangement())()
    yield _pixels(batch, work, "new array", drawn, None)
    yield _pixels(batch, work, "out=", drawn, batch.out)
    yield _pixels(batch, work, "in place", plans(policy, *size, Reverse())(), batch.work)


def _pixels(batch: c.Batch, work: str, how: str, plan: bm.Plan, out: Any) -> c.Case:
    """One plan again and again; it still goes to the device each time."""
    x = batch.work if out is batch.work else batch.x

    def call() -> Any:
        return bm.mix(x, plan, batch.layout, out=out)

    return c.Case("batchmix", work, f"{how}, {PIXELS}", call, lambda: c.Mixed(call(), plan))


def resident(batch: c.Batch) -> c.Case:
    """The kernel alone: not even the plan moves."""
    plan = plans(SWITCH, len(batch), batch.size, Derangement())()
    there: list[Any] = []

    def call() -> Any:
        if not there:  # on the first call: where there is none, it is this line that fails
            there.append(plan_buffer(plan, batch.x.device))
        return bm.mix(batch.x, there[0].plan, batch.layout)

    how = f"new array, {PIXELS}, {RESIDENT}"
    return c.Case("batchmix", c.ROWS, how, call, lambda: c.Mixed(call(), plan))


def plan_buffer(plan: bm.Plan, device: Any) -> Any:
    """A plan in the device's memory, which another can be written over."""
    from batchmix.adapters import torch as adapter

    return adapter.PlanBuffer(plan, device)


def step(batch: c.Batch, work: str, how: str, policy: Policy, pairing: Pairing) -> c.Case:
    """Draw, mix, dense labels."""
    draw = plans(policy, len(batch), batch.size, pairing)
    x, out = (batch.work, batch.work) if how == "in place" else (batch.x, None)

    def call() -> Any:
        plan = draw()
        labels = bm.mix_labels(batch.y, plan, batch.classes)
        return bm.mix(x, plan, batch.layout, out=out), labels, plan

    def seen() -> c.Mixed:
        pixels, labels, plan = call()
        return c.Mixed(pixels, plan, labels)

    return c.Case("batchmix", work, how, call, seen)


def mixer(batch: c.Batch, inplace: bool) -> c.Case:
    """The whole step in one call."""
    fields: dict[int, Field] = {0: Grid(batch.layout), 1: Labels(batch.classes)}
    mix = bm.Mixer(SWITCH, fields, seed=0, inplace=inplace)
    given = batch.work if inplace else batch.x, batch.y

    def seen() -> c.Mixed:
        key = bm.Key(seed=0, epoch=0, step=mix.step)
        plan = bm.draw(SWITCH, key, len(batch), batch.size, pairing=Derangement())
        pixels, labels = mix(given)
        return c.Mixed(pixels, plan, labels)

    how = "in place, Mixer" if inplace else "new array, Mixer"
    return c.Case("batchmix", c.ROWS, how, lambda: mix(given), seen)


def by_policy(batch: c.Batch) -> Iterator[c.Case]:
    """Each policy, its pixels alone."""
    for work, policy in POLICIES.items():
        yield from pixels(batch, work, policy)


def normalised(batch: c.Batch, out: Any) -> Iterator[c.Case]:
    """8-bit images [B, H, W, C] to a normalised batch [B, C, H, W], mixed on the way."""
    draw = plans(SWITCH, len(batch), batch.size, Derangement())
    plan = draw()

    def by(given: bm.Plan, into: Any = None) -> Any:
        dtype: Any = str(out.dtype).removeprefix("torch.")
        return bm.mix_normalize(batch.x, given, MEAN_255, STD_255, dtype=dtype, out=into)

    def whole() -> Any:
        drawn = draw()
        return by(drawn), bm.mix_labels(batch.y, drawn, batch.classes), drawn

    def seen_whole() -> c.Mixed:
        pixels, labels, drawn = whole()
        return c.Mixed(pixels, drawn, labels, finish=normalise)

    def seen(call: Callable[[], Any]) -> Callable[[], c.Mixed]:
        return lambda: c.Mixed(call(), plan, finish=normalise)

    new, into = (lambda: by(plan)), (lambda: by(plan, out))
    yield c.Case("batchmix", c.ROWS, "new array", whole, seen_whole)
    yield c.Case("batchmix", c.ROWS, f"new array, {PIXELS}", new, seen(new))
    yield c.Case("batchmix", c.ROWS, f"out=, {PIXELS}", into, seen(into))


def labels(batch: c.Batch) -> Iterator[c.Case]:
    """Soft labels alone, and the plan alone, which the host draws."""
    draw = plans(SWITCH, len(batch), batch.size, Derangement())
    plan = draw()

    def dense() -> Any:
        return bm.mix_labels(batch.y, plan, batch.classes)

    def pairs() -> Any:
        return bm.pairs(batch.y, plan)

    yield c.Case("batchmix", "soft labels", "dense", dense, lambda: c.Mixed(None, plan, dense()))
    yield c.Case(
        "batchmix", "soft labels", "pairs", pairs, lambda: c.Mixed(None, plan, c.dense(*pairs()))
    )  # fmt: skip
    yield c.Case("batchmix", "draw a plan", "on the host", draw)
