"""The picture of `batchmix.show`: rows of a user's own batch, drawn as `preview` draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix._show._look import Look
from batchmix.cli._mixing import Mixing
from batchmix.cli.lab.rows import Column, Data, Rows, Task
from batchmix.cli.show import pictures
from batchmix.cli.show.beside import Beside
from batchmix.cli.show.page import players
from batchmix.cli.show.shown import Batch, Shown, Source


def drawn(look: Look, plan: bm.Plan, rows: int, rate: int | None) -> tuple[bytes, str]:
    """A PNG, and players of sounds in HTML."""
    x, mixed = look.x, look.mixed
    columns: tuple[Column, ...] = ()
    if look.form == "image":
        x, mixed = _as_pixels(x, x), _as_pixels(mixed, x)
    elif look.form == "table":
        columns = tuple(Column(str(k)) for k in range(x.shape[1]))
        x, mixed = x[..., None], mixed[..., None]
    task, told = Task("classes", tuple(look.names)), Rows([""] * len(x), look.ids, x.__getitem__)
    data = Data("batch", "", look.form, task, told, rate=rate or 0, columns=columns)
    before, after = (
        Beside([each[when] for each in look.marks], look.box_names, look.masks and look.masks[when])
        for when in (0, 1)
    )
    batch = Batch(Source(data), x, look.ids, Mixing(), before, True, look.numbers)
    shown = Shown("plan:", batch, plan, look.opacity, mixed, look.soft, after)
    heard = players([shown], rows) if rate else ""
    return pictures.rows(repr(plan), [shown], first=rows), heard


def _as_pixels(x: NDArray[Any], like: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 [B, H, W, 1 or 3]; values are scaled by the range of `like`."""
    if x.shape[-1] not in (1, 3):
        x, like = x.mean(-1, keepdims=True), like.mean(-1, keepdims=True)
    if x.dtype == np.uint8:
        return np.asarray(x, np.uint8)
    known = like[np.isfinite(like)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    shares = (np.nan_to_num(x.astype(np.float32)) - low) / max(high - low, 1e-9)
    return np.asarray(np.rint(255 * shares.clip(0, 1)), np.uint8)
