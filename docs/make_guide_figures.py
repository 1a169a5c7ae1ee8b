"""Makes the figures of the guides: python docs/make_guide_figures.py

Each for a light page and for a dark one. Distributions are counted from plans that are drawn by
seed; curves and tables are those of the comparisons kept in benchmarks/evidence.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from photographs import photographs
from PIL import Image
from scipy.stats import beta as beta_density

import batchmix as bm
from batchmix.cli._output import write
from batchmix.cli.show.theme import DARK, LIGHT, Theme, drawn
from batchmix.losses import soft_cross_entropy
from batchmix.pairing import Derangement, OtherClass, Permutation, Reverse, Roll, SameClass
from batchmix.policies import CutMix, MixUp, Policy

HERE = Path(__file__).parent / "figures" / "guides"
EVIDENCE = Path(__file__).parents[1] / "benchmarks" / "evidence"
ALPHAS = (0.2, 0.5, 1.0, 2.0, 8.0)
SIZE = {"H": 32, "W": 32}
EDGES = np.linspace(0, 1, 31)
NAMES = {
    "none": "no mixing", "smooth:0.1": "label smoothing 0.1", "mixup:1": "MixUp, alpha 1",
    "mixup:8": "MixUp, alpha 8", "cutmix:1": "CutMix, alpha 1", "switch:0.8,1.0": "either",
    "resizemix": "ResizeMix", "fmix:1": "FMix", "gridmix": "GridMix", "smoothmix": "SmoothMix",
    "columns:0.3": "Columns", "mosaic": "Mosaic",
}  # fmt: skip


def alpha(theme: Theme) -> Figure:
    """What is drawn, and what is left of it after a box is cut off at the border."""
    canvas = Figure(figsize=(8.8, 4), layout="constrained")
    grid = canvas.subplots(2, len(ALPHAS), sharex=True, sharey="row")
    at = np.linspace(0.004, 0.996, 400)
    for column, value in zip(grid.T, ALPHAS):
        density = beta_density.pdf(at, value, value)
        for axes, policy in zip(column, (MixUp(value), CutMix(value))):
            found = bm.stats(policy, SIZE, batches=512)
            shares = np.full(len(found.lam), 30 / len(found.lam))
            axes.hist(found.lam, EDGES, weights=shares, color=theme["own"], alpha=0.75)
            axes.plot(at, density, color=theme["ink"], lw=1.2, ls="--")
            axes.axvline(found.lam.mean(), color=theme["partner"], lw=1.8)
            axes.text(0.48, 0.9, f"{found.lam.mean():.2f}", transform=axes.transAxes,
                      ha="right", fontsize=9, color=theme["partner"])  # fmt: skip
            axes.set(ylim=(0, 4.2), yticks=[], xticks=[0, 0.5, 1])
            _bare(axes, theme)
        column[0].set_title(f"alpha {value:g}", fontsize=11)
        column[1].set_xlabel("own weight", fontsize=9)
    grid[0, 0].set_ylabel("MixUp", fontsize=11)
    grid[1, 0].set_ylabel("CutMix", fontsize=11)
    canvas.suptitle(
        "Dashed: Beta(alpha, alpha), which is drawn.  Blue: what images get.  Orange: its mean",
        fontsize=11,
    )
    return canvas


def hardness(theme: Theme) -> Figure:
    """How soft labels become, and how much is pasted, by alpha."""
    canvas = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = canvas.subplots(1, 2)
    values = np.geomspace(0.1, 10, 13)
    kinds: list[tuple[str, Callable[[float], Policy], str, str]] = [
        ("MixUp", lambda a: MixUp(a), "mix", "-"),
        ("CutMix", lambda a: CutMix(a), "none", "-"),
        ('CutMix, placement="inside"', lambda a: CutMix(a, placement="inside"), "none", "--"),
        ("MixUp, dominant=True", lambda a: MixUp(a, dominant=True), "mix", "--"),
    ]
    for name, made, colour, dash in kinds:
        lam = [bm.stats(made(float(a)), SIZE, batches=256).lam for a in values]
        style = {"color": theme[colour], "ls": dash, "lw": 2, "label": name}
        left.plot(values, [1 - one.mean() for one in lam], **style)
        right.plot(values, [np.maximum(one, 1 - one).mean() for one in lam], **style)
    left.set(title="How much of the partner is pasted", ylim=(0, 0.6), ylabel="mean share")
    right.set(title="How hard labels stay", ylim=(0.45, 1.02), ylabel="mean of the larger share")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="alpha")
        axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
        axes.minorticks_off()
        axes.title.set_fontsize(11)
        _bare(axes, theme, "both")
    left.legend(frameon=False, fontsize=9, loc="lower right")
    return canvas


def stats(theme: Theme) -> Figure:
    """The three settings of the page, on 8 x 8 cells."""
    canvas = Figure(figsize=(8, 2.6), layout="constrained")
    three = [("cutmix:1", CutMix(1.0)), ("cutmix:0.2", CutMix(0.2)), ("mixup:0.2", MixUp(0.2))]
    for axes, (name, policy) in zip(canvas.subplots(1, 3, sharey=True), three):
        found = bm.stats(policy, {"H": 8, "W": 8})
        same = found.lam == 1
        parts = [found.lam[~same], found.lam[same]]
        shares = [np.full(len(part), 100 / len(found.lam)) for part in parts]
        axes.hist(parts, np.linspace(0, 1, 21), weights=shares, stacked=True,
                  color=[theme["own"], theme["others"]])  # fmt: skip
        axes.axvline(1 - found.pasted, color=theme["partner"], lw=1.8)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("weight of the own image", fontsize=9)
        _bare(axes, theme, "y")
    canvas.axes[0].set_ylabel("% of the images", fontsize=9)
    canvas.suptitle("Blue: mixed.  Grey: left as they are.  Orange: the mean", fontsize=11)
    return canvas


def calibration(theme: Theme) -> Figure:
    """Confidence against accuracy, before and after one temperature, over all seeds."""
    canvas = Figure(figsize=(8.8, 3.1), layout="constrained")
    arms = ("none", "smooth:0.1", "mixup:1", "cutmix:1")
    for axes, arm in zip(canvas.subplots(1, len(arms), sharey=True), arms):
        outcomes = _outcomes("digits", arm, 0.0)
        axes.plot([0, 1], [0, 1], color=theme["soft"], lw=1, ls=":")
        for name, face in (("reliability", theme[_kind(arm)]), ("reliability_scaled", "none")):
            confidence, accuracy, count = _bins([one["best"][name] for one in outcomes])
            axes.plot(confidence, accuracy, color=theme[_kind(arm)], lw=1, alpha=0.5)
            axes.scatter(confidence, accuracy, 10 + 90 * np.sqrt(count / count.sum()), face,
                         edgecolors=theme[_kind(arm)], zorder=3)  # fmt: skip
        raw, scaled = (
            100 * np.mean([one["best"][name] for one in outcomes]) for name in ("ece", "ece_scaled")
        )
        axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=[0, 0.5, 1], xlabel="confidence")
        axes.set_title(f"{NAMES[arm]}\nECE {raw:.1f} %, then {scaled:.1f} %", fontsize=10)
        _bare(axes, theme, "both")
    canvas.axes[0].set_ylabel("accuracy")
    canvas.suptitle("Filled: as trained.  Hollow: after one temperature", fontsize=11)
    return canvas


def label_noise(theme: Theme) -> Figure:
    """Accuracy by epoch with 40 % wrong labels; and how many of these are learnt by heart."""
    canvas = Figure(figsize=(8.8, 3.4), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    arms = {"none": "none", "smooth:0.1": "smooth", "mixup:8": "soft", "cutmix:1": "mix"}
    for y, (arm, colour) in enumerate(arms.items()):
        outcomes = _outcomes("digits", arm, 0.4)
        curve = 100 * np.mean([one["history"]["held_out_clean"] for one in outcomes], 0)
        epochs, dash = np.arange(1, len(curve) + 1), "--" if arm == "mixup:8" else "-"
        style = {"color": theme["mix" if colour == "soft" else colour], "ls": dash, "lw": 2}
        left.plot(epochs, curve, label=NAMES[arm], **style)
        best = round(np.median([one["best"]["epoch"] for one in outcomes]))
        left.plot(best + 1, curve[best], "o", color=style["color"], ms=7)
        shares = [100 * np.mean([one[at]["memorised"] for one in outcomes])
                  for at in ("best", "last")]  # fmt: skip
        right.plot(shares, [y, y], **style)
        right.plot(shares[0], y, "o", color=style["color"], ms=8)
        right.plot(shares[1], y, "o", ms=8, mfc=theme["page"], mec=style["color"], mew=1.8)
    left.set(xscale="log", xlabel="epoch", ylabel="accuracy, %", ylim=(55, 95))
    left.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    left.minorticks_off()
    left.set_title("Held-out digits; dots: the best epoch", fontsize=11)
    left.legend(frameon=False, fontsize=9, loc="lower left")
    right.set_yticks(range(len(arms)), [NAMES[arm] for arm in arms])
    right.set(xlabel="wrong labels learnt by heart, %", xlim=(-4, 104), ylim=(3.6, -0.6))
    right.set_title("Filled: best epoch; hollow: last", fontsize=11)
    _bare(left, theme, "both")
    _bare(right, theme, "x")
    return canvas


def policies(theme: Theme) -> Figure:
    """Every policy against no mixing, seed by seed."""
    canvas = Figure(figsize=(8.8, 3.8), layout="constrained")
    panels = canvas.subplots(1, 2, sharey=True)
    arms = [name for name in NAMES if name != "none" and _outcomes("digits-policies", name, 0.0)]
    for axes, noise in zip(panels, (0.0, 0.4)):
        without = _scores("none", noise)
        for y, arm in enumerate(arms):
            gains, colour = _scores(arm, noise) - without, theme[_kind(arm)]
            axes.plot(gains, [y] * len(gains), "o", color=colour, ms=5, alpha=0.45, mew=0)
            axes.plot(gains.mean(), y, "|", color=colour, ms=20, mew=2.5)
        axes.axvline(0, color=theme["ink"], lw=1)
        labels = "labels as given" if noise == 0 else "40 % wrong labels"
        axes.set_title(f"600 digits, {labels}", fontsize=11)
        axes.set_xlabel("points of accuracy more than without mixing", fontsize=9)
        _bare(axes, theme, "x")
    panels[0].set_yticks(range(len(arms)), [NAMES[arm] for arm in arms])
    panels[0].set_ylim(len(arms) - 0.4, -0.6)
    canvas.suptitle("Each at its best epoch.  Dots: three seeds.  Lines: their mean", fontsize=11)
    return canvas


def targets(theme: Theme) -> Figure:
    """One label of two classes: 70 % cat, 30 % dog, in the forms that losses take."""
    canvas = Figure(figsize=(8, 2.4), layout="constrained")
    plan = bm.Plan([1, 0], box=[], opacity=[0.3, 0.3], axes="", size=())
    ids = np.array([0, 1])
    mixed = bm.mix_labels(ids, plan, 5)[0]
    smoothed = bm.mix_labels(ids, plan, 5, smoothing=0.1)[0]
    forms = [
        ("hard", np.eye(5)[0], "without mixing"),
        ("dense", mixed, "cross-entropy"),
        ("dense, smoothed by 0.1", smoothed, "cross-entropy"),
        ("threshold 0.2", (mixed > 0.2).astype(float), "binary cross-entropy"),
    ]
    colours = [theme["own"], theme["partner"], *[theme["others"]] * 3]
    for axes, (name, label, loss) in zip(canvas.subplots(1, len(forms), sharey=True), forms):
        axes.bar(range(5), label, color=colours)
        for k, share in enumerate(label):
            if share > 0:
                axes.text(k, share + 0.03, f"{share:.2f}", ha="center", fontsize=9)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel(loss, fontsize=9)
        axes.set(ylim=(0, 1.2), yticks=[])
        axes.set_xticks(range(5), ["cat", "dog", "owl", "fox", "hen"])
        _bare(axes, theme)
    return canvas


def linear(theme: Theme) -> Figure:
    """A loss at the mixed label, and the mix of two losses: the same line for one loss only."""
    canvas = Figure(figsize=(6.4, 2.9), layout="constrained")
    z = np.array([[1.2, -0.4, 0.1]])
    shares, p = np.linspace(0, 1, 51), np.exp(z[0]) / np.exp(z[0]).sum()
    labels = np.stack([shares, 1 - shares, 0 * shares], 1)
    crossed = soft_cross_entropy(np.repeat(z, 51, 0), labels, reduction="none")
    squared = ((p - labels) ** 2).sum(1)
    two = (("cross-entropy", crossed), ("squared error", squared))
    for axes, (name, loss) in zip(canvas.subplots(1, 2), two):
        straight = shares * loss[-1] + (1 - shares) * loss[0]
        axes.plot(shares, straight, color=theme["none"], lw=5, alpha=0.5,
                  label="mix of two losses (pairs)")  # fmt: skip
        axes.plot(shares, loss, color=theme["mix"], lw=1.8, label="loss of the mixed label (dense)")
        axes.set_title(name, fontsize=11)
        axes.set(xlabel="weight of the own label", ylabel="loss")
        axes.set_ylim(0, None)
        _bare(axes, theme, "both")
    canvas.axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return canvas


def attentive(theme: Theme) -> Figure:
    """A cat, and the six of 49 cells of a flower that a map has most of."""
    canvas = Figure(figsize=(8.8, 2.8), layout="constrained")
    both, maps = _photos("cat-0", "flower-1")
    cells = np.zeros(49, np.uint8)
    cells[np.argsort(-maps[1].ravel(), kind="stable")[:6]] = 255
    whole = [[[0, n] for n in both.shape[1:3]]] * 2
    mask = np.stack([cells.reshape(7, 7)] * 2)
    plan = bm.Plan([1, 0], whole, [1, 1], "HW", both.shape[1:3], mask=mask)
    panels, mixed = canvas.subplots(1, 4), bm.mix(both, plan, "NHWC")
    titles = ("row", "partner", "map of the partner", "mixed")
    for axes, title, one in zip(panels, titles, (both[0], both[1], both[1], mixed[0])):
        _photo(axes, title, one)
    _over(panels[2], maps[1], both)
    _label(panels[3], theme, "label", plan.lam[0])
    panels[0].set_xlabel("cat", color=theme["own"])
    panels[1].set_xlabel("flower", color=theme["partner"])
    return canvas


def attention(theme: Theme) -> Figure:
    """A flower with a corner of sky: the label by area, and by a map of the mixed image."""
    canvas = Figure(figsize=(8.8, 2.8), layout="constrained")
    both, _ = _photos("flower-1", "temple-1")
    high, wide = both.shape[1:3]
    box = [[0, high * 11 // 20], [wide * 9 // 20, wide]]
    plan = bm.Plan([1, 0], [box, box], [1, 1], "HW", (high, wide))
    mixed = bm.mix(both, plan, "NHWC")
    maps = _orange(mixed)
    panels = canvas.subplots(1, 4)
    titles = ("row", "partner", "mixed", "map of the mixed image")
    for axes, title, one in zip(panels, titles, (*both, mixed[0], mixed[0])):
        _photo(axes, title, one)
    _over(panels[3], maps[0], both)
    for axes, name, lam in ((panels[2], "by area", plan.lam),
                            (panels[3], "by the map", plan.relabel(maps).label_lam)):  # fmt: skip
        _label(axes, theme, name, lam[0])
    panels[0].set_xlabel("flower", color=theme["own"])
    panels[1].set_xlabel("temple", color=theme["partner"])
    return canvas


def grids(theme: Theme) -> Figure:
    """A box on the cells of an image, and on those of its features."""
    canvas = Figure(figsize=(6.4, 2.9), layout="constrained")
    plan = bm.Plan([1, 0], [[[0, 3], [0, 8]]] * 2, [1, 1], "HW", (8, 8))
    there = plan.at({"H": 4, "W": 4})
    for axes, one, name in zip(canvas.subplots(1, 2), (plan, there), ("the image", "the features")):
        side = one.size[0]
        ids = np.broadcast_to(np.arange(2.0)[:, None, None], (2, side, side)).copy()
        _cells(axes, theme, bm.mix(ids, one, "NHW")[0])
        axes.set_title(f"{name}, {side} x {side} cells", fontsize=11)
        axes.set_xlabel(f"own weight {one.lam[0]:.3f}", fontsize=10, color=theme["own"])
    return canvas


def pairings(theme: Theme) -> Figure:
    """Six rows in a ring, and an arrow to each from its partner."""
    canvas = Figure(figsize=(8.8, 5.6), layout="constrained")
    classes, key = np.array([0, 0, 0, 1, 1, 1]), bm.Key(0, step=7)  # where one row is alone
    kinds = {
        "Derangement(): one random ring": Derangement(),
        "Permutation(): a row may be alone": Permutation(),
        "Reverse(): mutual": Reverse(),
        "Roll(1): the row before": Roll(1),
        "SameClass(): inside a class": SameClass(),
        "OtherClass(): from another class": OtherClass(),
    }
    turn = np.pi / 2 - np.arange(6) * np.pi / 3
    places = np.stack([np.cos(turn), np.sin(turn)], 1)
    for axes, (name, pairing) in zip(canvas.subplots(2, 3).flat, kinds.items()):
        plan = bm.draw(MixUp(1.0), key, 6, {}, pairing=pairing, hints={"label": classes})
        for i, k in enumerate(plan.partner.tolist()):
            place, square = places[i], "Class" in name and classes[i]
            shape = Rectangle(place - 0.18, 0.36, 0.36) if square else Circle(place, 0.2)
            shape.set(color=theme["none"], zorder=2)
            axes.add_patch(shape)
            axes.text(*places[i], str(i), ha="center", va="center", fontsize=11,
                      color=theme["page"], weight="bold")  # fmt: skip
            if i != k:
                axes.annotate("", places[i], places[k], zorder=1, arrowprops={
                    "arrowstyle": "-|>", "color": theme["ink"], "shrinkA": 16, "shrinkB": 16,
                    "connectionstyle": "arc3,rad=0.12"})  # fmt: skip
        axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal", xticks=[], yticks=[])
        axes.set_title(name, fontsize=11)
        axes.spines[:].set_visible(False)
    return canvas


FIGURES: dict[str, Callable[[Theme], Figure]] = {
    "alpha": alpha,
    "hardness": hardness,
    "stats": stats,
    "calibration": calibration,
    "label-noise": label_noise,
    "policies": policies,
    "targets": targets,
    "linear": linear,
    "attentive": attentive,
    "attention": attention,
    "grids": grids,
    "pairings": pairings,
}


def _photos(*names: str) -> tuple[Any, Any]:
    """Photographs, and a map of 7 x 7 cells for each."""
    x = photographs(*names).x
    return x, _orange(x)


def _orange(x: Any) -> Any:
    """[B, 7, 7], which stands in for what a model looks at: how orange each cell is."""
    more = np.clip(x[..., 0].astype(float) - x[..., 2], 0, None)  # red than blue
    rows, high, wide = more.shape
    cells = more[:, : high // 7 * 7, : wide // 7 * 7]
    return cells.reshape(rows, 7, high // 7, 7, wide // 7).mean((2, 4))


def _photo(axes: Any, title: str, image: Any) -> None:
    """A photograph without a frame."""
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
    axes.spines[:].set_visible(False)


def _over(axes: Any, cells: Any, x: Any) -> None:
    """A map over a photograph: dark where it is low."""
    high, wide = x.shape[1:3]
    shade = np.zeros((*cells.shape, 4))
    shade[..., 3] = 0.85 * (1 - cells / cells.max())
    axes.imshow(shade, extent=(0, wide, high, 0), interpolation="nearest")


def _label(axes: Any, theme: Theme, name: str, lam: float) -> None:
    """A soft label under a picture: a bar of shares, and the same in numbers."""
    style: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    axes.barh(-0.07, lam, 0.06, 0, color=theme["own"], **style)
    axes.barh(-0.07, 1 - lam, 0.06, lam, color=theme["partner"], **style)
    axes.set_xlabel(f"{name}: {lam:.2f} and {1 - lam:.2f}", labelpad=16, fontsize=10)


def _cells(axes: Any, theme: Theme, ids: Any) -> None:
    """Cells of 0 in the colour of the own image, of 1 in that of the partner."""
    for (row, column), one in np.ndenumerate(ids):
        colour = theme["partner" if one else "own"]
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor=theme["page"]))
    axes.set(xlim=(0, len(ids)), ylim=(len(ids), 0), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _outcomes(kept: str, arm: str, noise: float) -> list[dict[str, Any]]:
    """The trials of one arm in a kept comparison, by seed."""
    found = json.loads((EVIDENCE / f"{kept}.json").read_text(encoding="utf-8"))["outcomes"]
    ours = [one for one in found if (one["trial"]["arm"], one["trial"]["noise"]) == (arm, noise)]
    return sorted(ours, key=lambda one: one["trial"]["seed"])


def _scores(arm: str, noise: float) -> Any:
    """Accuracy of each seed at its best epoch, in points."""
    found = _outcomes("digits-policies", arm, noise)
    return 100 * np.array([one["best"]["accuracy"] for one in found])


def _bins(parts: Sequence[dict[str, Sequence[float]]]) -> tuple[Any, Any, Any]:
    """Confidence, accuracy and rows of each bin over all seeds; bins of fewer than ten are left."""
    count = np.array([part["count"] for part in parts], float)
    total = count.sum(0)
    kept = total >= 10
    means = [
        (np.array([part[name] for part in parts]) * count).sum(0)[kept] / total[kept]
        for name in ("confidence", "accuracy")
    ]
    return means[0], means[1], total[kept]


def _kind(arm: str) -> str:
    """By what it is coloured."""
    name = arm.partition(":")[0]
    return name if name in ("none", "smooth") else "mix"


def _bare(axes: Any, theme: Theme, grid: str = "") -> None:
    """Small figures and no frame."""
    axes.tick_params(labelsize=9, length=0)
    if grid:
        axes.grid(axis=grid, color=theme["line"], lw=0.8)
        axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _png(canvas: Figure) -> bytes:
    """Few colours, as a page has many figures."""
    made, content = io.BytesIO(), io.BytesIO()
    canvas.savefig(made, format="png", dpi=160)
    Image.open(made).convert("RGB").quantize(128).save(content, "png", optimize=True)
    return content.getvalue()


def figures() -> dict[str, bytes]:
    """Every figure by its file, for a light page and for a dark one."""
    made = {}
    for ending, theme in (("", LIGHT), ("-dark", DARK)):
        for name, draw in FIGURES.items():
            with drawn(theme):
                made[f"{name}{ending}.png"] = _png(draw(theme))
    return made


if __name__ == "__main__":
    for name, content in figures().items():
        write(HERE / name, content)
        print(HERE / name)
