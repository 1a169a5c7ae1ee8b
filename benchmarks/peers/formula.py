"""The papers' formulas as they are written in a training loop, in NumPy and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import one_hot

import cases as c


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """MixUp and CutMix of a batch with itself in another order."""
    box = c.centred(batch.size)
    cut = c.own_share(box, batch.size)
    inside = np.s_[:, :, slice(*box[0]), slice(*box[1])]
    x, y = batch.x.numpy(), batch.y.numpy()
    lam, rest = np.float32(c.LAM), np.float32(1 - c.LAM)
    eye = np.eye(c.CLASSES, dtype=np.float32)

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
        return batch.x * c.LAM + batch.x[order] * (1 - c.LAM), _soft(batch.y, order, c.LAM), order

    def torch_cut() -> Any:
        order = torch.randperm(len(x))
        mixed = batch.x.clone()
        mixed[inside] = batch.x[order][inside]
        return mixed, _soft(batch.y, order, cut), order

    def torch_out() -> Any:
        order = torch.randperm(len(x))
        torch.index_select(batch.x, 0, order, out=batch.out)
        torch.lerp(batch.out, batch.x, c.LAM, out=batch.out)
        return batch.out, _soft(batch.y, order, c.LAM), order

    for library, work, how, call in (
        ("NumPy formula", c.MIXUP, "new array", numpy_mix),
        ("NumPy formula", c.CUTMIX, "new array", numpy_cut),
        ("PyTorch formula", c.MIXUP, "new array", torch_mix),
        ("PyTorch formula", c.MIXUP, "out=", torch_out),
        ("PyTorch formula", c.CUTMIX, "new array", torch_cut),
    ):
        pasted, opacity = (box, 1.0) if work == c.CUTMIX else (c.whole(batch.size), 1 - c.LAM)
        yield c.Case(library, work, how, call, _seen(batch, call, pasted, opacity))


def _soft(y: torch.Tensor, order: torch.Tensor, lam: float) -> torch.Tensor:
    """Dense labels."""
    hot = one_hot(y, c.CLASSES).float()
    return hot * lam + hot[order] * (1 - lam)


def _seen(
    batch: c.Batch, call: Callable[[], Any], box: Any, opacity: float
) -> Callable[[], c.Mixed]:
    """The formula, with the order that it drew."""

    def seen() -> c.Mixed:
        pixels, labels, order = call()
        return c.Mixed(pixels, batch.plan(order, box, opacity), labels)

    return seen


def parts(rows: int, size: dict[str, int]) -> Iterator[c.Case]:
    """The labels alone."""
    y, order = torch.randint(c.CLASSES, (rows,)), torch.randperm(rows)
    yield c.Case("PyTorch formula", "soft labels", "dense", lambda: _soft(y, order, c.LAM))
