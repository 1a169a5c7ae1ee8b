"""Which classes are taken for which: a picture and a table of the confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchmix.cli._output import shown

_NUMBERED = 20  # classes up to which the cells have numbers
_NAMED = 60


def matrix_of(
    y: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """[classes, classes]: rows of class i for which j was predicted."""
    return np.bincount(y * classes + predicted, minlength=classes**2).reshape(classes, classes)


def picture(matrix: NDArray[np.int64], names: Sequence[str], title: str) -> bytes:
    """A PNG; colours are shares of the rows of a class."""
    from matplotlib.figure import Figure

    count = len(names)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(14.0, 2.2 + 0.42 * count)
    canvas = Figure(figsize=(side + 0.8, side), layout="constrained")
    canvas.suptitle(title, fontsize=10)
    axes = canvas.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="target")
    if count <= _NAMED:
        labels = [_short(name).replace("$", r"\$") for name in names]  # no formula
        axes.set_xticks(range(count), labels, rotation=90, fontsize=7)
        axes.set_yticks(range(count), labels, fontsize=7)
    if count <= _NUMBERED:
        for (i, j), share in np.ndenumerate(shares):
            if matrix[i, j]:
                colour = "white" if share > 0.5 else "#333333"
                axes.text(
                    j, i, str(matrix[i, j]), ha="center", va="center", fontsize=7, color=colour
                )
    canvas.colorbar(image, ax=axes, shrink=0.7, label="share of the rows of a class")
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=130)
    return content.getvalue()


def worst(matrix: NDArray[np.int64], names: Sequence[str], most: int = 10) -> list[str]:
    """Lines of the most frequent confusions, within 80 columns."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(at), len(names)) for at in order if wrong.flat[at]]
    rows = matrix.sum(1)
    return [
        f"{_short(names[i], 24):<24}  taken for {_short(names[j], 24):<24} "
        f"{matrix[i, j]:>6} of {rows[i]}"
        for i, j in pairs
    ]


def _short(name: str, most: int = 16) -> str:
    """A name that takes little room."""
    name = shown(name)
    return name if len(name) <= most else name[: most - 1] + "…"
