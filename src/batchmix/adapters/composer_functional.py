"""Composer's functional forms, with its names and arguments. They need PyTorch only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.pairing import Permutation, Roll
from batchmix.policies import Paste, PerBatch, Policy, Request

__all__ = ["CutMixBox", "cutmix_batch", "mixup_batch"]

_LAYOUTS = {3: "NHW", 4: "NCHW", 5: "NCTHW"}


def mixup_batch(
    input: Any,
    target: Any,
    mixing: float | None = None,
    alpha: float = 0.2,
    indices: Any = None,
    *,
    key: bm.Key | None = None,
) -> tuple[Any, Any, float]:
    r"""Composer's `mixup_batch`: one lam for the batch.

    .. math:: x'_i = (1 - mixing)\, x_i + mixing\, x_{indices_i}

    Args:
      input: [B, ...], floats or integers of 8 or 16 bits; the dtype is kept.
      target: [B, ...].
      mixing: weight of the partner, 0..1. Left out: ``min(lam, 1 - lam)`` of a lam that is
        Beta(alpha, alpha) distributed.
      alpha: parameter of the Beta distribution; 0 mixes nothing.
      indices: [B], who is whose partner. Left out: a permutation.
      key: address of the draws. Left out: the seed is drawn from torch's global generator, so
        `torch.manual_seed` decides.

    Returns:
      (mixed input, targets of the partners, mixing). As in Composer, `mixing` is the PARTNER's
      weight, but the area that `cutmix_batch` returns is the row's own.

    Raises:
      MixError: numbers out of range, or a dtype that cannot be averaged.

    Example:
      >>> x, y = torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1])
      >>> mixup_batch(x, y, mixing=0.25, indices=torch.tensor([1, 0]))
      (tensor([[1.],
              [3.]]), tensor([1, 0]), 0.25)

    Differs from: Composer draws from two global generators, and turns uint8 to float32.

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """
    policy = PerBatch(bm.policies.MixUp(alpha, dominant=True)) if alpha else None
    opacity = None if mixing is None else np.full(len(input), mixing, np.float32)
    plan = _plan(policy, key, len(input), {}, partner=indices, opacity=opacity)
    mixed = bm.mix(input, plan, "NCDEFGHIJ"[: input.ndim])
    drawn = float(plan.opacity.max(initial=0))
    return mixed, bm.pairs(target, plan)[1], drawn if mixing is None else mixing


def cutmix_batch(
    input: Any,
    target: Any,
    length: float | None = None,
    alpha: float = 1.0,
    bbox: Sequence[int] | None = None,
    indices: Any = None,
    uniform_sampling: bool = False,
    *,
    key: bm.Key | None = None,
) -> tuple[Any, Any, float, tuple[int, int, int, int]]:
    r"""Composer's `cutmix_batch`: one box for the batch, on the last two axes, H and W.

    Args:
      input: [B, C, H, W], [B, H, W] or [B, C, T, H, W].
      target: [B, ...].
      length: side of the box as a share of H and of W, 0..1, before it is clipped at the border.
      alpha: without `length` and `bbox`, the share of the box before it is clipped is 1 - lam,
        lam ~ Beta(alpha, alpha); 0 mixes nothing.
      bbox: (x1, y1, x2, y2), half-open. As in Composer, x counts along H and y along W.
      indices: [B], who is whose partner. Left out: a permutation.
      uniform_sampling: boxes may start outside of the image, so that every pixel is equally likely
        to be pasted; else the centre is uniform, and pixels in the middle are more likely.
      key: as for `mixup_batch`.

    Returns:
      (mixed input, targets of the partners, area, bbox). area is the weight of the row's OWN
      content, counted in pixels.

    Raises:
      MixError: both `length` and `bbox`, or numbers out of range.

    Example:
      >>> x, y = torch.zeros(4, 3, 8, 8), torch.arange(4)
      >>> _, y_perm, area, bbox = cutmix_batch(x, y, bbox=(0, 0, 4, 4))
      >>> area, bbox
      (0.75, (0, 0, 4, 4))

    Differs from: in Composer 0.32.1 `length=0.5` pastes boxes of up to 0.87 of a side, alpha=0
    boxes of up to the whole image, and a video is cut along time. Odd sides keep their last pixel
    here.

    Source: Yun et al., CutMix, 2019, eq. 1 and 2, https://arxiv.org/abs/1905.04899
    """
    if length is not None and bbox is not None:
        got = f"got length={length!r} and bbox={bbox!r}."
        rule = "Each of them says where to cut."
        raise mix_error("cutmix_batch()", got, rule, "Leave one out.")
    rows, layout = len(input), _LAYOUTS.get(input.ndim)
    if layout is None:
        raise mix_error(
            "cutmix_batch()", f"`input` has shape {tuple(input.shape)}.",
            "Its last two axes are H and W: [B, C, H, W], [B, H, W] or [B, C, T, H, W].",
            "Use bm.mix with a layout for others.",
        )  # fmt: skip
    box_policy = CutMixBox(alpha, length, uniform_sampling)
    policy = PerBatch(box_policy) if alpha or length is not None else None
    given = {"partner": indices}
    if bbox is not None:
        box = np.tile(np.reshape(bbox, (2, 2)).T, (rows, 1, 1))
        given |= {"box": box, "opacity": np.ones(rows, np.float32)}
    size = dict(zip("HW", input.shape[-2:]))
    plan = _plan(policy, key, rows, size, **given)
    (top, bottom), (left, right) = plan.box[0].tolist() if rows else [(0, 0)] * 2
    area = 1 - (bottom - top) * (right - left) / (size["H"] * size["W"])
    mixed = bm.mix(input, plan, layout)
    return mixed, bm.pairs(target, plan)[1], area, (top, left, bottom, right)


@dataclasses.dataclass(frozen=True)
class CutMixBox:
    """`policies.CutMix` with Composer's two options; without them it draws the same.

    Args:
      alpha: parameter of the Beta distribution; not used where there is a length.
      length: side of the box before it is clipped, as a share of each side of the grid, 0..1.
      uniform_sampling: every cell is equally likely to be pasted.

    Raises:
      MixError: a length out of range.

    Example:
      >>> policy = CutMixBox(length=0.5, uniform_sampling=True)
      >>> bm.draw(policy, bm.Key(0), 999, {"H": 8, "W": 8}).lam.min()
      np.float32(0.75)
    """

    alpha: float = 1.0
    length: float | None = None
    uniform_sampling: bool = False

    def __post_init__(self) -> None:
        if self.length is not None and not 0 <= self.length <= 1:
            raise mix_error(
                "CutMixBox", f"got length={self.length!r}.", "It is a share of a side, 0..1.",
                "Pass for example length=0.5.",
            )  # fmt: skip

    def sample(self, request: Request) -> Paste:
        """One box per row, opacity 1."""
        if self.length is None and not self.uniform_sampling:
            return bm.policies.CutMix(self.alpha).sample(request)
        rng, size = request.rng, np.array([*request.size.values()])
        batch = len(request.partner)
        share = np.full((batch, 1), self.length, float)
        if self.length is None:
            share = np.sqrt(rng.beta(self.alpha, self.alpha, (batch, 1)))
        side = (size * share).astype(np.int64)
        u = rng.random_sample(side.shape)
        # uniform over all positions that touch the grid, or over centres on it
        low = u * (size + side) - side if self.uniform_sampling else u * size - side // 2
        low = np.floor(low).astype(np.int64)
        box = np.stack([np.maximum(low, 0), np.minimum(low + side, size)], -1)
        return Paste(box, np.ones(batch), kind=np.zeros(batch, np.int8))


def _plan(
    policy: Policy | None, key: bm.Key | None, rows: int, size: dict[str, int], **given: Any
) -> bm.Plan:
    """The plan drawn at the key, with the columns in `given` put in."""
    key = key or bm.Key(int(torch.randint(2**62, ())))
    columns = {k: torch.as_tensor(v).cpu().numpy() for k, v in given.items() if v is not None}
    # a pairing that draws nothing and leaves no row alone, where partners are given
    pairing = Roll(1) if "partner" in columns else Permutation()
    return dataclasses.replace(bm.draw(policy, key, rows, size, pairing=pairing), **columns)
