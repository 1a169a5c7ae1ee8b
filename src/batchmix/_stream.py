"""The generator at an address."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from batchmix._key import Key


class _Words(ISeedSequence):
    """The two words of a Philox key, known already: SeedSequence would hash them at every draw."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        return self.words


@functools.lru_cache(64)
def _words(seed: int, use: int) -> _Words:
    sequence = np.random.SeedSequence(seed, spawn_key=(use,) if use else ())
    return _Words(np.asarray(sequence.generate_state(2, np.uint64), np.uint64))


def stream(key: Key, use: int) -> np.random.RandomState:
    """The generator at `key` for one use (0 policy, 1 pairing, 2 pairing of the second layer)."""
    # A counter-based generator needs no hash of its address: each (step, epoch, rank) is a block of
    # 2^64 counts of the stream of its seed. RandomState, not Generator: only its distributions are
    # frozen between NumPy versions (NEP 19).
    seed, epoch, step, rank = key
    start = np.array([0, step, epoch, rank], np.uint64)
    words: Any = _words(seed, use)  # the stubs of NumPy know SeedSequence only
    return np.random.RandomState(np.random.Philox(words, counter=start))
