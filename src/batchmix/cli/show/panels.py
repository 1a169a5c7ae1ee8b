"""Single panels of the figures. Blue is the row's own content, orange its partner's."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from batchmix.cli.show import marks
from batchmix.cli.show.shown import Batch, Shown
from batchmix.cli.show.theme import LIGHT, Theme

_DECIBELS = 60  # shown below the loudest
_QUIET = 1.5  # a wave lower than the loudest by more than this is marked


def original(axes: Any, batch: Batch, row: int, whose: str, theme: Theme = LIGHT) -> None:
    """A row as it was read, with its class."""
    if batch.source.form == "wave":
        _wave(axes, batch, batch.x[row], theme[whose])
    else:
        _image(axes, batch.x[row])
        marks.draw(axes, batch.beside, row, theme, whose)
    axes.set_title(batch.name(row), fontsize=8, color=theme[whose], pad=2)


def pasted(axes: Any, one: Shown, row: int, theme: Theme = LIGHT) -> None:
    """Where the partner is, and how strongly."""
    shades = LinearSegmentedColormap.from_list("pasted", [theme["empty"], theme["partner"]])
    opacity = np.atleast_2d(one.opacity[row])
    axes.imshow(opacity, cmap=shades, vmin=0, vmax=1, aspect=_aspect(one))


def mixed(axes: Any, one: Shown, row: int, theme: Theme = LIGHT) -> None:
    """A mixed row, with a thin line around a region that was cut."""
    if one.batch.source.form == "wave":
        _wave(axes, one.batch, one.mixed[row], theme["ink"])
        _span(axes, one, row, theme, fill=True)
        return
    _image(axes, one.mixed[row])
    marks.draw(axes, one.beside, row, theme)
    line = ":" if one.beside.marks else "-"  # not to be taken for one of the boxes
    for (top, bottom), (left, right) in (box.tolist() for box in one.cuts(row)):
        corner = (left - 0.5, top - 0.5)
        sides = (right - left, bottom - top)
        box = Rectangle(corner, *sides, fill=False, ec=theme["partner"], lw=1.2, clip_on=False)
        box.set_linestyle(line)
        axes.add_patch(box)


def spectrogram(axes: Any, one: Shown, row: int, theme: Theme = LIGHT) -> None:
    """Loudness over time and frequency of a mixed sound."""
    from scipy.signal import spectrogram as power_of

    wave = one.mixed[row].astype(np.float32).mean(1)
    wave /= max(1e-9, float(np.abs(wave).max()))
    _, _, power = power_of(wave, nperseg=min(256, len(wave)), noverlap=min(256, len(wave)) * 3 // 4)
    loud = 10 * np.log10(power + 1e-12)
    top, end = float(loud.max()), len(wave)
    axes.imshow(
        loud, aspect="auto", origin="lower", cmap="magma", vmin=top - _DECIBELS, vmax=top,
        extent=(0, end, 0, 1), interpolation="bilinear",
    )  # fmt: skip
    axes.set(xlim=(0, end), ylim=(0, 1))
    _span(axes, one, row, theme)


def _span(axes: Any, one: Shown, row: int, theme: Theme, fill: bool = False) -> None:
    """The span of a sound that was cut, between two lines."""
    for ends in (box[0].tolist() for box in one.cuts(row)):
        for end in ends:
            axes.axvline(end, color=theme["partner"], lw=1.2)
        if fill:
            axes.axvspan(*ends, color=theme["partner"], alpha=0.15, lw=0)


def _aspect(one: Shown) -> str:
    """Cells of an image are squares, those of a sound fill the panel."""
    return "auto" if one.batch.source.form == "wave" else "equal"


def _wave(axes: Any, batch: Batch, clip: Any, colour: str) -> None:
    """The mean of a clip's channels at its own scale, marked where it is far from the loudest's."""
    wave = clip.astype(np.float32).mean(1)
    top, loudest = (float(np.abs(x).max()) for x in (wave, batch.x.astype(np.float32).mean(2)))
    axes.plot(wave, color=colour, lw=0.4)
    axes.set(xlim=(0, len(clip)), ylim=(-max(1e-9, top), max(1e-9, top)))
    if top < loudest / _QUIET:
        mark = f"x {loudest / top:.0f}" if top else "silence"
        axes.text(0.98, 0.03, mark, transform=axes.transAxes, ha="right", fontsize=7)


def _image(axes: Any, image: Any) -> None:
    """An image in its own colours; small ones are shown cell by cell."""
    small = max(image.shape) <= 64
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.shape[-1] == 1 else {}
    axes.imshow(
        image.squeeze(-1) if grey else image, **grey, interpolation="nearest" if small else None
    )


def label(axes: Any, one: Shown, row: int, theme: Theme = LIGHT) -> None:
    """Under an image, its soft label: a bar of shares, and its first two parts in words."""
    start, parts = 0.0, one.parts(row)
    for part in parts:
        axes.add_patch(
            Rectangle(
                (start, -0.1),
                part.share,
                0.05,
                transform=axes.transAxes,
                clip_on=False,
                fc=theme[part.whose],
                ec=theme["page"],
                lw=0.5,
            )
        )
        start += part.share
    for k, part in enumerate(parts[:2]):
        axes.annotate(
            f"{part.name} {part.share:.0%}", (0, -0.1), (0, -3 - 9.5 * k),
            "axes fraction", "offset points",
            va="top", fontsize=8, color=theme[part.whose],
        )  # fmt: skip


def spread(axes: Any, lam: Any, theme: Theme = LIGHT) -> None:
    """How shares of own content spread over 0..1."""
    counts, edges = np.histogram(lam, 16, (0, 1))
    axes.bar(edges[:-1], counts, 1 / 16, align="edge", color=theme["own"], lw=0)
    axes.set(xlim=(0, 1), box_aspect=1)
    axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)


def hardness(axes: Any, name: str, hardness: Any, theme: Theme = LIGHT) -> None:
    """A histogram of largest probabilities; mean and share of hard labels in words."""
    counts, edges = np.histogram(hardness, 50, (0, 1 + 1e-6))
    axes.bar(edges[:-1], 100 * counts / len(hardness), 0.02, align="edge", color=theme["own"])
    words = f"{name}: mean {hardness.mean():.2f}, {(hardness > 0.99).mean():.0%} hard"
    axes.set_title(words, loc="left", fontsize=9)
    axes.set_xlim(min(0.4, hardness.min()), 1.01)
    _bare(axes)


def bars(axes: Any, one: Shown, row: int, theme: Theme = LIGHT) -> None:
    """A soft label in full; only the classes that are in the image are named."""
    soft, y = one.soft[row], one.batch.y
    named = {int(y[partner]): "partner" for partner in one.partners(row)}
    named |= {int(y[row]): "own"}
    axes.vlines(range(len(soft)), 0, soft, color=theme["others"], lw=4)
    for label, whose in named.items():
        axes.vlines(label, 0, soft[label], color=theme[whose], lw=4)
    axes.set(xlim=(-0.8, len(soft) - 0.2), ylim=(0, 1.02), yticks=[0, 0.5, 1])
    axes.set(xticks=[])
    axes.tick_params(labelleft=row == 0)
    for part, side in zip(one.parts(row)[:2], ("left", "right")):
        axes.set_title(part.name, loc=side, fontsize=8, color=theme[part.whose], pad=3)
    _bare(axes)


def _bare(axes: Any) -> None:
    """Small figures, no frame."""
    axes.tick_params(labelsize=8, length=2)
    axes.spines[["top", "right"]].set_visible(False)
