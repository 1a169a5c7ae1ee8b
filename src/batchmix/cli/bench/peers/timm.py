"""timm's Mixup, in its three modes; it mixes in place, with the reversed batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timm.data import mixup as timm_mixup

import batchmix as bm
from batchmix.cli.bench._cases import (
    CLASSES,
    CUTMIX,
    CUTMIX_ROWS,
    DRAW,
    LABELS,
    LAM,
    MIXUP,
    MIXUP_ROWS,
    PAIRS,
    ROWS,
    Batch,
    Case,
    Mixed,
    centred,
    noted,
    own_share,
    replaced,
    whole,
    written,
)

NOTHING = [[0, 0], [0, 0]]


def mixup(alpha: float = 1.0, cutmix: float = 1.0, mode: str = "elem", fast: bool = False) -> Any:
    """timm's object, without label smoothing."""
    make = timm_mixup.FastCollateMixup if fast else timm_mixup.Mixup
    return make(alpha, cutmix, mode=mode, label_smoothing=0.0, num_classes=CLASSES)


def cases(batch: Batch) -> Iterator[Case]:
    """One lam or box per batch (given), per pair and per row (drawn)."""
    yield _per_batch(batch, MIXUP, LAM, False, whole(batch.size))
    box = centred(batch.size)
    yield _per_batch(batch, CUTMIX, own_share(box, batch.size), True, box)
    drawn = {
        ROWS: mixup(),
        PAIRS: mixup(mode="pair"),
        MIXUP_ROWS: mixup(cutmix=0.0),
        CUTMIX_ROWS: mixup(0.0),
    }
    for work, mix in drawn.items():
        yield Case("timm", work, "in place", *_drawn(batch, mix))


def _per_batch(batch: Batch, work: str, lam: float, cut: bool, box: list[list[int]]) -> Case:
    """The mode "batch", told what to draw."""
    mix = mixup(mode="batch")
    mix._params_per_batch = lambda: (lam, cut)
    corners = [edge for side in box for edge in side]

    def call() -> Any:
        with replaced(timm_mixup, "rand_bbox", lambda *_, **__: corners):
            return mix(batch.work, batch.y)

    def seen() -> Mixed:
        pixels, labels = call()
        plan = batch.plan(np.arange(len(batch))[::-1], box, 1.0 if cut else 1 - lam)
        return Mixed(pixels, plan, labels)

    return Case("timm", work, "in place", call, seen)


def _drawn(batch: Batch, mix: Any) -> tuple[Callable[[], Any], Callable[[], Mixed]]:
    """The modes "pair" and "elem" draw for themselves."""

    def call() -> Any:
        return mix(batch.work, batch.y)

    def seen() -> Mixed:
        (pixels, labels), plan = with_plan(call, mix, len(batch), batch.size)
        return Mixed(pixels, plan, labels)

    return call, seen


def with_plan(
    call: Callable[[], Any], mix: Any, rows: int, size: dict[str, int]
) -> tuple[Any, bm.Plan]:
    """The result of a call, and what `mix` drew in it, as a plan."""
    per = "_params_per_batch" if mix.mode == "batch" else "_params_per_elem"
    with noted(timm_mixup, "cutmix_bbox_and_lam") as cuts, noted(mix, per) as drawn:
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
            found.append((whole(size), 1 - float(own)))
    if mix.mode == "pair":
        found += found[::-1]
    box, opacity = zip(*(found * rows if mix.mode == "batch" else found))
    return result, written(rows, size, np.arange(rows)[::-1], box, opacity)


def parts(rows: int, size: dict[str, int]) -> Iterator[Case]:
    """What comes before and after the pixels: the parameters of each row, the labels."""
    mix, shape, y = mixup(), (3, *size.values()), torch.randint(CLASSES, (rows,))
    lam = torch.rand(rows, 1)

    def draw() -> None:
        for own, cut in zip(*mix._params_per_elem(rows)):
            if cut:
                timm_mixup.cutmix_bbox_and_lam(shape, own)

    yield Case("timm", DRAW, "per row", draw)
    yield Case("timm", LABELS, "dense", lambda: timm_mixup.mixup_target(y, CLASSES, lam))
