"""The picture of `batchmix.show`: rows of a user's own batch, drawn as `preview` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli.lab.rows import Data, Form, Rows, Task
from batchmix.cli.show import pictures
from batchmix.cli.show.shown import Batch, Shown, Source


def drawn(
    x: NDArray[Any], mixed: NDArray[Any], opacity: NDArray[Any], *, plan: bm.Plan,
    ids: NDArray[Any], soft: NDArray[np.float32], names: Sequence[str], rows: int,
) -> bytes:  # fmt: skip
    """A PNG. `x` and `mixed` are [B, H, W, C] or [B, T, C], `opacity` has one channel."""
    form: Form = "image" if x.ndim == 4 else "wave"
    if form == "image":
        x, mixed = _as_pixels(x, x), _as_pixels(mixed, x)
    task = Task("classes", tuple(names))
    data = Data("batch", "", form, task, Rows([""] * len(ids), ids, x.__getitem__))
    batch = Batch(Source(data), x, ids, Mixing())
    shown = Shown("plan:", batch, plan, opacity[..., 0], mixed, soft)
    return pictures.rows(repr(plan), [shown], first=rows)


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
