"""The figure of a comparison: the verdict, what it rests on, and how each arm learnt."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from batchmix.cli._output import shown
from batchmix.cli.lab.findings.levels import Level, noise_name
from batchmix.cli.lab.findings.verdict import amount
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.show import curves
from batchmix.cli.show.curves import bare
from batchmix.cli.show.theme import LIGHT, Theme, drawn

if TYPE_CHECKING:
    from batchmix.cli.show.report import Report

# inches: all, an arm, a line of text, learning curves
_WIDTH, _LINE, _TEXT, _CURVES = 12.0, 0.3, 0.17, 1.5
_KEY = "    ".join(
    (
        "● at its best epoch, chosen on held-out rows", "○ at its last epoch", "small dots: seeds",
        "grey: none", "orange: label smoothing", "blue: mixing", "shaded: 95 % interval",
        "bold: beyond chance",
    )
)  # fmt: skip


def figure(report: Report, theme: Theme = LIGHT) -> bytes:
    """A PNG: for each level of label noise its verdict, a line per arm, and learning curves."""
    parts = [
        (level, textwrap.wrap(shown(" ".join(sentences[:2])), 185, break_on_hyphens=False))
        for level, sentences in zip(report.levels, report.verdicts)
    ]
    heights = [_height(level, len(text)) for level, text in parts]
    with drawn(theme):
        canvas = Figure(figsize=(_WIDTH, sum(heights) + 0.55))
        canvas.set_layout_engine("constrained", w_pad=0.06, h_pad=0.03, hspace=0, wspace=0.03)
        rows = canvas.subfigures(len(parts) + 1, 1, height_ratios=[0.55, *heights], squeeze=False)
        head = rows[0, 0]
        head.text(0.008, 0.72, report.title, fontsize=11, fontweight="bold")
        head.text(0.008, 0.22, _KEY, fontsize=8, color=theme["soft"])
        panels = [_level(row, level, text, theme) for row, (level, text) in zip(rows[1:, 0], parts)]
        for name in ("against", "ece"):
            _one_range([axes[name] for axes in panels if name in axes])
        content = io.BytesIO()
        canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _height(level: Level, lines: int) -> float:
    return 0.5 + _TEXT * lines + _table(level) + (_CURVES if _learnt(level) else 0)


def _table(level: Level) -> float:
    return _LINE * len(level.arms) + 0.55


def _learnt(level: Level) -> bool:
    return any(arm.curves() for arm in level.arms)


def _level(row: Any, level: Level, text: Sequence[str], theme: Theme) -> dict[str, Any]:
    """All of one level; the panels by name."""
    heights = [0.5 + _TEXT * len(text), _table(level)]
    heights += [_CURVES] if _learnt(level) else []
    bands = row.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    name = noise_name(level.noise)
    bands[0].text(0.008, 1 - 0.08 / heights[0], name, fontsize=10, fontweight="bold", va="top")
    below = 1 - 0.34 / heights[0]
    bands[0].text(0.008, below, "\n".join(text), fontsize=8.5, va="top", linespacing=1.35)
    axes = _panels(bands[1], level, theme)
    if _learnt(level):
        _learning(bands[2], level, theme)
    return axes


def _panels(band: Any, level: Level, theme: Theme) -> dict[str, Any]:
    """The headline metric, its difference to none, calibration, memorised labels."""
    draw = {"reached": _reached}
    draw |= {"against": _against} if level.none is not None and level.rivals else {}
    for name, panel in (("ece", _calibration), ("memorised", _memorised)):
        draw |= {name: panel} if all(arm.has(name) for arm in level.arms) else {}
    widths = {"reached": 4.4, "against": 4.4, "ece": 2.6, "memorised": 1.5}
    # without the last one the panel before it takes its place, so that levels stand in line
    ratios = [widths[name] for name in draw]
    ratios[-1] += 1.5 if list(draw)[-1] == "ece" else 0
    line = band.subplots(1, len(draw), sharey=True, width_ratios=ratios, squeeze=False)[0]
    axes = dict(zip(draw, line))
    for name, panel in draw.items():
        bare(axes[name], "x", theme)
        panel(axes[name], level, theme)
        axes[name].tick_params(axis="y", labelsize=9)
    axes["reached"].set_yticks(range(len(level.arms)), [arm.name for arm in level.arms])
    axes["reached"].set_ylim(len(level.arms) - 0.4, -0.6)
    return axes


def _reached(axes: Any, level: Level, theme: Theme) -> None:
    metric, shown = level.metric, METRICS[level.metric]
    for y, arm in enumerate(level.arms):
        colour = theme[arm.kind]
        best, last = (
            [shown.scale * value for value in arm.values(metric, at)] if arm.has(metric, at) else []
            for at in ("best", "last")
        )
        ends = [sum(values) / len(values) for values in (best, last) if values]
        axes.plot(ends, [y] * len(ends), color=colour, lw=1.2, alpha=0.4, zorder=1)
        axes.plot(best, [y - 0.29] * len(best), "o", color=colour, alpha=0.55, ms=3, mew=0)
        axes.plot(last, [y + 0.29] * len(last), "o", color=colour, alpha=0.55, ms=3, mew=0)
        axes.plot(
            ends[1:], [y] * len(ends[1:]), "o", color=colour, mfc=theme["page"], ms=7, mew=1.5
        )
        axes.plot(ends[0], y, "o", color=colour, ms=7, mew=1.5)
    unit = f", {shown.unit}" if shown.unit else ""
    axes.set_xlabel(f"test {shown.heading}{unit}", fontsize=8)


def _against(axes: Any, level: Level, theme: Theme) -> None:
    """Best-stopped against best-stopped: mean of the paired differences, 95 % interval shaded."""
    shown = METRICS[level.metric]
    found = level.against_none(level.metric)
    axes.axvline(0, color=theme["none"], lw=1)
    for y, arm in enumerate(level.arms):
        if arm.name not in found:
            continue
        d, colour = found[arm.name], theme[arm.kind]
        low, high = (shown.scale * end for end in d.interval() or (d.mean, d.mean))
        axes.barh(y, high - low, left=low, height=0.5, color=colour, alpha=0.22, lw=0)
        axes.plot(shown.scale * d.mean, y, "o", color=colour, ms=7)
        axes.annotate(
            f"{amount(level.metric, d.mean, d.error)}  {d.agree}/{d.seeds}",
            (1.0, y), (-2, 0), ("axes fraction", "data"), "offset points",
            va="center", ha="right", fontsize=8, color=colour,
            fontweight="bold" if d.real else "normal",
        )  # fmt: skip
    unit = "points" if shown.unit else shown.heading
    axes.set_xlabel(f"paired difference, {unit}: best epochs, against none", fontsize=8)


def _calibration(axes: Any, level: Level, theme: Theme) -> None:
    """Error as trained (ring) and after temperature scaling (square), both at the best epoch."""
    for y, arm in enumerate(level.arms):
        colour, raw = theme[arm.kind], 100 * arm.mean("ece")
        if arm.has("ece_scaled"):
            scaled = 100 * arm.mean("ece_scaled")
            axes.plot([raw, scaled], [y, y], color=colour, lw=1.2, alpha=0.4, zorder=1)
            axes.plot(scaled, y, "s", color=colour, ms=5.5)
        axes.plot(raw, y, "s", color=colour, mfc=theme["page"], ms=5.5, mew=1.5)
    axes.set_xlabel("ECE at best, %  □ raw  ■ after TS", fontsize=8)


def _memorised(axes: Any, level: Level, theme: Theme) -> None:
    """Share of the wrong training labels that the model learnt, at best and at last."""
    for y, arm in enumerate(level.arms):
        colour, best = theme[arm.kind], 100 * arm.mean("memorised")
        last = 100 * arm.mean("memorised", "last") if arm.has("memorised", "last") else best
        axes.plot([best, last], [y, y], color=colour, lw=1.2, alpha=0.4, zorder=1)
        axes.plot(last, y, "o", color=colour, mfc=theme["page"], ms=6, mew=1.5)
        axes.plot(best, y, "o", color=colour, ms=6, mew=1.5)
    axes.set_xlim(-6, 106)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("memorised, %", fontsize=8)


def _one_range(panels: Sequence[Any]) -> None:
    """Panels that are compared have one range; differences have room for their numbers."""
    if panels:
        low = min(0.0, *(axes.get_xlim()[0] for axes in panels))
        high = max(axes.get_xlim()[1] for axes in panels)
        left, right = (0.05, 0.55) if any(axes.texts for axes in panels) else (0.0, 0.0)
        for axes in panels:
            axes.set_xlim(low - left * (high - low), high + right * (high - low))


def _learning(band: Any, level: Level, theme: Theme) -> None:
    """Held-out rows, labels as given, epoch by epoch; a panel per arm."""
    metric = "accuracy" if level.metric == "balanced" else level.metric
    arms = [arm for arm in level.arms if arm.curves()]
    line = band.subplots(1, len(arms), sharex=True, sharey=True, squeeze=False)[0]
    for axes, arm in zip(line, arms):
        curves.learning(axes, level, arm, metric, theme)
        axes.set_title(arm.name, fontsize=8.5, loc="left", color=theme[arm.kind], pad=3)
        axes.set_xlabel("epoch", fontsize=8)
    line[0].set_ylim(*curves.limits(arms, metric))
    line[0].set_ylabel(f"held-out {METRICS[metric].heading}", fontsize=8)
