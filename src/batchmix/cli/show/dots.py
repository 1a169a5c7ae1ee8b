"""Shares of rows as dots of their colours: blue is a row's own content, orange its partner's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._kinds import BatchKind
from batchmix._audit._seen import Seen

WRONG = "#c8102e"
GREYS = ("#8a8a8a", "#b4b4b4", "#6a6a6a", "#cfcfcf")  # of further rows
_DITHER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32
_FRAMES = 5  # of a video or volume that are drawn, at most


def picture(
    seen: Seen,
    shares: NDArray[np.float64],
    colours: Mapping[int, str],
    wrong: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """RGBA [H, W, 4] of shares [cells, B]: as many dots of a row's colour as it has a share.

    Dots and not blends of colours, as blue and orange make grey, and grey is another row. Nothing
    is drawn where shares are missing; what is wrong is red.
    """
    table = [rgba(colours.get(row, GREYS[0])) for row in range(shares.shape[-1])]
    palette = np.array([*table, rgba(WRONG), np.zeros(4)])
    red = np.zeros((len(shares), 1)) if wrong is None else wrong[:, None].astype(float)
    grid = _laid_out(seen.kind, np.concatenate([np.clip(shares, 0, 1) * (1 - red), red], 1))
    longest = max(grid.shape[:2])
    times = max(4 if longest <= 256 else 1, 16 // longest)
    grid = grid.repeat(times, 0).repeat(times, 1)
    limits = np.tile(_DITHER, [-(-n // 4) for n in grid.shape[:2]])
    over = grid.cumsum(-1) > limits[: grid.shape[0], : grid.shape[1], None]
    index = np.where(over.any(-1), over.argmax(-1), len(palette) - 1)
    return np.asarray(palette[index])


def _laid_out(kind: BatchKind, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[cells, K] as [H, W, K]: frames of a video side by side, a sound as a band."""
    axes = [axis for axis in kind.layout if axis not in "NC"]
    sizes = dict(zip(kind.layout, kind.shape(1)))
    order = sorted(axes, key="TDHW".find)
    grid = values.reshape(*(sizes[axis] for axis in axes), -1)
    grid = grid.transpose(*(axes.index(axis) for axis in order), len(axes))
    if len(axes) < 2:
        return grid.reshape(1, -1, grid.shape[-1])
    frames = grid.reshape(-1, *grid.shape[-3:])
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))]
    gap = np.zeros((frames.shape[1], max(1, frames.shape[2] // 10), grid.shape[-1]))
    return np.concatenate([part for one in frames for part in (gap, one)][1:], 1)


def rgba(colour: str) -> NDArray[np.float64]:
    """Four numbers of 0..1."""
    return np.array([*(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)), 1])
