"""timm's Mixup, in its three modes; it mixes in place, with the reversed batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timm.data import mixup as timm_mixup

import batchmix as bm
import cases as c

NOTHING = [[0, 0], [0, 0]]


def mixup(
    alpha: float = 1.0, cutmix: float = 1.0, mode: str = "elem", fast: bool = False,
    classes: int = c.CLASSES,
) -> Any:  # fmt: skip
    """timm's object, without label smoothing."""
    make = timm_mixup.FastCollateMixup if fast else timm_mixup.Mixup
    return make(alpha, cutmix, mode=mode, label_smoothing=0.0, num_classes=classes)


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """One lam or box per batch (given), per pair and per row (drawn)."""
    yield _per_batch(batch, c.MIXUP, c.LAM, False, c.whole(batch.size))
    box = c.centred(batch.size)
    yield _per_batch(batch, c.CUTMIX, c.own_share(box, batch.size), True, box)
    modes = {
        c.ROWS: mixup(),
        c.PAIRS: mixup(mode="pair"),
        c.MIXUP_ROWS: mixup(cutmix=0.0),
        c.CUTMIX_ROWS: mixup(0.0),
    }
    for work, mix in modes.items():
        yield c.Case("timm", work, "in place", *drawn(batch, mix))


def _per_batch(batch: c.Batch, work: str, lam: float, cut: bool, box: list[list[int]]) -> c.Case:
    """The mode "batch", told what to draw."""
    mix = mixup(mode="batch")
    mix._params_per_batch = lambda: (lam, cut)
    corners = [edge for side in box for edge in side]

    def call() -> Any:
        with c.replaced(timm_mixup, "rand_bbox", lambda *_, **__: corners):
            return mix(batch.work, batch.y)

    def seen() -> c.Mixed:
        pixels, labels = call()
        plan = batch.plan(np.arange(len(batch))[::-1], box, 1.0 if cut else 1 - lam)
        return c.Mixed(pixels, plan, labels)

    return c.Case("timm", work, "in place", call, seen)


def drawn(batch: c.Batch, mix: Any) -> tuple[Callable[[], Any], Callable[[], c.Mixed]]:
    """A call that draws for itself, and what it drew."""

    def call() -> Any:
        return mix(batch.work, batch.y)

    def seen() -> c.Mixed:
        (pixels, labels), plan = with_plan(call, mix, len(batch), batch.size)
        return c.Mixed(pixels, plan, labels)

    return call, seen


def with_plan(
    call: Callable[[], Any], mix: Any, rows: int, size: dict[str, int]
) -> tuple[Any, bm.Plan]:
    """The result of a call, and what `mix` drew in it, as a plan."""
    per = "_params_per_batch" if mix.mode == "batch" else "_params_per_elem"
    with c.noted(timm_mixup, "cutmix_bbox_and_lam") as cuts, c.noted(mix, per) as drawn:
        result = call()
    (parameters,) = drawn
    lam, cut = (np.atleast_1d(value) for value in parameters)
    boxes, found = iter(cuts), []
    for own, is_cut in zip(lam, cut):
        if own == 1:
            found.append((NOTHING, 0.0))
        elif is_cut:
            (top, bottom, left, right), _ = next(boxes)
            found.append(([[top, bottom], [left, right]], 1.0))
        else:
            found.append((c.whole(size), 1 - float(own)))
    if mix.mode == "pair":
        found += found[::-1]
    box, opacity = zip(*(found * rows if mix.mode == "batch" else found))
    return result, c.written(rows, size, np.arange(rows)[::-1], box, opacity)


def parts(rows: int, size: dict[str, int]) -> Iterator[c.Case]:
    """What comes before and after the pixels: the parameters of each row, the labels."""
    mix, shape, y = mixup(), (3, *size.values()), torch.randint(c.CLASSES, (rows,))
    lam = torch.rand(rows, 1)

    def draw() -> None:
        for own, cut in zip(*mix._params_per_elem(rows)):
            if cut:
                timm_mixup.cutmix_bbox_and_lam(shape, own)

    yield c.Case("timm", "draw parameters", "per row", draw)
    yield c.Case("timm", "soft labels", "dense", lambda: timm_mixup.mixup_target(y, c.CLASSES, lam))
