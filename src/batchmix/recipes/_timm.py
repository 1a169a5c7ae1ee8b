"""timm's arguments as a policy, for the adapter and the command line too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchmix._errors import mix_error
from batchmix.policies import (
    CutMix,
    MixUp,
    Paste,
    PerBatch,
    PerPair,
    Policy,
    Rows,
    Schedule,
    Sometimes,
    Switch,
)  # fmt: skip
from batchmix.policies.cutmix import drawn_box


def timm_policy(
    mixup_alpha: float = 1.0,
    cutmix_alpha: float = 0.0,
    cutmix_minmax: tuple[float, float] | None = None,
    prob: float = 1.0,
    switch_prob: float = 0.5,
    mode: Literal["batch", "pair", "elem"] = "batch",
    correct_lam: bool = True,
    *,
    off_epoch: int = 0,
) -> Policy | None:
    """The policy that timm's arguments mean; draw it with ``pairing=Reverse()``.

    Args:
      mixup_alpha: of MixUp; on if > 0.
      cutmix_alpha: of CutMix; on if > 0.
      cutmix_minmax: (low, high) shares of the sides of CutMix's box, instead of its alpha.
      prob: probability of mixing, of the batch, pair or row.
      switch_prob: probability of CutMix where both are on.
      mode: one draw per "batch", "pair" or row ("elem").
      correct_lam: False gives labels the lam that was drawn, even where the border cut the box.
      off_epoch: first epoch without mixing; 0 is never.

    Returns:
      A policy, or None where neither is on.

    Raises:
      MixError: an unknown mode, or a number out of range.

    Example:
      >>> timm_policy(0.8, 1.0)
      PerBatch(policy=Switch(policies=(MixUp(alpha=0.8, ...), CutMix(alpha=1.0, ...)), ...))

    Differs from: timm takes any unknown mode for "batch"; its `cutmix_minmax` excludes the upper
    bound, and fails where both are equal.

    Source: Mixup of timm 1.0.31, https://github.com/huggingface/pytorch-image-models
    """
    if not 0 <= switch_prob <= 1:
        raise mix_error(
            "timm_policy()", f"got switch_prob={switch_prob!r}.",
            "It is the probability of CutMix, 0..1.", "Pass for example 0.5.",
        )  # fmt: skip
    if mode not in ("batch", "pair", "elem"):
        raise mix_error(
            "timm_policy()", f"got mode={mode!r}.", "One draw is for a batch, a pair or a row.",
            "Pass 'batch', 'pair' or 'elem'.",
        )  # fmt: skip
    blend = MixUp(mixup_alpha) if mixup_alpha else None
    cut = cutmix_alpha or cutmix_minmax
    paste: Policy | None = CutMix(cutmix_alpha or 1.0, minmax=cutmix_minmax) if cut else None
    if paste and not (correct_lam or cutmix_minmax):
        paste = _Uncorrected(cutmix_alpha)
    policy: Policy | None = blend or paste
    if blend and paste:
        policy = Switch([blend, paste], [1 - switch_prob, switch_prob])
    if policy is None:
        return None
    if prob != 1:
        policy = Sometimes(policy, prob)
    if mode != "elem":
        policy = PerBatch(policy) if mode == "batch" else PerPair(policy)
    return Schedule({0: policy, off_epoch: None}) if off_epoch else policy


@dataclass(frozen=True)
class _Uncorrected:
    """CutMix whose label has the lam that was drawn, even where the border cut the box."""

    alpha: float

    def sample(self, rows: Rows) -> Paste:
        batch = len(rows.partner)
        lam, box = drawn_box(rows.rng, self.alpha, "clipped", batch, rows.size)
        return Paste(box, np.ones(batch), kind=np.zeros(batch, np.int8), label_lam=lam)
