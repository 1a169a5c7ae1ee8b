"""The published formulas of the policies, in PyTorch: one draw for the whole batch, as published.

Boxes are copied. Masks are sums of products for floats, a choice or a rounded sum for integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

import cases as c

LIBRARY = "formula, one draw"


def cases(batch: c.Batch) -> Iterator[c.Case]:
    """Each draws for itself; those with a mask are checked."""
    rows, _, *size = batch.x.shape
    for work, mask in MASKS.items():
        yield _masked(batch, work, mask)

    def resized() -> Any:
        side = [max(1, int(n * torch.empty(()).uniform_(0.1, 0.8))) for n in size]
        at = [int(torch.randint(n - s + 1, ())) for n, s in zip(size, side)]
        small = interpolate(batch.x[torch.randperm(rows)].float(), side, mode="bilinear")
        mixed = batch.x.clone()
        inside = np.s_[..., at[0] : at[0] + side[0], at[1] : at[1] + side[1]]
        mixed[inside] = _rounded(small, batch.x.dtype)
        return mixed

    def tiled() -> Any:
        shares = torch.distributions.Beta(0.3, 0.3).sample((2,)).tolist()
        (top, left) = (round(n * share) for n, share in zip(size, shares))
        quarters = []
        for high, wide in ((h, w) for h in (top, size[0] - top) for w in (left, size[1] - left)):
            y, x = (int(torch.randint(n - s + 1, ())) for n, s in zip(size, (high, wide)))
            quarters.append(batch.x[torch.randperm(rows), :, y : y + high, x : x + wide])
        return torch.cat([torch.cat(quarters[:2], 3), torch.cat(quarters[2:], 3)], 2)

    yield c.Case(LIBRARY, "ResizeMix", "new array", resized)
    yield c.Case(LIBRARY, "RICAP", "new array", tiled)


def _masked(batch: c.Batch, work: str, make: Callable[[torch.Tensor], torch.Tensor]) -> c.Case:
    """A mask [H, W], the weight of the partner."""
    x = batch.x

    def mixed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        order, mask = torch.randperm(len(x)), make(x)
        if work in BOXES:
            inside = np.s_[:, slice(*_ends(mask.any(1))), slice(*_ends(mask.any(0)))]
            pasted = x.clone()
            pasted[:, *inside] = x[order, *inside]
            return pasted, order, mask
        if x.is_floating_point():
            return x * (1 - mask) + x[order] * mask, order, mask
        if work in BLENDS:
            return _rounded(x * (1 - mask) + x[order] * mask, x.dtype), order, mask
        return torch.where(mask > 0, x[order], x), order, mask

    def seen() -> c.Mixed:
        pixels, order, mask = mixed()
        plan = batch.plan(order, c.whole(batch.size), 1.0)
        grid = np.broadcast_to(mask.numpy(), (len(x), *plan.size))
        plan = replace(plan, mask=grid.copy())
        return c.Mixed(pixels, plan, **c.tolerance(x))

    return c.Case(LIBRARY, work, "new array", lambda: mixed()[0], seen)


def _rounded(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """To the dtype of the images."""
    return x if dtype.is_floating_point else x.round_().clamp_(0, 255).to(dtype)


def _ends(inside: torch.Tensor) -> tuple[int, int]:
    """From the first cell to behind the last."""
    at = inside.nonzero()
    return int(at[0]), int(at[-1]) + 1


def _mixup(x: torch.Tensor) -> torch.Tensor:
    return 1 - torch.rand(1, 1)


def _box(x: torch.Tensor, centre: list[int]) -> torch.Tensor:
    """1 in a box of a uniform share of the image, cut off at the border."""
    share = float(torch.rand(())) ** 0.5
    mask = torch.zeros(x.shape[2:])
    ends = [(max(0, at - int(n * share) // 2), at + int(n * share) // 2 + 1)
            for at, n in zip(centre, mask.shape)]  # fmt: skip
    mask[slice(*ends[0]), slice(*ends[1])] = 1
    return mask


def _cutmix(x: torch.Tensor) -> torch.Tensor:
    return _box(x, [int(torch.randint(n, ())) for n in x.shape[2:]])


def _saliencymix(x: torch.Tensor) -> torch.Tensor:
    """Around the largest spectral residual of one image of the batch (OpenCV has another map)."""
    grey = x[int(torch.randint(len(x), ()))].float().mean(0)
    spectrum = torch.fft.fft2(grey)
    log = spectrum.abs().clamp_min(1e-9).log()
    smooth = torch.nn.functional.avg_pool2d(log[None], 3, 1, 1)[0]
    residual = torch.fft.ifft2(torch.polar((log - smooth).exp(), spectrum.angle())).abs()
    place = divmod(int(residual.argmax()), residual.shape[1])
    return _box(x, [*place])


def _fmix(x: torch.Tensor) -> torch.Tensor:
    """The largest cells of noise whose spectrum falls as the third power of the frequency."""
    height, width = x.shape[2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    spectrum = torch.randn(*frequency.shape, dtype=torch.complex64)
    spectrum /= frequency.clamp_min(1 / max(height, width)) ** 3
    noise = torch.fft.irfft2(spectrum, (height, width)).reshape(-1)
    mask = torch.zeros(height * width)
    mask[noise.argsort(descending=True)[: int(torch.rand(()) * len(noise))]] = 1
    return mask.view(height, width)


def _gridmix(x: torch.Tensor) -> torch.Tensor:
    """Patches of a 4 x 4 grid, each with the same chance."""
    chosen = (torch.rand(1, 1, 4, 4) < torch.rand(())).float()
    return interpolate(chosen, x.shape[2:], mode="nearest")[0, 0]


def _smoothmix(x: torch.Tensor) -> torch.Tensor:
    """A bump of Gauss around a uniform centre."""
    sigma = float(torch.empty(()).uniform_(0.25, 0.5)) * x.shape[2]
    y, z = ((torch.arange(n) - torch.randint(n, ())) ** 2 for n in x.shape[2:])
    return torch.exp(-(y[:, None] + z) / (2 * sigma**2))


MASKS = {
    "MixUp": _mixup, "CutMix": _cutmix, "FMix": _fmix, "GridMix": _gridmix,
    "SmoothMix": _smoothmix, "SaliencyMix": _saliencymix,
}  # fmt: skip
BOXES, BLENDS = ("CutMix", "SaliencyMix"), ("MixUp", "SmoothMix")
