"""What counts as a number where one is asked for: True and False are none."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_whole(value: Any) -> bool:
    """An integer of Python or NumPy."""
    # tuples of types: torch.compile of PyTorch 2.4 to 2.6 traces no unions
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A real number of Python or NumPy."""
    known = (int, float, np.integer, np.floating)
    return isinstance(value, known) and not isinstance(value, bool)
