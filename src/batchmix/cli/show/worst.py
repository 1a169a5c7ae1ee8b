"""The worst call of a check as a picture: a row, its partner, and whose pixels the mix holds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from batchmix._audit._alongside import astray_cells
from batchmix._audit._kinds import NAN_ROW
from batchmix._audit._report import Finding
from batchmix._audit._seen import Seen
from batchmix.cli.show.dots import GREYS, WRONG, picture
from batchmix.cli.show.theme import LIGHT, Theme

VARIABLES = {LIGHT["ink"]: "--ink"}  # of a page
# in one call nothing is to be seen of what these found
UNSEEN = ("other dtype", "writes to inputs", "global generator", "repeated mixes")
_FAR = 100.0
_LEAST = 0.005  # shares below are not drawn
_WIDTH, _BAR, _HEAD = 4.6, 0.3, 0.34  # inches: all, a bar, a heading
_LONG = 4  # times as wide as high: such a panel has a line of its own


def can_be_drawn(finding: Finding) -> bool:
    """Whether there is a call to be drawn, its images have their shape, and it shows something."""
    seen = finding.seen
    if seen is None or finding.name in UNSEEN:
        return False
    nowhere = finding.name in ("changed ids", "wrong boxes") and finding.row is None
    return not nowhere and seen.images.shape == seen.before["image"].shape


def row_of(finding: Finding) -> int:
    """The row that is drawn: the one of the finding, or the one that is mixed most."""
    assert finding.seen is not None
    if finding.row is not None:
        return finding.row
    return int(np.argmin(_bounded(np.diag(_pixels(finding.seen)))))


def weights_of(finding: Finding) -> list[tuple[int, float | None, float]]:
    """For each row that matters: its number, its weight in the label, its share of the pixels.

    The row itself first, then the others, the largest first; the weight is None without labels.
    """
    seen, row = finding.seen, row_of(finding)
    assert seen is not None
    pixels = _pixels(seen)[row]
    labelled = seen.raw is not None and not seen.problem
    label = seen.labels[row] if labelled else np.zeros_like(pixels)
    size = np.maximum(np.abs(_bounded(pixels)), np.abs(_bounded(label)))
    others = [int(i) for i in np.argsort(-size, kind="stable") if i != row and size[i] > _LEAST]
    return [(i, float(label[i]) if labelled else None, float(pixels[i])) for i in (row, *others)]


def number(share: float) -> str:
    """A share as it is written; one that is far out, or none, as that."""
    return f"{share:.3f}" if abs(share) < _FAR else f"{share:.3g}"


def worst(finding: Finding, theme: Theme = LIGHT, titled: bool = True) -> Figure:
    """The figure; only of findings that `can_be_drawn`. A page has a title of its own."""
    seen, row = finding.seen, row_of(finding)
    assert seen is not None
    weights = weights_of(finding)
    colours = dict(zip([i for i, _, _ in weights], (theme["own"], theme["partner"], *GREYS * 64)))
    # a row whose pixels are nowhere is still a partner, if a label names it
    partner = next((i for i, _, _ in weights[1:]), None)
    even = np.eye(seen.kind.batch)[:, None].repeat(seen.cells.shape[1], 1)
    panels = [(f"row {row}", picture(seen, even[row], colours))]
    if partner is not None:
        panels.append((f"row {partner}, its partner", picture(seen, even[partner], colours)))
    cells, wrong = _known(seen)[row], _wrong(finding, row)
    red = f"mixed; red: {'wrong' if np.isfinite(seen.cells[row]).all() else 'NaN'}"
    panels.append(
        (red if wrong.any() else f"row {row}, mixed", picture(seen, cells, colours, wrong))
    )
    boxed = finding.name == "wrong boxes" and seen.others.get("boxes", np.zeros(0)).ndim == 3
    if finding.name == "changed ids":
        panels += [(f"its {name.replace('_', ' ')}", _mask(seen, name, row, colours))
                   for name in ("mask", "onehot_mask") if _comparable(seen, name)]  # fmt: skip
    if boxed:
        panels.append(("its boxes", panels[-1][1] * [1, 1, 1, 0.35]))
    canvas = _canvas(finding.headline if titled else "", panels, weights, colours, theme)
    if sum(axis not in "NC" for axis in seen.kind.layout) == 1:  # a sound is a band
        for axes in canvas.axes[: len(panels)]:
            axes.set_aspect("auto")
    if boxed:
        scale = panels[-1][1].shape[0] / dict(zip(seen.kind.layout, seen.kind.shape(1)))["H"]
        _boxes(canvas.axes[len(panels) - 1], seen.others["boxes"][row], scale, colours)
    return canvas


def png(canvas: Figure) -> bytes:
    """A file's content."""
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _canvas(
    title: str,
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    weights: Sequence[tuple[int, float | None, float]],
    colours: Mapping[int, str],
    theme: Theme,
) -> Figure:
    """Panels in lines of three, then a bar for the label and one for the pixels, on one scale."""
    bars = ["label", "pixels"] if weights[0][1] is not None else ["pixels"]
    shapes = [cells.shape[1] / cells.shape[0] for _, cells in panels]
    columns, side = (1, 0.4) if max(shapes) > _LONG else (2 if len(panels) == 4 else 3, 0.84)
    step, head = 0.98 / columns, 0.26 if title else 0.0
    tall = -(-len(panels) // columns) * (side + _HEAD) + _BAR * len(bars) + 0.16 + head
    canvas = Figure(figsize=(_WIDTH, tall), facecolor=theme["page"])
    at = (0.02, 1 - 0.08 / tall)
    canvas.text(*at, title, fontsize=10.5, fontweight="bold", va="top", color=theme["ink"])
    for k, (name, cells) in enumerate(panels):
        left, wide = 0.02 + k % columns * step, step - 0.02
        top = tall - k // columns * (side + _HEAD) - 0.3 - head
        axes = canvas.add_axes((left, (top - side) / tall, wide, side / tall))
        axes.imshow(cells, interpolation="none")
        axes.set(xticks=[], yticks=[], facecolor="none", anchor="NW")
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=8.5, loc="left", pad=3, color=theme["ink"])
    axes = canvas.add_axes((0.13, 0.08 / tall, 0.83, _BAR * len(bars) / tall))
    drawn = _bounded(np.array([[w[1] or 0.0, w[2]] for w in weights]))
    most = max(1.0, *drawn.clip(0).sum(0))
    for y, name in enumerate(bars):
        _bar(axes, y, dict(zip(colours, drawn[:, int(name == "pixels")].tolist())), colours, most)
    if len(bars) == 2:
        low, high = sorted(drawn[0].clip(0))
        thick = 2 if high - low > _LEAST else 0
        axes.add_patch(
            Rectangle((low, -0.4), high - low, 1.8, fill=False, ec=WRONG, lw=thick, zorder=3)
        )
    axes.set(xlim=(0, most), ylim=(len(bars) - 0.5, -0.5), xticks=[], facecolor="none")
    axes.set_yticks(range(len(bars)), bars, fontsize=9, color=theme["ink"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return canvas


def _bar(
    axes: Any, y: int, shares: Mapping[int, float], colours: Mapping[int, str], most: float
) -> None:
    """Shares of rows side by side, each with its number where it fits."""
    start = 0.0
    for row, share in shares.items():
        share = max(share, 0.0)
        axes.add_patch(Rectangle((start, y - 0.4), share, 0.8, fc=colours[row], lw=0))
        if share > 0.09 * most:
            words = (number(share) if share < _FAR else "far out") + (
                f"  row {row}" if share > 0.2 * most else ""
            )
            at, ink = (
                (start + share / 2, y),
                "#ffffff" if colours[row] == LIGHT["own"] else "#1a1a1a",
            )
            axes.text(*at, words, ha="center", va="center", fontsize=8.5, color=ink)
        start += share


def _pixels(seen: Seen) -> NDArray[np.float64]:
    """[B, B] shares of the image, in which the NaN of a row that has it counts as that row."""
    cells = _known(seen) if seen.kind.nan else seen.cells
    with np.errstate(over="ignore", invalid="ignore"):  # whatever came back
        return np.asarray(cells.mean(1))


def _known(seen: Seen) -> NDArray[np.float64]:
    """[B, cells, B] shares without NaN."""
    cells = seen.cells.copy()
    if seen.kind.nan:
        rest = np.nan_to_num(np.delete(cells, NAN_ROW, -1)).sum(-1)
        cells[..., NAN_ROW] = np.where(np.isnan(cells[..., NAN_ROW]), 1 - rest, 0)
    return _bounded(cells)


def _bounded(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers that can be drawn; what is far out stays far out."""
    return np.nan_to_num(shares, nan=0, posinf=_FAR, neginf=-_FAR).clip(-_FAR, _FAR)


def _wrong(finding: Finding, row: int) -> NDArray[np.bool_]:
    """[cells] of a row that the check has something against."""
    seen = finding.seen
    assert seen is not None
    cells = _known(seen)[row]
    if finding.name == "pixel sum":
        off = np.maximum(np.abs(cells.sum(-1) - 1), -cells.min(-1))
        return np.asarray(off > finding.limit)
    broken = ~np.isfinite(seen.cells[row]).all(-1)
    return np.asarray(seen.leaks[row] if seen.kind.nan else broken)


def _comparable(seen: Seen, name: str) -> bool:
    """Whether a mask came back in its shape."""
    return name in seen.others and seen.others[name].shape == seen.before[name].shape


def _mask(seen: Seen, name: str, row: int, colours: Mapping[int, str]) -> NDArray[np.float64]:
    """Each cell in the colour of the row whose id it holds; red where that is not the pixels'."""
    mask, kind = seen.others[name][row : row + 1], seen.kind
    if name == "mask":
        shares = (mask.reshape(-1, 1) == kind.ids()).astype(float)
    else:
        last = np.moveaxis(mask, kind.layout.index("C"), -1)
        shares = np.nan_to_num(last.reshape(-1, last.shape[-1])[:, : kind.batch].astype(float))
    return picture(seen, shares, colours, astray_cells(seen, name)[row])


def _boxes(axes: Any, boxes: NDArray[Any], scale: float, colours: Mapping[int, str]) -> None:
    """Each box in the colour of its row, a little inside of its edges, so that none hides another.

    `scale` is dots per cell.
    """
    for left, top, right, bottom, label in boxes[:, :5].astype(float).tolist():
        if right > left and bottom > top:
            row = int(label) if np.isfinite(label) else -1
            room = 0.2 + (0.3 * list(colours).index(row) if row in colours else 0)
            corner = (scale * (left + room) - 0.5, scale * (top + room) - 0.5)
            sides = (scale * (right - left - 2 * room), scale * (bottom - top - 2 * room))
            colour = colours.get(row, WRONG)
            axes.add_patch(Rectangle(corner, *sides, fill=False, ec=colour, lw=1.6, clip_on=True))
