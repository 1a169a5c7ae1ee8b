"""Time against the bytes of a batch, with the memory's limit drawn in."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

import cases as c
from report import Report

_LINES = {  # library, how: colour
    ("batchmix", "in place"): "#2b6cb0",
    ("batchmix", "out="): "#63a4d8",
    ("timm", "in place"): "#d98a1f",
    ("torchvision", "new array"): "#b83a3a",
    ("Composer", "new array, label pairs"): "#5b8c3a",
    ("kornia", "new array, label pairs"): "#7d55a8",
    ("NumPy formula", "new array"): "#8a8a8a",
}
_LIMITS = {"copy": "--", "scale": ":"}


def figure(report: Report) -> bytes:
    """A PNG: a panel per kind of work; one thread, warm allocator where that was measured."""
    report = report.find(group="float32")
    settings = {(line.threads, line.allocator) for line in report.lines}
    threads, allocator = min(settings, key=lambda setting: (setting[1] != "warm", setting[0]))
    report = report.find(threads=threads, allocator=allocator)
    canvas = Figure(figsize=(13, 4.8))
    canvas.set_layout_engine("constrained")
    machine = report.head["machine"]
    canvas.suptitle(
        f"draw, mix and labels of one float32 batch; {machine['cpu']}, {threads} "
        f"thread{'s' * (threads > 1)}, {allocator} allocator; a line per image size",
        x=0.01, ha="left", fontsize=10, color="#333333",
    )  # fmt: skip
    panels = canvas.subplots(1, 3, sharey=True)
    for axes, work in zip(panels, (c.MIXUP, c.CUTMIX, c.ROWS)):
        _panel(axes, work, report)
    panels[0].set_ylabel("milliseconds, median", fontsize=9)
    handles: dict[str, Any] = {}
    for axes in panels:
        drawn, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, drawn))
    canvas.legend(
        handles.values(), handles.keys(), loc="outside right center", fontsize=8, frameon=False
    )
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _panel(axes: Any, work: str, report: Report) -> None:
    """A line per library over the sizes; each image size has a line of its own."""
    for kind, style in _LIMITS.items():
        points = _points(report.find(library="limit", how=f"{kind}: *"))
        axes.plot(*points, style, color="#222222", lw=1.3, label=f"limit: {kind}")
    for (library, how), colour in _LINES.items():
        ours = library == "batchmix"
        look = {"color": colour, "lw": 2.2 if ours else 1.3, "ms": 5 if ours else 3.5}
        look |= {"label": f"{library}, {how}" if ours else library, "zorder": 3 if ours else 2}
        found = report.find(library=library, work=work, how=how)
        for pixels in sorted({line.shape[-1] for line in found.lines}):
            same = [line for line in found.lines if line.shape[-1] == pixels]
            axes.plot(*_points(replace(found, lines=tuple(same))), "-o", **look)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_title(work, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("megabytes in the batch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#ececec", which="major")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _points(report: Report) -> tuple[list[float], list[float]]:
    """Megabytes and milliseconds; of several lines for a size the fastest."""
    sizes = sorted({line.bytes for line in report.lines if line.ms})
    return [n / 1e6 for n in sizes], [report.median(bytes=n) or 0.0 for n in sizes]
