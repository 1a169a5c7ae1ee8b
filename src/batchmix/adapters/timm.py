"""timm: `Mixup` and `FastCollateMixup` with its arguments, and batchmix's plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm.data
import torch
from torch.utils.data import default_collate

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.extend import mix_error
from batchmix.pairing import Reverse
from batchmix.policies import Policy
from batchmix.recipes import timm_policy

__all__ = ["FastCollateMixup", "Mixup"]

_LAYOUTS = {3: "NHW", 4: "NCHW", 5: "NCTHW"}


class Mixup(timm.data.Mixup):  # type: ignore[misc]
    """timm's `Mixup`: MixUp, CutMix or either, row i with row B-1-i, labels dense and smoothed.

    For the same lam and boxes as timm's, images and labels are those of timm. The images are not
    written to.

    Args:
      mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob: as in timm.
      mode: one draw per "batch", "pair" or row ("elem").
      correct_lam: False gives labels the lam that was drawn, even where the border cut the box.
      label_smoothing: 0.1 unless you say otherwise, as in timm.
      num_classes: C.
      multi_label: labels are [B, C] in 0..1, each smoothed towards 0.5.
      off_epoch: first epoch without mixing; 0 is never. Needs `set_epoch`.
      seed: of the run.
      rank: of this process.

    Raises:
      MixError: neither MixUp nor CutMix is on, an unknown mode, or a number out of range.

    Example:
      >>> mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=10)
      >>> images, targets = mixup(torch.rand(5, 3, 8, 8), torch.arange(5))
      >>> targets.shape
      torch.Size([5, 10])

    Differs from: timm refuses odd batches (here the middle row is left alone), mixes in place, cuts
    a video along time, gives the whole label to the partner for integer images in two modes, takes
    an unknown mode for "batch", and draws from NumPy's global generator.

    Source: timm 1.0.31, https://github.com/huggingface/pytorch-image-models
    """

    _modes: tuple[str, ...] = ("batch", "pair", "elem")

    def __init__(
        self,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        cutmix_minmax: tuple[float, float] | None = None,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: str = "batch",
        correct_lam: bool = True,
        label_smoothing: float = 0.1,
        num_classes: int = 1000,
        multi_label: bool = False,
        *,
        off_epoch: int = 0,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        self._enabled = torch.ones(1).share_memory_()  # so that workers see a change
        self._count = BatchCount(
            type(self).__name__, "Call set_epoch(epoch) before each pass, or never."
        )
        self.off_epoch, self.seed, self.rank = off_epoch, seed, rank
        super().__init__(
            mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob, mode, correct_lam,
            label_smoothing, num_classes, multi_label,
        )  # fmt: skip
        if mode not in self._modes:
            raise mix_error(
                type(self).__name__, f"got mode={mode!r}.", f"It is one of {list(self._modes)}.",
                "Pass one of these.",
            )  # fmt: skip
        if self._policy() is None:
            raise mix_error(
                type(self).__name__, "neither MixUp nor CutMix is on.",
                "One of mixup_alpha, cutmix_alpha and cutmix_minmax is given.",
                "Pass one, or do not mix.",
            )  # fmt: skip

    @property
    def mixup_enabled(self) -> bool:
        """Whether to mix; a change reaches workers that run already. Labels are smoothed anyway."""
        return bool(self._enabled)

    @mixup_enabled.setter
    def mixup_enabled(self, on: bool) -> None:
        self._enabled[0] = bool(on)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, also in workers that run already; call it before each pass."""
        self._count.set_epoch(epoch)

    def __call__(self, x: torch.Tensor, target: torch.Tensor) -> tuple[Any, Any]:
        """Mixed images like `x` [B, ..., H, W], and labels float32 [B, C]."""
        plan = self._plan(len(x), x.shape)
        return bm.mix(x, plan, _LAYOUTS[x.ndim]), self._targets(target, plan)

    def _policy(self) -> Policy | None:
        mode: Any = "elem" if self.mode == "half" else self.mode
        return timm_policy(
            self.mixup_alpha, self.cutmix_alpha, self.cutmix_minmax, self.mix_prob,
            self.switch_prob, mode, self.correct_lam, off_epoch=self.off_epoch,
        )  # fmt: skip

    def _plan(self, batch: int, shape: Sequence[int]) -> bm.Plan:
        if len(shape) not in _LAYOUTS:
            raise mix_error(
                type(self).__name__, f"got images of shape {tuple(shape)}.",
                "A batch of images is [B, C, H, W], of videos [B, C, T, H, W].", "Stack images.",
            )  # fmt: skip
        key, size = self._key(), {"H": shape[-2], "W": shape[-1]}
        policy = self._policy() if self.mixup_enabled else None
        return bm.draw(policy, key, batch, size, pairing=Reverse())

    def _key(self) -> bm.Key:
        if self.off_epoch and not self._count.was_set:
            raise mix_error(
                type(self).__name__, f"got off_epoch={self.off_epoch}, and no epoch.",
                "Which epoch it is must be said.", "Call set_epoch(epoch) before each pass.",
            )  # fmt: skip
        epoch, step = self._count.next()
        return bm.Key(self.seed, epoch, step, self.rank)

    def _targets(self, target: torch.Tensor, plan: bm.Plan) -> Any:
        if not self.multi_label:
            return bm.mix_labels(target, plan, self.num_classes, smoothing=self.label_smoothing)
        if target.ndim != 2:
            raise mix_error(
                type(self).__name__, f"got labels of shape {tuple(target.shape)}.",
                "With multi_label they are [B, C].", "Leave multi_label out for class ids.",
            )  # fmt: skip
        smooth = target.float() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return bm.mix_labels(smooth, plan, self.num_classes)


class FastCollateMixup(Mixup, timm.data.FastCollateMixup):  # type: ignore[misc]
    """timm's `FastCollateMixup`: a `collate_fn` that mixes rows while it stacks them.

    Call `set_epoch` before each pass: then mixes depend on (seed, epoch, number of the batch, rank)
    alone, whatever the number of workers. If it is never called they follow the seeds that torch
    gives the workers, and differ from pass to pass. Passes must be whole, and rows come from a data
    set with indices.

    Args:
      mode: "batch", "pair", "elem", or "half": of B rows the first half is given out, each mixed
        with one of the other half.
      others: as for `Mixup`.

    Raises:
      MixError: as for `Mixup`; in new workers, a pass without a `set_epoch` of its own, where an
        earlier pass had one.

    Example:
      >>> import numpy as np
      >>> collate = FastCollateMixup(num_classes=10, mode="elem")
      >>> images, targets = collate([(np.zeros((3, 8, 8), np.uint8), k) for k in range(4)])
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([4, 10]))

    Differs from: timm writes to the arrays of the data set in two modes, makes integers of float
    images, and `mixup_enabled` does not reach persistent workers.
    """

    _modes = ("batch", "pair", "elem", "half")

    def __call__(self, batch: list[Any], _: Any = None) -> tuple[Any, Any]:
        """Images [B, ...] with the dtype of the rows, labels float32 [B, C]; half as many rows."""
        rows = [row[0] for row in batch]
        plan = self._plan(len(rows), (len(rows), *getattr(rows[0], "shape", ())))
        images = torch.as_tensor(bm.mix_stack(rows, plan, _LAYOUTS[rows[0].ndim + 1]))
        target = self._targets(default_collate([row[1] for row in batch]), plan)
        if self.mode == "half":
            given = (len(rows) + 1) // 2
            return images[:given].clone(), target[:given].clone()  # without the rows left out
        return images, target
