"""How lam spreads: a histogram, and the Beta density before and after boxes are clipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

import batchmix as bm

_BINS = 24
_DRAWS, _CENTRES = 256, 48  # of the clipped boxes, per axis
Shares = NDArray[np.float64]  # [bins], sum 1


def spread(title: str, lam: NDArray[np.float32], steps: int, plan: bm.Plan, lines: Lines) -> str:
    """A histogram of lam over many steps, lines over it; below it a mark for each row shown."""
    counts, _ = np.histogram(lam, _BINS, (0, 1))
    shares = counts / len(lam)
    top = max(float(s.max()) for s in (shares, *(line for line in lines.values())))
    width, height = 600 / _BINS, 90 / top
    bars = "".join(
        f'<rect x="{i * width + 1:.1f}" y="{95 - n * height:.1f}" width="{width - 2:.1f}" '
        f'height="{n * height:.1f}"><title>{n:.1%} of rows</title></rect>'
        for i, n in enumerate(shares.tolist())
    )
    curves = "".join(
        f'<path class="{name}" d="{_stairs(line, width, height)}"/>' for name, line in lines.items()
    )
    marks = "".join(f'<line x1="{v * 600:.1f}" x2="{v * 600:.1f}" y1="98" y2="108"/>'
                    for v in plan.lam.tolist())  # fmt: skip
    numbers = "".join(
        f'<text x="{v * 600:.0f}" y="122" text-anchor="{where}">{v:g}</text>'
        for v, where in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"),
                         (1, "end"))
    )  # fmt: skip
    words = (
        f"Over {steps} steps: mean {lam.mean():.2f}, {(lam == 1).mean():.0%} of rows unmixed. "
        f"The marks are the {len(plan)} rows shown."
    )
    keys = "".join(f'<span class="key {name}">{_KEYS[name]}</span>' for name in lines)
    return (
        f'<div class="spread"><div><h2>{title}: lam, the share of own content</h2><p>{words}</p>'
        f'<p class="keys">{keys}</p></div>'
        f'<svg viewBox="-4 0 608 126" role="img" aria-label="Distribution of lam. {words}">'
        f'<g class="bars">{bars}</g>{curves}<line class="axis" x1="0" x2="600" y1="96" y2="96"/>'
        f'<g class="marks">{marks}</g><g class="numbers">{numbers}</g></svg></div>'
    )


Lines = Mapping[str, Shares]
_KEYS = {"drawn": "as Beta draws it", "clipped": "after boxes are clipped at the border"}


def _stairs(shares: Shares, width: float, height: float) -> str:
    """A line over the bins."""
    steps = (f"V{95 - n * height:.1f}H{(i + 1) * width:.1f}" for i, n in enumerate(shares.tolist()))
    return "M0,95" + "".join(steps)


def lines(
    word: str, numbers: tuple[float, ...], prob: float, size: tuple[int, ...]
) -> dict[str, Shares]:
    """What theory says of lam: as it is drawn, and after clipping; empty where it is no Beta."""
    if word == "switch":
        mixup, cutmix = (lines(w, (n,), prob, size) for w, n in zip(("mixup", "cutmix"), numbers))
        drawn = (mixup["drawn"] + cutmix["drawn"]) / 2
        return {"drawn": drawn, "clipped": (mixup["drawn"] + cutmix["clipped"]) / 2}
    if word not in _DRAWN:
        return {}
    alpha = numbers[0] if numbers else 1.0
    found = {"drawn": _DRAWN[word](alpha)}
    if word == "cutmix":
        found["clipped"] = _clipped(alpha, size)
    unmixed = np.eye(_BINS)[-1]
    return {name: prob * shares + (1 - prob) * unmixed for name, shares in found.items()}


def _beta(alpha: float) -> Shares:
    from scipy.special import betainc

    return np.diff(betainc(alpha, alpha, np.linspace(0, 1, _BINS + 1)))


def _dominant(alpha: float) -> Shares:
    """max(lam, 1 - lam)."""
    both = _beta(alpha) + _beta(alpha)[::-1]
    return np.where(np.arange(_BINS) < _BINS // 2, 0, both)


_DRAWN: Mapping[str, Callable[[float], Shares]] = {
    "mixup": _beta, "dominant": _dominant, "remix": _beta, "cutmix": _beta, "inside": _beta,
    "fmix": _beta, "gridmix": _beta, "saliencymix": _beta,
}  # fmt: skip


@lru_cache(maxsize=256)
def _clipped(alpha: float, size: tuple[int, ...]) -> Shares:
    """Boxes of all sizes around centres all over the grid, cut off at its border."""
    from scipy.special import betaincinv

    lam = betaincinv(alpha, alpha, (np.arange(_DRAWS) + 0.5) / _DRAWS)
    area = np.ones((_DRAWS, 1))
    for cells in size:
        side = np.floor(cells * (1 - lam) ** (1 / len(size)))[:, None]
        centre = np.unique(np.linspace(0, cells - 1, _CENTRES).astype(int))
        low = centre - side // 2
        length = (np.minimum(low + side, cells) - np.maximum(low, 0)) / cells
        area = (area[:, :, None] * length[:, None]).reshape(_DRAWS, -1)
    counts, _ = np.histogram(1 - area, _BINS, (0, 1))
    return counts / area.size
