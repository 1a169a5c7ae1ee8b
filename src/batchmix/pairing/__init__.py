"""Pairings say who is whose partner. Each is an immutable value with one method."""

from batchmix.pairing._pairing import Other, Pairing
from batchmix.pairing._pairing import _check_pairing as _check_pairing
from batchmix.pairing.classes import Balanced, OtherClass, SameClass
from batchmix.pairing.near import Near
from batchmix.pairing.orders import Derangement, Permutation, Reverse, Roll, Within

__all__ = [
    "Balanced",
    "Derangement",
    "Near",
    "Other",
    "OtherClass",
    "Pairing",
    "Permutation",
    "Reverse",
    "Roll",
    "SameClass",
    "Within",
]
