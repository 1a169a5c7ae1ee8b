"""Draws the charts of speed.md from benchmarks/results.json: python docs/speed_figures.py.

A line is the throughput of one library's whole step: bytes of the batch over the median time, with
one thread and warm memory. What was drawn is written into each picture, so that a test can say
whether it is that of the last run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
BENCHMARKS = DOCS.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from report import Report  # noqa: E402

HERE = DOCS / "figures" / "speed"
THEMES = {"light": ("#1a1a1a", "#8a8a8a", "#ffffff"), "dark": ("#f2f2f2", "#8f95a3", "#1e2129")}
CHARTS = {
    "batch": {"MixUp, one lam": "MixUp, one lam", "CutMix, one box": "CutMix, one box"},
    "rows": {"MixUp by row": "MixUp, per row", "MixUp or CutMix by row": "both, per row"},
}
SIDES = (32, 224)  # of the images


class Look(NamedTuple):
    """A line's colour on light and on dark, and its marker; None is the colour of the text."""

    light: str | None
    dark: str | None
    marker: str


LOOKS = {
    ("batchmix", "in place"): Look(None, None, "o"),
    ("batchmix", "new array"): Look(None, None, "s"),
    ("timm", "in place"): Look("#00795a", "#4fd0a8", "^"),
    ("torchvision", "new array"): Look("#a8327d", "#ef8fcb", "v"),
    ("Composer", "new array"): Look("#7a5c00", "#d9b84a", "D"),
    ("fastai", "in place"): Look("#6a3fb5", "#b99cf2", "P"),
    ("fastai", "new array"): Look("#6a3fb5", "#b99cf2", "P"),
    ("kornia", "new array"): Look("#9b1c1c", "#f08a8a", "X"),
}

Series = dict[tuple[str, str], list[tuple[int, float]]]


def series(report: Report, work: str, side: int) -> Series:
    """Per library and way: rows of the batch, and its gigabytes per second."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    lines = report.find(threads=1, allocator="warm", group="float32", work=work).lines
    for line in lines:
        way = line.how.partition(",")[0]
        whole = "pixels only" not in line.how and line.ms is not None
        if (line.library, way) in LOOKS and whole and line.shape[-1] == side:
            at = found.setdefault((line.library, way), {})
            at[line.shape[0]] = max(at.get(line.shape[0], 0.0), line.bytes / 1e6 / line.median)
    return {key: sorted(found[key].items()) for key in LOOKS if key in found}


def digest(name: str, report: Report) -> str:
    """What stands for all numbers that a chart shows."""
    drawn = [
        [title, side, [[*key, points] for key, points in series(report, work, side).items()]]
        for title, work in CHARTS[name].items()
        for side in SIDES
    ]
    return hashlib.sha256(json.dumps(drawn).encode()).hexdigest()


def draw(name: str, theme: str, report: Report, path: Path) -> None:
    """One chart: a line of panels per work, a column per size of images."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ink, faint, paper = THEMES[theme]
    colours = ["text.color", "axes.labelcolor", "xtick.color", "ytick.color"]
    settings: dict[str, Any] = {"font.size": 11, "figure.facecolor": paper, "axes.facecolor": paper}
    settings |= dict.fromkeys(colours, ink) | {"axes.edgecolor": faint}
    with pyplot.rc_context(settings):
        figure, axes = pyplot.subplots(2, 2, figsize=(9, 7.2), sharey=True)
        handles = {}
        for line, (title, work) in zip(axes, CHARTS[name].items(), strict=True):
            for axis, side in zip(line, SIDES, strict=True):
                _panel(axis, series(report, work, side), theme)
                axis.set_title(f"{title}, {side} x {side}", fontsize=12)
                axis.grid(color=faint, alpha=0.3)
                handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            line[0].set_ylabel("GB of the batch per second")
        for axis in axes[1]:
            axis.set_xlabel("images in the batch")
        figure.legend(handles.values(), handles, loc="lower center", ncols=4, frameon=False)
        figure.tight_layout(rect=(0, 0.08, 1, 1))
        about = {"Software": None, "Description": digest(name, report)}
        figure.savefig(path, dpi=110, metadata=about)
        pyplot.close(figure)


def _panel(axis: Any, lines: Series, theme: str) -> None:
    """The lines of all libraries; ours are thick, in the colour of the text."""
    for (library, way), points in lines.items():
        look, ours = LOOKS[library, way], library == "batchmix"
        axis.plot(
            *zip(*points, strict=True),
            color=(look.light if theme == "light" else look.dark) or THEMES[theme][0],
            marker=look.marker, markersize=5, linewidth=2.6 if ours else 1.4,
            linestyle="--" if ours and way == "new array" else "-", label=f"{library}, {way}",
        )  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    rows = [rows for rows, _ in next(iter(lines.values()))]
    axis.set_xticks(rows, [str(n) for n in rows])
    axis.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    axis.set_yticks([], minor=True)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """All charts, light and dark."""
    HERE.mkdir(parents=True, exist_ok=True)
    report = Report.load(BENCHMARKS / "results.json")
    for name in CHARTS:
        for theme in THEMES:
            draw(name, theme, report, HERE / f"{name}-{theme}.png")


if __name__ == "__main__":
    main()
