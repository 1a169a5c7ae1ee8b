"""Mixing as detectors are trained: which policy, from which epoch to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchmix._errors import mix_error
from batchmix._numbers import is_number, is_whole
from batchmix.policies import (
    Blend,
    CopyBlend,
    Layers,
    MixUp,
    Mosaic,
    Paste,
    Policy,
    Request,
    Schedule,
    Sometimes,
    Switch,
)
from batchmix.policies._regions import pasted
from batchmix.policies.copypaste import instances


def deim_policy(
    epochs: int, *, mixup: float = 0.5, copyblend: float = 0.5, start: int = 4
) -> Schedule:
    r"""What DEIM, DEIMv2 and RT-DETRv4 mix in a batch; draw it with ``pairing=Roll(1)``.

    From epoch `start` to ``start + epochs // 2`` a row is blended with probability `mixup`, else
    gets objects of other rows with probability `copyblend`; from there to `epochs` only the latter.

    Args:
      epochs: first epoch without mixing, DEIM's `stop_epoch`, > start; 120 of its 132 for COCO.
      mixup: probability of `Blend(0.45, 0.55)`.
      copyblend: of `CopyBlend(3, 100, expand=(0.1, 0.25))`, where a row is not blended. 0 is DEIM,
        0.4 and 0.5 are those of DEIMv2.
      start: first epoch that is mixed.

    Returns:
      A policy that reads "boxes", unless `copyblend` is 0.

    Raises:
      MixError: no epoch to mix in, or a probability out of range.

    Example:
      >>> [epoch for epoch, _ in deim_policy(120).stages]
      [4, 64, 120]

    Differs from: DEIM throws its coin, and draws the share, once for all rows of a batch; here each
    row has its own. For what `CopyBlend` does otherwise, see there. Its Mosaic is drawn in the data
    set, and it rescales the batch after mixing: both stay yours.

    Source: BatchImageCollateFunction of engine/data/dataloader.py, and configs/deimv2, of
    https://github.com/Intellindust-AI-Lab/DEIMv2
    """
    where = "deim_policy()"
    _check_shares(where, mixup=mixup, copyblend=copyblend)
    if not (is_whole(epochs) and is_whole(start) and 0 <= start < epochs):
        raise mix_error(
            where, f"got epochs={epochs!r} and start={start!r}.",
            "Both count epochs, 0 <= start < epochs; `epochs` is the first without mixing.",
            "Pass for example epochs=50.",
        )  # fmt: skip
    if not (mixup or copyblend):
        raise mix_error(
            where, "mixup and copyblend are both 0.", "One of them is to mix.",
            "For no mixing use policy=None.",
        )  # fmt: skip
    copy = CopyBlend(expand=(0.1, 0.25))
    alone = Sometimes(copy, copyblend) if copyblend else None
    half = min(start + epochs // 2, epochs)
    weights: dict[Policy, float] = {Blend(): mixup, copy: (1 - mixup) * copyblend}
    on = {policy: weight for policy, weight in weights.items() if weight}
    first = Sometimes(Switch([*on], [*on.values()]), sum(on.values()))
    stages: dict[int, Policy | None] = {start: first, half: alone}
    return Schedule(stages | {epochs: None})


def yolo_policy(
    epochs: int, close: int = 10, *, mosaic: float = 1.0, mixup: float = 0.0
) -> Schedule:
    """Ultralytics' mosaic and mixup, off for the last epochs.

    Args:
      epochs: of the training.
      close: how many of them, at the end, are not mixed.
      mosaic: probability that a row is tiled with three others, 0..1.
      mixup: probability that what came of it is blended with one more row, lam ~ Beta(32, 32).

    Returns:
      A policy with 3 partners, and one more with `mixup`.

    Raises:
      MixError: not 0 <= close < epochs, a probability out of range, or both 0.

    Example:
      >>> yolo_policy(100).stages
      ((0, Sometimes(policy=Mosaic(...), prob=1.0)), (90, None))

    Differs from: what is blended over a mosaic is a plain row here, another mosaic there. Their
    mosaic is twice as wide, of pieces at full size, and a random crop of it is trained on; here
    four are squeezed into the size of a row. Partners come from the batch, not from the data set.

    Source: default.yaml and data/augment.py of Ultralytics 8.4,
    https://github.com/ultralytics/ultralytics
    """
    where = "yolo_policy()"
    _check_shares(where, mosaic=mosaic, mixup=mixup)
    if not (is_whole(epochs) and is_whole(close) and 0 <= close < epochs):
        raise mix_error(
            where, f"got epochs={epochs!r} and close={close!r}.",
            "Both count epochs, 0 <= close < epochs.", "Pass for example epochs=100, close=10.",
        )  # fmt: skip
    chosen: dict[Policy, float] = {Mosaic(): mosaic, MixUp(32.0): mixup}
    parts: list[Policy] = [Sometimes(policy, share) for policy, share in chosen.items() if share]
    if not parts:
        raise mix_error(
            where, "mosaic and mixup are both 0.", "One of them is to mix.",
            "For no mixing use policy=None.",
        )  # fmt: skip
    return Schedule.off_after(parts[0] if len(parts) == 1 else Layers(parts), epochs - close)


def copy_paste_policy() -> Policy:
    """The copy-paste of torchvision's detection references; draw it with ``pairing=Roll(1)``.

    Of a partner with n instances n are drawn with repeats, and pasted where they are.

    Returns:
      A policy that reads "instances", as `CopyPaste` does.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> ids = np.array([[1, 1, 0, 2], [0, 3, 0, 0]])
      >>> plan = bm.draw(copy_paste_policy(), bm.Key(0), 2, {"T": 4}, pairing=bm.pairing.Roll(1),
      ...                hints={"instances": ids})
      >>> plan.mask[0].tolist()
      [0, 255, 0, 0]

    Differs from: the outline of what is pasted stays as it is; theirs is smoothed by a blur unless
    ``blending=False``. Where instances overlap, a cell belongs to the last; theirs pastes it with
    each. Scaling the rows first, as their `lsj` preset does, stays yours.

    Source: references/detection/transforms.py of https://github.com/pytorch/vision
    """
    return _Repeated()


@dataclass(frozen=True)
class _Repeated:
    """As many draws of the partner's instances as it has, with repeats."""

    reads: ClassVar[tuple[str, ...]] = ("instances",)

    def sample(self, request: Request) -> Paste:
        """Each of n instances is there with probability 1 - (1 - 1/n)^n."""
        found, there = instances(request, 1)
        count = there.sum(1, keepdims=True)
        drawn = (request.rng.random_sample(there.shape) * count).astype(np.intp)
        draws = np.arange(there.shape[1]) < count
        hit = np.zeros(there.shape, bool)
        hit[draws.nonzero()[0], drawn[draws]] = True
        rank = np.maximum(there.cumsum(1) - 1, 0)
        return pasted(found, there & np.take_along_axis(hit, rank, 1), request)


def _check_shares(where: str, **shares: float) -> None:
    """Probabilities are numbers in 0..1."""
    for name, share in shares.items():
        if not (is_number(share) and 0 <= share <= 1):
            raise mix_error(
                where, f"got {name}={share!r}.", "It is a probability, 0..1.",
                "Pass for example 0.5.",
            )  # fmt: skip
