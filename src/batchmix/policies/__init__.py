"""Policies say how much of the partner is pasted, and where. Each is an immutable value.

A new policy is one file here: a frozen dataclass with `sample(request) -> Paste`.
"""

from batchmix.policies._paste import Paste, Policy, Request
from batchmix.policies.combine import PerBatch, PerPair, Sometimes, Switch
from batchmix.policies.cutmix import CutMix
from batchmix.policies.mixup import MixUp
from batchmix.policies.schedule import Schedule

__all__ = [
    "CutMix",
    "MixUp",
    "Paste",
    "PerBatch",
    "PerPair",
    "Policy",
    "Request",
    "Schedule",
    "Sometimes",
    "Switch",
]
