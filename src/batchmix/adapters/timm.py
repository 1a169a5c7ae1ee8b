"""timm: `Mixup` and `FastCollateMixup` with its arguments, and batchmix's plans."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import timm.data
import torch
from torch.utils.data import default_collate

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.adapters._overrides import refuse_overrides
from batchmix.extend import backend_of, mix_error
from batchmix.fields import Image, Labels
from batchmix.pairing import Reverse
from batchmix.policies import CutMix
from batchmix.recipes import timm_policy

__all__ = ["FastCollateMixup", "Mixup"]

_LAYOUTS = {3: "NHW", 4: "NCHW", 5: "NCTHW"}
# the methods that timm's `__call__` goes through, and ours does not
_STEPS = {name for name in dir(timm.data.FastCollateMixup) if name[0] == "_" != name[1]}


class Mixup(timm.data.Mixup):  # type: ignore[misc]
    """timm's `Mixup`: MixUp, CutMix or either, row i with row B-1-i, labels dense and smoothed.

    For the same lam and boxes as timm's, images and labels are those of timm. As in timm, images
    are mixed in place, and attributes may change while training.

    Args:
      mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob: as in timm.
      mode: one draw per "batch", "pair" or row ("elem").
      correct_lam: False gives labels the lam that was drawn, even where the border cut the box.
      label_smoothing: 0.1 unless you say otherwise, as in timm.
      num_classes: C.
      multi_label: labels are [B, C] in 0..1, each smoothed towards 0.5.
      off_epoch: first epoch without mixing; 0 is never. Needs `set_epoch`.
      seed: of the run. Left out, it is drawn from NumPy's global generator, as timm's draws are.
      rank: of this process; left out, it is asked, as by `batchmix.Mixer`.

    Raises:
      MixError: neither MixUp nor CutMix is on, an unknown mode, or a number out of range; a
        subclass that overrides what timm's classes go through and these do not; with `off_epoch`,
        a batch before any `set_epoch`.

    Example:
      >>> mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=10)
      >>> images, targets = mixup(torch.rand(5, 3, 8, 8), torch.arange(5))
      >>> targets.shape
      torch.Size([5, 10])

    Differs from: timm refuses odd batches (here the middle row is left alone), fails on images that
    cannot be written to (here they are copied), cuts a video along time, gives the whole label to
    the partner for integer images in two modes, and takes an unknown mode for "batch".

    Source: timm 1.0.31, https://github.com/huggingface/pytorch-image-models
    """

    _half = False  # whether there is a mode "half"

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
        seed: int | None = None,
        rank: int | None = None,
    ) -> None:
        where = type(self).__name__
        self._enabled = torch.ones(1).share_memory_()  # so that workers see a change
        self._count = BatchCount(where, "Call set_epoch(epoch) before each pass, or never.")
        self.off_epoch = off_epoch
        CutMix(minmax=cutmix_minmax)  # timm asserts
        super().__init__(
            mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob, mode, correct_lam,
            label_smoothing, num_classes, multi_label,
        )  # fmt: skip
        seed = int(np.random.randint(2**62)) if seed is None else seed
        self.mixer = bm.Mixer(None, {}, pairing=Reverse(), seed=seed, rank=rank)
        self._settings: tuple[Any, ...] = ()
        if self._mixer((1,) * 4).policy is None:
            raise mix_error(
                where, "neither MixUp nor CutMix is on.",
                "One of mixup_alpha, cutmix_alpha and cutmix_minmax is given.",
                "Pass one, or do not mix.",
            )  # fmt: skip

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_overrides(cls, _STEPS, (timm.data.Mixup, timm.data.FastCollateMixup))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._enabled.share_memory_()  # that of a copy too

    @property
    def mixup_enabled(self) -> bool:
        """Whether to mix; a change reaches workers that run already. Labels are smoothed anyway."""
        return bool(self._enabled)

    @mixup_enabled.setter
    def mixup_enabled(self, on: bool) -> None:
        self._enabled[0] = bool(on)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin an epoch, also in workers that run already; `step` is the number of its next batch.

        Call it before each pass, or never.
        """
        self._count.set_epoch(epoch, step)

    def __call__(self, x: torch.Tensor, target: torch.Tensor) -> tuple[Any, Any]:
        """`x` [B, ..., H, W], mixed, and labels float32 [B, C]."""
        plan, layout, targets = self._drawn(x, target)
        out = x if backend_of(x, type(self).__name__).writable(x) else None
        return bm.mix(x, plan, layout, out=out), targets

    def _drawn(self, x: Any, target: Any) -> tuple[bm.Plan, str, Any]:
        """The plan of this batch, of whose images only the shape is looked at, and its labels."""
        mixer, target = self._mixer(x.shape), self._dense(target)
        epoch, step = self._count.next()
        plan = mixer.draw((x, target), step, epoch)
        return plan, _LAYOUTS[len(x.shape)], mixer.fields[1](target, plan)

    def _mixer(self, shape: Sequence[int]) -> bm.Mixer:
        """The mixer of what the attributes say now, for images of this shape."""
        refuse_overrides(self, _STEPS, ())
        layout = _LAYOUTS.get(len(shape))
        if layout is None:
            raise mix_error(
                type(self).__name__, f"got images of shape {tuple(shape)}.",
                "A batch of images is [B, C, H, W], of videos [B, C, T, H, W].", "Stack images.",
            )  # fmt: skip
        mode: Any = "elem" if self._half and self.mode == "half" else self.mode
        smoothing = 0.0 if self.multi_label else self.label_smoothing
        settings: Any = (
            self.mixup_alpha, self.cutmix_alpha, self.cutmix_minmax, self.mix_prob,
            self.switch_prob, mode, self.correct_lam,
        ), self.off_epoch, self.mixup_enabled, layout, self.num_classes, smoothing  # fmt: skip
        if settings != self._settings:  # only then: a policy takes as long as a small batch
            policy = timm_policy(*settings[0], off_epoch=self.off_epoch)
            fields = {0: Image(layout), 1: Labels(self.num_classes, smoothing)}
            policy = policy if self.mixup_enabled else None
            self.mixer, self._settings = self.mixer.but(policy=policy, fields=fields), settings
        return self.mixer

    def _dense(self, target: torch.Tensor) -> Any:
        """Labels of `multi_label`, smoothed one by one; others as they are."""
        if not self.multi_label:
            return target
        if target.ndim != 2:
            raise mix_error(
                type(self).__name__, f"got labels of shape {tuple(target.shape)}.",
                "With multi_label they are [B, C].", "Leave multi_label out for class ids.",
            )  # fmt: skip
        return target.float() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing


