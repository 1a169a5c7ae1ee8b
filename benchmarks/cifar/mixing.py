"""What an arm does to a batch: batchmix, or the library that it is held against."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

import batchmix as bm
from batchmix.fields import Field, Image, Labels
from batchmix.policies import CutMix, MixUp, Policy, Switch

Tensor = Any
OURS = "batchmix"


class Arm(NamedTuple):
    """What is mixed, and how much of the label is spread over all classes."""

    policy: Policy | None
    smoothing: float = 0.0


def _either() -> Policy:
    return Switch([MixUp(1.0), CutMix(1.0)])


# written as `batchmix compare` writes them, which a test checks
ARMS: Mapping[str, Arm] = {
    "none": Arm(None),
    "mixup:1": Arm(MixUp(1.0)),
    "mixup:8": Arm(MixUp(8.0)),
    "cutmix:1": Arm(CutMix(1.0)),
    "switch:1,1": Arm(_either()),
    "smooth:0.2": Arm(None, 0.2),
    "mixup:1,smooth=0.2": Arm(MixUp(1.0), 0.2),
    "cutmix:1,smooth=0.2": Arm(CutMix(1.0), 0.2),
    "switch:1,1,smooth=0.2": Arm(_either(), 0.2),
}
# one lam a batch: the alphas of timm's two arguments
_ALPHAS = {"mixup:1": (1.0, 0.0), "cutmix:1": (0.0, 1.0), "switch:1,1": (1.0, 1.0)}
# who is held against whom, and with what
RIVALS = {"batchmix.adapters.timm": "timm", "batchmix.adapters.torchvision": "torchvision"}
RIVAL_ARMS = {"timm": ["mixup:1", "cutmix:1", "switch:1,1"], "torchvision": ["mixup:1", "cutmix:1"]}


class Mix(NamedTuple):
    """Called with each batch (x, y) and its step; `begin` is called with the epoch before it."""

    begin: Callable[[int], None]
    call: Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]  # x, y, epoch, step


@cache
def absent(library: str) -> str | None:
    """Why a library cannot be run here, or None."""
    if library == OURS:
        return None
    try:
        importlib.import_module(library)
    except ImportError as problem:
        named = problem.name or library
        missing = isinstance(problem, ModuleNotFoundError)
        return f"{named} is not installed" if missing else f"{library} cannot be imported"
    return None


def mix_of(arm: str, library: str, classes: int, seed: int) -> Mix:
    """The mixing of a run. Its draws are a function of (seed, epoch, step)."""
    if library == OURS:
        return _ours(ARMS[arm], classes, seed)
    make = _timm if library.endswith("timm") else _torchvision
    return make(arm, library, classes, seed)


def _ours(arm: Arm, classes: int, seed: int) -> Mix:
    fields: dict[int, Field] = {0: Image("NCHW"), 1: Labels(classes, smoothing=arm.smoothing)}
    # the batch is a part of an epoch that was made for it
    mixer = bm.Mixer(arm.policy, fields, seed=seed, inplace=True)

    def call(x: Tensor, y: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        mixed: tuple[Tensor, Tensor] = mixer((x, y), step=step, epoch=epoch)
        return mixed

    return Mix(lambda epoch: None, call)


def _timm(arm: str, library: str, classes: int, seed: int) -> Mix:
    """timm's class, or ours under its name: one draw a batch, row i with row B-1-i."""
    ours = library.startswith(OURS)
    module = importlib.import_module(library if ours else "timm.data")
    mixup, cutmix = _ALPHAS[arm]
    own = {"seed": seed} if ours else {}
    fn = module.Mixup(
        mixup, cutmix, mode="batch", label_smoothing=0.0, num_classes=classes, **own
    )  # fmt: skip
    begin = fn.set_epoch if ours else lambda epoch: np.random.seed(_address(seed, epoch))
    return Mix(begin, lambda x, y, epoch, step: fn(x, y))


def _torchvision(arm: str, library: str, classes: int, seed: int) -> Mix:
    """torchvision's class, or ours under its name: one draw a batch, row i with row i-1."""
    ours = library.startswith(OURS)
    module = importlib.import_module(library if ours else "torchvision.transforms.v2")
    own = {"seed": seed} if ours else {}
    make = module.MixUp if arm == "mixup:1" else module.CutMix
    fn = make(alpha=1.0, num_classes=classes, **own)
    begin = fn.set_epoch if ours else lambda epoch: torch.manual_seed(_address(seed, epoch))
    return Mix(begin, lambda x, y, epoch, step: fn(x, y))


def _address(seed: int, epoch: int) -> int:
    """A seed for global generators: a run that goes on draws what it would have drawn."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
