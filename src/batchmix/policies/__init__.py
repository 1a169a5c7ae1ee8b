"""Policies say how much of the partner is pasted, and where. Each is an immutable value.

A new policy is one file here: a frozen dataclass with `sample(request) -> Paste`.
"""

from batchmix.policies._paste import Paste, Policy, Request
from batchmix.policies.betweenclass import BetweenClass
from batchmix.policies.blend import Blend
from batchmix.policies.classmix import ClassMix
from batchmix.policies.columns import Columns
from batchmix.policies.combine import PerBatch, PerPair, Sometimes, Switch
from batchmix.policies.copyblend import CopyBlend
from batchmix.policies.copypaste import CopyPaste
from batchmix.policies.cutmix import CutMix
from batchmix.policies.fmix import FMix
from batchmix.policies.gridmix import GridMix
from batchmix.policies.layers import Layers
from batchmix.policies.mixup import MixUp
from batchmix.policies.mosaic import Mosaic
from batchmix.policies.remix import ReMix
from batchmix.policies.resizemix import ResizeMix
from batchmix.policies.saliencymix import SaliencyMix
from batchmix.policies.schedule import Ramp, Schedule
from batchmix.policies.smoothmix import SmoothMix
from batchmix.policies.snr import SNR
from batchmix.policies.specmix import SpecMix
from batchmix.policies.unpadded import Unpadded

__all__ = [  # noqa: RUF022  SNR is a policy like the others, and no constant
    "BetweenClass",
    "Blend",
    "ClassMix",
    "Columns",
    "CopyBlend",
    "CopyPaste",
    "CutMix",
    "FMix",
    "GridMix",
    "Layers",
    "MixUp",
    "Mosaic",
    "Paste",
    "PerBatch",
    "PerPair",
    "Policy",
    "Ramp",
    "ReMix",
    "Request",
    "ResizeMix",
    "SNR",
    "SaliencyMix",
    "Schedule",
    "SmoothMix",
    "Sometimes",
    "SpecMix",
    "Switch",
    "Unpadded",
]
