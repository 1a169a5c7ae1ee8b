"""The class of each row, for what is drawn by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error


def class_ids(where: str, label: Any) -> NDArray[np.int64]:
    """int64 [B] from the hint "label": ids [B], or of numbers [B, C] the class of the largest."""
    found = np.asarray(label)
    if found.ndim == 1 and found.dtype.kind in "iub":
        return found.astype(np.int64)
    if not (found.ndim == 2 and found.shape[1] > 1 and found.dtype.kind in "iubf"):
        raise mix_error(
            where, f"the hint 'label' has shape {found.shape} and dtype {found.dtype}.",
            "It is class ids [B], integers, or probabilities [B, C].",
            "For a column of ids pass label.reshape(-1); to pair by targets there is Near.",
        )  # fmt: skip
    if np.isnan(found).any():
        raise mix_error(
            where, f"the hint 'label' of row {int(np.isnan(found).any(1).argmax())} has NaN.",
            "The class of a row is where its probabilities are largest.", "Check the labels.",
        )  # fmt: skip
    ids: NDArray[np.int64] = found.argmax(1).astype(np.int64)
    return ids
