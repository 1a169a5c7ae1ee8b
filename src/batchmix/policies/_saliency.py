"""Where an image stands out from itself: the spectral residual."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST = 32  # cells on a side that saliency is looked at in
_SPREAD = 2.5 / 64  # of the smoothing, as a share of a side
_AT_ONCE = 1 << 20  # numbers of images that are looked at together
_STEP = 1e-6  # differences below this are those of the machine


def peaks(images: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The most salient cell of some rows of images [B, H, W] or [B, H, W, C], and whether any is.

    Of equally salient ones the first. In a flat image, or one that holds NaN, none is.
    """
    centre = np.zeros((len(rows), 2), np.int32)
    some = np.zeros(len(rows), bool)
    step = max(1, _AT_ONCE // max(1, images[:1].size))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        with np.errstate(invalid="ignore", over="ignore"):
            centre[part], some[part] = _peaks(images[rows[part]])
    return centre, some


def _peaks(images: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    sides = images.shape[1:3]
    width = [-(-n // _MOST) for n in sides]
    grey = images
    for axis, cells in enumerate(width):
        grey = _means(grey, axis + 1, cells)
    found = _residual(grey.mean(-1, dtype=np.float64) if grey.ndim == 4 else grey)
    found = found.reshape(len(found), -1)
    top = found.max(1)
    some = top - found.min(1) > _STEP * top
    level = np.rint(found / np.where(some, top, 1)[:, None] / _STEP)
    places = np.unravel_index(level.argmax(1), grey.shape[1:3])
    ends = [(at * cells, np.minimum((at + 1) * cells, n))
            for at, cells, n in zip(places, width, sides)]  # fmt: skip
    return np.stack([(low + high) // 2 for low, high in ends], 1).astype(np.int32), some


def _means(x: NDArray[Any], axis: int, cells: int) -> NDArray[Any]:
    """Means of so many cells in a row, at the end of fewer."""
    dtype = np.result_type(x.dtype, np.float32)
    before = (slice(None),) * axis
    total: NDArray[Any] = x[(*before, slice(None, None, cells))].astype(dtype)
    for k in range(1, min(cells, x.shape[axis])):
        part = x[(*before, slice(k, None, cells))]
        total[(*before, slice(part.shape[axis]))] += part
    counts = np.full(total.shape[axis], cells, dtype)
    counts[-1:] = x.shape[axis] - cells * (len(counts) - 1)
    total /= counts.reshape(-1, *[1] * (x.ndim - axis - 1))
    return total


def _residual(grey: NDArray[Any]) -> NDArray[np.float64]:
    r"""[B, h, w]: :math:`|F^{-1}(e^{R + iP})|^2`, smoothed.

    R is the log spectrum less its mean over 3 x 3, so that e^(R + iP) is the spectrum over e to the
    power of that mean. The image fades at its sides: where opposite ones do not meet, its own
    spectrum takes the seam for what stands out.
    """
    height, width = grey.shape[1:]
    grey = grey.astype(np.float64) - grey.mean((1, 2), keepdims=True)
    spectrum = np.fft.fft2(grey * np.outer(_faded(height), _faded(width)))
    size = np.abs(spectrum)
    # what is no more than rounding would be whitened to a signal
    least = size.max((1, 2), keepdims=True) * _STEP
    mean = np.log(np.maximum(size, np.where(least > 0, least, 1)))
    for axis in (1, 2):
        mean = (np.roll(mean, 1, axis) + mean + np.roll(mean, -1, axis)) / 3
    found: NDArray[np.float64] = np.abs(np.fft.ifft2(spectrum * np.exp(-mean))) ** 2
    smooth = [_gaussian(n) for n in found.shape[1:]]
    return smooth[0] @ found @ smooth[1].T


def _faded(n: int) -> NDArray[np.float64]:
    """[n]: 1, but for an eighth at each end, where it comes from 0 as a cosine does."""
    few = n // 8
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(few) + 0.5) / max(few, 1))
    return np.concatenate([rise, np.ones(n - 2 * few), rise[::-1]])


def _gaussian(n: int) -> NDArray[np.float64]:
    """[n, n]: weights of the cells around each; they sum to 1 at the border too."""
    apart = np.subtract.outer(np.arange(n), np.arange(n)) / (n * _SPREAD)
    weights: NDArray[np.float64] = np.exp(-0.5 * apart**2)
    weights /= weights.sum(1, keepdims=True)
    return weights
