"""The formula as it is written by hand for a GPU, drawn there too; eager, and compiled by torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import one_hot

import batchmix as bm
import cases as c
from images import MEAN_255, STD_255, normalise

EAGER, COMPILED = "PyTorch formula", "torch.compile"


def cases(batch: c.Batch, backend: str) -> Iterator[c.Case]:
    """Both, per row, to a new array: the whole step and the pixels."""
    for library, pixels, whole in (
        (EAGER, mixed, step),
        (COMPILED, *(torch.compile(f, backend=backend, dynamic=False) for f in (mixed, step))),
    ):
        yield _whole(batch, library, whole)
        yield _pixels(batch, library, pixels)


def drawn(rows: int, sides: tuple[int, ...], device: Any) -> tuple[Any, Any, Any]:
    """Partner, box [B, axes, 2] and opacity of each row: half MixUp, half CutMix, on the device."""
    partner = torch.randperm(rows, device=device)
    lam, cut = torch.rand(rows, device=device), torch.rand(rows, device=device) < 0.5
    ends = []
    for n in sides:
        half = (n * (1 - lam).sqrt()).long() // 2
        centre = (n * torch.rand(rows, device=device)).long()
        low, high = (centre - half).clamp(min=0), (centre + half).clamp(max=n)
        ends.append(torch.stack([torch.where(cut, low, 0), torch.where(cut, high, n)], 1))
    return partner, torch.stack(ends, 1), torch.where(cut, 1.0, 1 - lam)


def mixed(x: Any, partner: Any, box: Any, opacity: Any) -> Any:
    """x [B, C, H, W]; blended in float32, rounded once."""
    share = _share(x, box, opacity)
    own = x.float()
    return (own + share * (x[partner].float() - own)).to(x.dtype)


def step(x: Any, y: Any) -> Any:
    """Draw, pixels and dense labels; and what was drawn."""
    given = partner, box, opacity = drawn(len(x), tuple(x.shape[2:]), x.device)
    area = (box[:, :, 1] - box[:, :, 0]).prod(1) / (x.shape[2] * x.shape[3])
    theirs = (opacity * area)[:, None]
    hot = one_hot(y, c.CLASSES).float()
    return mixed(x, *given), hot * (1 - theirs) + hot[partner] * theirs, given


def _share(x: Any, box: Any, opacity: Any) -> Any:
    """The partner's share of each cell [B, 1, H, W]."""
    down = torch.arange(x.shape[2], device=x.device)[None, :, None]
    across = torch.arange(x.shape[3], device=x.device)[None, None, :]
    top, bottom, left, right = (box[:, i, k, None, None] for i in range(2) for k in range(2))
    inside = (top <= down) & (down < bottom) & (left <= across) & (across < right)
    return (opacity[:, None, None] * inside)[:, None]


def _whole(batch: c.Batch, library: str, function: Any) -> c.Case:
    """One function draws and mixes."""

    def call() -> Any:
        return function(batch.x, batch.y)

    def seen() -> c.Mixed:
        pixels, labels, given = call()
        return c.Mixed(pixels, _plan(batch, given), labels)

    return c.Case(library, c.ROWS, "new array", call, seen)


def _pixels(batch: c.Batch, library: str, function: Any) -> c.Case:
    """One draw again and again; it lies on the device."""
    given = drawn(len(batch), tuple(batch.size.values()), batch.x.device)

    def call() -> Any:
        return function(batch.x, *given)

    def seen() -> c.Mixed:
        return c.Mixed(call(), _plan(batch, given))

    return c.Case(library, c.ROWS, "new array, pixels only", call, seen)


def _plan(batch: c.Batch, given: tuple[Any, Any, Any]) -> bm.Plan:
    """What was drawn."""
    partner, box, opacity = (c.host(column) for column in given)
    return batch.plan(partner, box, opacity)


def normalised(batch: c.Batch, out: Any, backend: str) -> Iterator[c.Case]:
    """8-bit images [B, H, W, C] to a normalised batch [B, C, H, W]."""
    device = batch.x.device
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN_255, STD_255))

    def widened(x: Any, partner: Any, box: Any, opacity: Any) -> Any:
        x = (x.permute(0, 3, 1, 2).float() - mean) / std
        share = _share(x, box, opacity)
        return (x + share * (x[partner] - x)).to(out.dtype).contiguous()

    given = drawn(len(batch), tuple(batch.size.values()), device)
    compiled: Callable[..., Any] = torch.compile(widened, backend=backend, dynamic=False)
    for library, function in ((EAGER, widened), (COMPILED, compiled)):

        def call(function: Any = function) -> Any:
            return function(batch.x, *given)

        def seen(call: Callable[[], Any] = call) -> c.Mixed:
            return c.Mixed(call(), _plan(batch, given), finish=normalise)

        yield c.Case(library, c.ROWS, "new array, pixels only", call, seen)
