"""The papers' formulas as they are written in a training loop, in NumPy and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import one_hot

from batchmix.cli.bench._cases import (
    CLASSES,
    CUTMIX,
    LABELS,
    LAM,
    MIXUP,
    Batch,
    Case,
    Mixed,
    centred,
    own_share,
    whole,
)


def cases(batch: Batch) -> Iterator[Case]:
    """MixUp and CutMix of a batch with itself in another order."""
    box = centred(batch.size)
    cut = own_share(box, batch.size)
    inside = np.s_[:, :, slice(*box[0]), slice(*box[1])]
    x, y = batch.x.numpy(), batch.y.numpy()
    lam, rest = np.float32(LAM), np.float32(1 - LAM)
    eye = np.eye(CLASSES, dtype=np.float32)

    def numpy_mix() -> Any:
        order = np.random.permutation(len(x))
        return x * lam + x[order] * rest, eye[y] * lam + eye[y[order]] * rest, order

    def numpy_cut() -> Any:
        order = np.random.permutation(len(x))
        mixed = x.copy()
        mixed[inside] = x[order][inside]
        return mixed, eye[y] * np.float32(cut) + eye[y[order]] * np.float32(1 - cut), order

    def torch_mix() -> Any:
        order = torch.randperm(len(x))
        return batch.x * LAM + batch.x[order] * (1 - LAM), _soft(batch.y, order, LAM), order

    def torch_cut() -> Any:
        order = torch.randperm(len(x))
        mixed = batch.x.clone()
        mixed[inside] = batch.x[order][inside]
        return mixed, _soft(batch.y, order, cut), order

    def torch_out() -> Any:
        order = torch.randperm(len(x))
        torch.index_select(batch.x, 0, order, out=batch.out)
        torch.lerp(batch.out, batch.x, LAM, out=batch.out)
        return batch.out, _soft(batch.y, order, LAM), order

    for library, work, how, call in (
        ("NumPy formula", MIXUP, "new array", numpy_mix),
        ("NumPy formula", CUTMIX, "new array", numpy_cut),
        ("PyTorch formula", MIXUP, "new array", torch_mix),
        ("PyTorch formula", MIXUP, "out=", torch_out),
        ("PyTorch formula", CUTMIX, "new array", torch_cut),
    ):
        pasted, opacity = (box, 1.0) if work == CUTMIX else (whole(batch.size), 1 - LAM)
        yield Case(library, work, how, call, _seen(batch, call, pasted, opacity))


def _soft(y: torch.Tensor, order: torch.Tensor, lam: float) -> torch.Tensor:
    """Dense labels."""
    hot = one_hot(y, CLASSES).float()
    return hot * lam + hot[order] * (1 - lam)


def _seen(batch: Batch, call: Callable[[], Any], box: Any, opacity: float) -> Callable[[], Mixed]:
    """The formula, with the order that it drew."""

    def seen() -> Mixed:
        pixels, labels, order = call()
        return Mixed(pixels, batch.plan(order, box, opacity), labels)

    return seen


def parts(rows: int, size: dict[str, int]) -> Iterator[Case]:
    """The labels alone."""
    y, order = torch.randint(CLASSES, (rows,)), torch.randperm(rows)
    yield Case("PyTorch formula", LABELS, "dense", lambda: _soft(y, order, LAM))
