"""What a pairing is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error


class Other(NamedTuple):
    """Another batch that partners are taken from: the number of its rows, and its hints."""

    rows: int
    hints: Mapping[str, Any]


class Pairing(Protocol):
    """Anything with this method is a pairing.

    One that looks at the batch names what it `reads`, such as ("label",). One that can take
    partners from another batch has a fourth argument, ``other: Other | None = None``; the partners
    are then rows of that batch.
    """

    def pair(
        self, rng: np.random.RandomState, batch: int, hints: Mapping[str, Any]
    ) -> NDArray[Any]:
        """Integers [batch]: the partner of each row. `hints` are host arrays [batch, ...]."""
        ...


def _check_pairing(where: str, pairing: Any) -> None:
    """A pairing is a value with `pair`, not the class of one."""
    if isinstance(pairing, type) or not callable(getattr(pairing, "pair", None)):
        raise mix_error(
            where,
            f"got the pairing {pairing!r}.",
            "A pairing is a value with a method `pair`.",
            "Pass for example Reverse(), with its parentheses.",
        )
