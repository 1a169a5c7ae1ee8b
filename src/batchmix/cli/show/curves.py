"""Panels of a comparison: learning curves, reliability, gains and losses by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from batchmix.cli.lab.findings.levels import Arm, At, Level
from batchmix.cli.lab.findings.paired import Difference
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.show.theme import LIGHT, Theme

_FEWEST = 10  # rows in a bin that is shown
_ENDS = 8  # classes shown of those that gain most, and of those that lose most


def learning(axes: Any, level: Level, arm: Arm, metric: str, theme: Theme = LIGHT) -> None:
    """A thin line per seed, a thick one for their mean, a dot at each best epoch.

    On held-out rows, labels as given; 'none' is behind the others as a dotted line.
    """
    scale = METRICS[metric].scale
    if level.none is not None and arm is not level.none:
        axes.plot(*_mean(level.none.curves(), scale), color=theme["none"], lw=1, ls=":")
    colour, curves = theme[arm.kind], arm.curves()
    for curve in curves:
        axes.plot(_epochs(curve), scale * np.array(curve), color=colour, lw=0.6, alpha=0.35)
    axes.plot(*_mean(curves, scale), color=colour, lw=1.8)
    for one in arm.outcomes:
        curve, epoch = one.history.get("held_out_clean", []), one.best.get("epoch")
        if epoch is not None and epoch < len(curve) and curve[epoch] is not None:
            axes.plot(
                epoch + 1, scale * curve[epoch], "o", color=colour, ms=4, mec=theme["page"], mew=0.7
            )
    bare(axes, "both", theme)


def limits(arms: Sequence[Arm], metric: str) -> tuple[float, float]:
    """From where to where all learning curves lie, less the first tenth of their epochs."""
    scale, values = METRICS[metric].scale, []
    for curve in (curve for arm in arms for curve in arm.curves()):
        values += [scale * value for value in curve[len(curve) // 10 :] if np.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def reliability(axes: Any, arm: Arm, at: At = "best", theme: Theme = LIGHT) -> None:
    """Accuracy in each bin of confidence, over all seeds; on the diagonal the two are the same.

    Dots grow with the rows in a bin. Hollow dots: after temperature scaling, where it is known.
    """
    axes.plot([0, 1], [0, 1], color=theme["soft"], lw=0.8, ls=":")
    for name, filled in (("reliability", True), ("reliability_scaled", False)):
        if not arm.has(name, at):
            continue
        confidence, accuracy, count = _bins(arm, name, at)
        face = theme[arm.kind] if filled else theme["page"]
        sizes = 8 + 60 * np.sqrt(count / max(count.sum(), 1))
        axes.plot(confidence, accuracy, color=theme[arm.kind], lw=1, alpha=0.5)
        axes.scatter(confidence, accuracy, sizes, face, edgecolors=theme[arm.kind], zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    bare(axes, "both", theme)


def classes(
    axes: Any, found: dict[int, Difference], names: Sequence[str], theme: Theme = LIGHT
) -> None:
    """Recall against none, in points: a bar per class with its 95 % interval, pale if chance."""
    order = ends(found)
    for y, k in enumerate(order):
        d = found[k]
        colour = theme["mix"] if d.mean >= 0 else theme["smooth"]
        axes.barh(y, 100 * d.mean, height=0.6, color=colour, alpha=1.0 if d.real else 0.35)
        low, high = d.interval() or (d.mean, d.mean)
        axes.plot([100 * low, 100 * high], [y, y], color=theme["ink"], lw=0.8)
    axes.axvline(0, color=theme["ink"], lw=0.8)
    axes.set_yticks(range(len(order)), [names[k] for k in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    bare(axes, "x", theme)


def ends(found: dict[int, Difference]) -> list[int]:
    """Classes from the largest gain to the largest loss; of many, both ends."""
    order = sorted(found, key=lambda k: -found[k].mean)
    return order if len(order) <= 2 * _ENDS else order[:_ENDS] + order[-_ENDS:]


def bare(axes: Any, grid: str, theme: Theme = LIGHT) -> None:
    """Small figures, a light grid, no frame."""
    axes.tick_params(labelsize=8, length=0)
    axes.grid(axis=grid, color=theme["line"], lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("none")


def _mean(curves: Sequence[Sequence[float]], scale: float) -> tuple[Any, Any]:
    """Epochs that all curves have, and their mean there."""
    length = min(map(len, curves), default=0)
    mean = [scale * float(np.mean([curve[t] for curve in curves])) for t in range(length)]
    return _epochs(mean), mean


def _epochs(curve: Sequence[float]) -> Any:
    return np.arange(1, len(curve) + 1)


def _bins(arm: Arm, name: str, at: At) -> tuple[Any, Any, Any]:
    """Confidence, accuracy and count of the bins that hold enough rows, all seeds together."""
    found = [getattr(one, at)[name] for one in arm.outcomes]
    count = np.array([one["count"] for one in found], float)
    total = count.sum(0)
    there = total >= _FEWEST
    means = [
        np.divide(
            sum(np.nan_to_num(np.array(one[key], float)) * n for one, n in zip(found, count)),
            total, where=there, out=np.zeros(len(total)),
        )[there]
        for key in ("confidence", "accuracy")
    ]  # fmt: skip
    return means[0], means[1], total[there]
