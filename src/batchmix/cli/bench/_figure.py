"""Time against the bytes of a batch, with the memory's limit drawn in."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from batchmix.cli.bench._cases import CUTMIX, LIMIT, MIXUP, ROWS
from batchmix.cli.bench._limits import COPY, SCALE

_LINES = {  # library, how: colour
    ("batchmix", "in place"): "#2b6cb0",
    ("batchmix", "out="): "#63a4d8",
    ("timm", "in place"): "#d98a1f",
    ("torchvision", "new array"): "#b83a3a",
    ("Composer", "new array, label pairs"): "#5b8c3a",
    ("kornia", "new array, label pairs"): "#7d55a8",
    ("NumPy formula", "new array"): "#8a8a8a",
}
_LIMITS = {COPY: ("copy", "--"), SCALE: ("in-place scale", ":")}


def figure(report: dict[str, Any]) -> bytes:
    """A PNG: a panel per kind of work; one thread, warm allocator where that was measured."""
    runs = [run for run in report["runs"] if run["group"] == "float32"]
    threads, allocator = min(
        ((r["threads"], r["allocator"]) for r in runs), key=lambda s: (s[1] != "warm", s[0])
    )
    runs = [r for r in runs if (r["threads"], r["allocator"]) == (threads, allocator)]
    canvas = Figure(figsize=(13, 4.8))
    canvas.set_layout_engine("constrained")
    machine = report["machine"]
    canvas.suptitle(
        f"draw, mix and labels of one float32 batch; {machine['cpu']}, {threads} "
        f"thread{'s' * (threads > 1)}, {allocator} allocator; a line per image size",
        x=0.01, ha="left", fontsize=10, color="#333333",
    )  # fmt: skip
    panels = canvas.subplots(1, 3, sharey=True)
    for axes, work in zip(panels, (MIXUP, CUTMIX, ROWS)):
        _panel(axes, work, sorted(runs, key=lambda run: run["bytes"]))
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


def _panel(axes: Any, work: str, runs: list[dict[str, Any]]) -> None:
    """A line per library over the sizes; each image size has a line of its own."""
    for kind, (name, style) in _LIMITS.items():
        points = _points(runs, "limit", LIMIT, kind)
        if points:
            axes.plot(*zip(*points), style, color="#222222", lw=1.3, label=f"limit: {name}")
    for (library, how), colour in _LINES.items():
        ours = library == "batchmix"
        look = {"color": colour, "lw": 2.2 if ours else 1.3, "ms": 5 if ours else 3.5}
        look |= {"label": f"{library}, {how}" if ours else library, "zorder": 3 if ours else 2}
        for pixels in sorted({run["shape"][-1] for run in runs}):
            same = [run for run in runs if run["shape"][-1] == pixels]
            points = _points(same, library, work, how)
            if points:
                axes.plot(*zip(*points), "-o", **look)
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


def _points(
    runs: list[dict[str, Any]], library: str, work: str, how: str
) -> list[tuple[float, float]]:
    """Megabytes and milliseconds; of a limit's several ways the fastest."""
    points = []
    for run in runs:
        times = [
            case["ms"]["median"]
            for case in run["cases"]
            if (case["library"], case["work"]) == (library, work)
            and (case["how"] == how or (library == "limit" and case["how"].startswith(how)))
            and "ms" in case
        ]
        if times:
            points.append((run["bytes"] / 1e6, min(times)))
    return points
