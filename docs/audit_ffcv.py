"""What FFCV's mixup computes, written down again in NumPy, so that it can be audited.

FFCV compiles its operations with numba, and needs OpenCV and libturbojpeg as C libraries: it does
not install from its package alone. These lines are ours, and do what `ImageMixup`, `LabelMixup` and
`MixupToOneHot` do in ffcv/transforms/mixup.py of github.com/libffcv/ffcv at commit
89dc2fabd59f85aab5826b294bc0d34eb236cea4 (Apache-2.0), one step at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COMMIT = "89dc2fab"


class FfcvMixup:
    """ImageMixup and LabelMixup with the same arguments, then MixupToOneHot."""

    def __init__(self, alpha: float, same_lambda: bool, classes: int) -> None:
        self.alpha, self.same_lambda, self.classes = alpha, same_lambda, classes
        self.first = 0

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """A batch of a data set that is read in order: the last index seeds NumPy's generator."""
        rows = len(images)
        self.first += rows
        seed = self.first - 1
        lam = self._weights(seed, rows)
        mixed = np.empty_like(images)  # of the images' dtype: assignment cuts fractions off
        for row in range(rows):
            mixed[row] = lam[row] * images[row] + (1 - lam[row]) * images[row - 1]
        lam = self._weights(seed, rows)
        hot = np.zeros((rows, self.classes), np.float32)
        hot[np.arange(rows), labels] = lam
        hot[np.arange(rows), np.roll(labels, 1)] = 1 - lam  # written over, where both are one class
        return mixed, hot

    def _weights(self, seed: int, rows: int) -> Any:
        """One weight per row, or the same for all, from the generator that all code shares."""
        np.random.seed(seed)
        if self.same_lambda:
            return np.full(rows, np.random.beta(self.alpha, self.alpha), np.float32)
        return np.random.beta(self.alpha, self.alpha, rows).astype(np.float32)
