"""torchvision's v2.MixUp and v2.CutMix; partners are the batch moved on by one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from torchvision.transforms import v2

import batchmix as bm
import cases as c


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Both, told what to draw."""
    (top, bottom), (left, right) = box = c.centred(batch.size)
    drawn = {"box": (left, top, right, bottom), "lam_adjusted": c.own_share(box, batch.size)}
    for work, transform, parameters, pasted, opacity in (
        (c.MIXUP, v2.MixUp(num_classes=c.CLASSES), {"lam": c.LAM}, c.whole(batch.size), 1 - c.LAM),
        (c.CUTMIX, v2.CutMix(num_classes=c.CLASSES), drawn, box, 1.0),
    ):
        transform.make_params = lambda _, found=parameters: found
        yield _case(batch, work, transform, pasted, opacity)


def per_row(batch: c.Batch) -> Iterator[c.Case]:
    """CutMix as it draws for itself, which is once for the batch, with dense labels."""
    cut = v2.CutMix(num_classes=batch.classes)
    yield c.Case("torchvision, one draw", "CutMix", "new array", *drawn(batch, cut))


def _case(batch: c.Batch, work: str, transform: Any, box: Any, opacity: float) -> c.Case:
    """One of them."""

    def call() -> Any:
        return transform(batch.x, batch.y)

    def seen() -> c.Mixed:
        pixels, labels = call()
        plan = batch.plan(np.roll(np.arange(len(batch)), 1), box, opacity)
        return c.Mixed(pixels, plan, labels)

    return c.Case("torchvision", work, "new array", call, seen)


def drawn(batch: c.Batch, transform: Any) -> tuple[Callable[[], Any], Callable[[], c.Mixed]]:
    """A call that draws for itself, and what it drew."""

    def call() -> Any:
        return transform(batch.x, batch.y)

    def seen() -> c.Mixed:
        (pixels, labels), plan = with_plan(call, [transform], len(batch), batch.size)
        return c.Mixed(pixels, plan, labels)

    return call, seen


def with_plan(
    call: Callable[[], Any], transforms: Iterable[Any], rows: int, size: dict[str, int]
) -> tuple[Any, bm.Plan]:
    """The result of a call, and what one of the transforms drew in it, as a plan."""
    with ExitStack() as stack:
        noted = [stack.enter_context(c.noted(one, "make_params")) for one in transforms]
        result = call()
    ((parameters,),) = filter(None, noted)
    box, opacity = c.whole(size), 1 - parameters.get("lam", 0.0)
    if "box" in parameters:
        left, top, right, bottom = parameters["box"]
        box = [[top, bottom], [left, right]]
    return result, c.written(rows, size, np.roll(np.arange(rows), 1), box, opacity)
