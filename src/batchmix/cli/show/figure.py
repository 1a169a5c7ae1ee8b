"""The figure of a comparison."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from batchmix.cli.lab.verdict import Result, difference, noise_name

_COLOURS = {"none": "#555555", "smooth": "#d98a1f", "mix": "#2b6cb0"}


def figure(title: str, found: Mapping[float, Sequence[Result]]) -> bytes:
    """A PNG: a row of panels per level of label noise, a line in each panel per policy."""
    noisy = any(found)
    lines = max(len(results) for results in found.values())
    widths = [5, 3, 2] if noisy else [5, 3]
    canvas = Figure(figsize=(1.3 * sum(widths), (0.36 * lines + 1.25) * len(found) + 0.3))
    canvas.set_layout_engine("constrained", hspace=0.06, wspace=0.03)
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10, color="#333333")
    panels = canvas.subplots(
        len(found), len(widths), squeeze=False, sharey="row", width_ratios=widths
    )
    for line, (noise, results) in zip(panels, found.items(), strict=True):
        _accuracy(line[0], noise, results)
        _calibration(line[1], results)
        if noisy:
            _memorised(line[2], results)
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _accuracy(axes: Any, noise: float, results: Sequence[Result]) -> None:
    """A dot per seed, a bar at the mean, the difference to no mixing in words."""
    none = next(r for r in results if r.kind == "none")
    axes.axvline(100 * none.mean("accuracy"), color=_COLOURS["none"], lw=1, ls=":")
    for y, result in enumerate(results):
        colour, mean = _COLOURS[result.kind], 100 * result.mean("accuracy")
        dots = [100 * value for value in result.values["accuracy"]]
        axes.plot(dots, [y] * len(dots), "o", color=colour, alpha=0.45, ms=5, mew=0)
        axes.plot([mean, mean], [y - 0.3, y + 0.3], color=colour, lw=2.5, solid_capstyle="round")
        text = "against none" if result is none else difference(result, none).points()
        axes.annotate(
            text, (1.0, y), (3, 0), ("axes fraction", "data"), "offset points",
            va="center", fontsize=8, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(results)), [r.name for r in results])
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_title(noise_name(noise), loc="left", fontsize=10, fontweight="bold")
    _bare(axes, "test accuracy, %   (dot: a seed, bar: the mean)")


def _calibration(axes: Any, results: Sequence[Result]) -> None:
    """Calibration error as trained (ring) and after temperature scaling (dot)."""
    for y, result in enumerate(results):
        raw, scaled = 100 * result.mean("ece"), 100 * result.mean("ece_scaled")
        colour = _COLOURS[result.kind]
        axes.plot([raw, scaled], [y, y], color=colour, lw=1.5, alpha=0.5, zorder=1)
        axes.plot(raw, y, "o", color=colour, mfc="white", ms=6, mew=1.5)
        axes.plot(scaled, y, "o", color=colour, ms=6, mew=1.5)
    axes.set_xlim(left=0)
    _bare(axes, "calibration error ECE, %\n○ as trained   ● temperature-scaled")


def _memorised(axes: Any, results: Sequence[Result]) -> None:
    """Share of the wrong training labels that the model learnt."""
    if "memorised" not in results[0].values:
        axes.set_visible(False)
        return
    shares = [100 * r.mean("memorised") for r in results]
    axes.barh(range(len(results)), shares, height=0.5, color=[_COLOURS[r.kind] for r in results])
    for y, share in enumerate(shares):
        axes.annotate(
            f"{share:.0f}", (share, y), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, 118)
    axes.set_xticks([0, 50, 100])
    _bare(axes, "wrong labels memorised, %")


def _bare(axes: Any, label: str) -> None:
    """A label, a light grid, no frame."""
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(labelsize=8, left=False)
    axes.tick_params(axis="y", labelsize=9)
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
