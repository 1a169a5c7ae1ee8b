"""The first mixed batch as a picture: what a model really sees, and what it is told of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from batchmix.cli.lab.rows import Form, Task

_ROWS, _COLUMNS = 16, 8
_ALIKE = 5e-3  # shares below are not written


def first_batch(
    x: NDArray[Any],
    targets: NDArray[Any],
    task: Task,
    form: Form = "image",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> bytes:
    """A PNG of the first 16 rows with their targets.

    `x` is as rows are read, channels last; or, where `mean` and `std` are given, normalised by
    them, channels first. `targets` are ids [B] or soft labels [B, K], or numbers [B, K].
    """
    rows = _as_read(np.asarray(x)[:_ROWS], form, mean, std)
    columns = min(_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    canvas = Figure(figsize=(1.35 * columns, 1.75 * lines), layout="constrained")
    grid = canvas.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, row, target in zip(grid.flat, rows, targets):
        _draw(axes, row, form)
        axes.set_title(_words(np.asarray(target), task), fontsize=7, loc="left", pad=2)
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=110)
    return content.getvalue()


def pixels(png: bytes) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of a PNG, as logs take pictures."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def _as_read(
    x: NDArray[Any], form: Form, mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[Any]:
    """Channels last, not normalised; see `feed.prepare`."""
    if mean is None or std is None:
        return x
    x = np.moveaxis(x.astype(np.float32), 1, -1)
    x = x * np.asarray(std, np.float32) + np.asarray(mean, np.float32)
    return x * 255 if form == "image" else x


def _draw(axes: Any, row: NDArray[Any], form: Form) -> None:
    if form == "wave":
        axes.plot(row.astype(np.float32).mean(-1), lw=0.4, color="#333333")
    elif form == "mel":
        axes.imshow(row[..., 0], aspect="auto", origin="lower", cmap="magma")
    else:
        cells = np.clip(np.rint(row), 0, 255).astype(np.uint8)
        small = {"interpolation": "nearest"} if max(cells.shape) <= 64 else {}
        if cells.shape[-1] == 1:
            axes.imshow(cells[..., 0], cmap="gray", vmin=0, vmax=255, **small)
        else:
            axes.imshow(cells[..., :3], **small)


def _words(target: NDArray[Any], task: Task) -> str:
    """The two largest parts of a soft label, or the first two numbers."""
    if target.ndim == 0:
        return _short(task.names[int(target)])
    if task.kind == "numbers":
        pairs = zip(task.names[:2], target[:2], strict=False)
        return "\n".join(f"{_short(name)} {value:.3g}" for name, value in pairs)
    best = [i for i in np.argsort(-target, kind="stable")[:2] if target[i] > _ALIKE]
    return "\n".join(f"{_short(task.names[i])} {target[i]:.0%}" for i in best) or "none"


def _short(name: str) -> str:
    """Not too long to stand over a picture; a dollar sign would begin a formula."""
    name = "".join(c if c.isprintable() else "?" for c in name).replace("$", r"\$")
    return name if len(name) <= 14 else name[:13] + "…"
