"""A CUDA graph that is captured once, and replayed with another plan each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

import batchmix as bm
import cases as c
from batchmix.pairing import Derangement
from on_gpu import batches
from on_gpu.batches import ROUNDING
from on_gpu.measure import Run, Setting, Table, lines_of, measured
from on_gpu.mixing import plan_buffer, step
from on_gpu.parts import MAIN, sized
from on_gpu.training import net
from ours import SWITCH, plans

GROUP = "CUDA graph, bfloat16"


def graph(setting: Setting) -> Iterator[Run]:
    """Mixing alone, and a training step that contains it."""
    kind = sized(setting, MAIN)
    there = [batches.batch(kind, setting.device, seed) for seed in range(3 if setting.cuda else 1)]
    lines = [*lines_of(_mixing, there), (_training(setting, there[0]),)]
    rounding = ROUNDING[kind.dtype]
    yield measured(setting, Table(GROUP, kind.shape, kind.bytes, rounding, there[0], lines))


def captured(work: Callable[[], Any], device: Any) -> tuple[Callable[[], None], Any]:
    """What replays `work`, and where its results lie; it is run three times before."""
    if torch.device(device).type != "cuda":
        raise NotImplementedError("no GPU, no CUDA graph")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    kept = torch.cuda.CUDAGraph()
    with torch.cuda.graph(kept):
        results = work()
    return kept.replay, results


def _mixing(batch: c.Batch) -> Iterator[c.Case]:
    """The whole step, launched one by one, and replayed."""
    yield step(batch, c.ROWS, "new array", SWITCH, Derangement())
    draw = plans(SWITCH, len(batch), batch.size, Derangement())
    there: list[Any] = []

    def prepared() -> Any:
        buffer = plan_buffer(draw(), batch.x.device)

        def mixed() -> Any:
            labels = bm.mix_labels(batch.y, buffer.plan, batch.classes)
            return bm.mix(batch.x, buffer.plan, batch.layout), labels

        return buffer, *captured(mixed, batch.x.device)

    def call() -> Any:
        if not there:
            there.extend(prepared())
        buffer, replay, results = there
        plan = draw()
        buffer.fill(plan)
        replay()
        return *results, plan

    def seen() -> c.Mixed:
        for _ in range(3):  # a plan that is filled in too early spoils the replay before it
            pixels, labels, plan = call()
        return c.Mixed(pixels, plan, labels)

    yield c.Case("batchmix", c.ROWS, "replayed, plan refilled", call, seen)


def _training(setting: Setting, batch: c.Batch) -> c.Case:
    """Mixing, forward, backward and SGD in one graph; only the plan changes."""
    draw = plans(SWITCH, len(batch), batch.size, Derangement())
    there: list[Any] = []

    def prepared() -> Any:
        buffer, train = plan_buffer(draw(), batch.x.device), net(setting)

        def trained() -> Any:
            labels = bm.mix_labels(batch.y, buffer.plan, batch.classes)
            return train(bm.mix(batch.x, buffer.plan, batch.layout), labels)

        return buffer, *captured(trained, batch.x.device)

    def call() -> Any:
        if not there:
            there.extend(prepared())
        buffer, replay, loss = there
        buffer.fill(draw())
        replay()
        return loss

    return c.Case("batchmix", "training step", "replayed, plan refilled", call)