class FastCollateMixup(Mixup, timm.data.FastCollateMixup):  # type: ignore[misc]
    """timm's `FastCollateMixup`: a `collate_fn` that mixes rows while it stacks them.

    Call `set_epoch` before each pass: then mixes depend on (seed, epoch, number of the batch, rank)
    alone, whatever the number of workers. If it is never called they follow the seeds that torch
    gives the workers too, and differ from pass to pass. Passes must be whole, and rows come from a
    data set with indices; its arrays are not written to.

    Args:
      mode: "batch", "pair", "elem", or "half": of B rows the first half is given out, each mixed
        with one of the other half.
      mixup_alpha, cutmix_alpha, cutmix_minmax, prob, switch_prob: as for `Mixup`.
      correct_lam, label_smoothing, num_classes, multi_label, off_epoch, seed, rank: as for `Mixup`.

    Raises:
      MixError: as for `Mixup`; in new workers, a pass without a `set_epoch` of its own, where an
        earlier pass had one.

    Example:
      >>> collate = FastCollateMixup(num_classes=10, mode="elem")
      >>> images, targets = collate([(np.zeros((3, 8, 8), np.uint8), k) for k in range(4)])
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([4, 10]))

    Differs from: timm writes to the arrays of the data set in two modes, makes integers of float
    images, and `mixup_enabled` does not reach persistent workers.
    """

    _half = True

    def __call__(self, batch: list[Any], _: Any = None) -> tuple[Any, Any]:
        """Images [B, ...] with the dtype of the rows, labels float32 [B, C]; half as many rows."""
        rows = [row[0] for row in batch]
        shape = (len(rows), *getattr(next(iter(rows), None), "shape", ()))
        target = default_collate([row[1] for row in batch]) if batch else None
        plan, layout, target = self._drawn(SimpleNamespace(shape=shape), target)
        images = torch.as_tensor(bm.mix_stack(rows, plan, layout))
        if self.mode == "half":
            given = (len(rows) + 1) // 2
            return images[:given].clone(), target[:given].clone()  # without the rows left out
        return images, target
