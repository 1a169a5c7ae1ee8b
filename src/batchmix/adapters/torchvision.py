"""torchvision v2: mixing as a transform of batches, under the names of its own transforms too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.extend import mix_error
from batchmix.fields import Field, Ids, Image, Labels, Video
from batchmix.pairing import Derangement, Pairing, Roll
from batchmix.policies import PerBatch, Policy

try:
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except (ImportError, RuntimeError) as problem:  # RuntimeError: built for another PyTorch
    raise ImportError(
        f"batchmix.adapters.torchvision: torchvision cannot be imported ({problem}).\n"
        "It needs torchvision with the transforms v2, built for the PyTorch that is installed. "
        "Install both from the same index."
    ) from problem

__all__ = ["CutMix", "Mix", "MixUp"]


class Mix(v2.Transform):  # type: ignore[misc]
    """Mix a batch of any structure: after a loader, in a collate function, in `v2.Compose`.

    Without `fields` the type of a part says what it is: `tv_tensors.Image` [B, C, H, W] and every
    plain tensor with 4 axes are images, `Video` is [B, T, C, H, W], `Mask` holds ids (pasted, never
    averaged). One plan mixes all of them and the labels. Other tensors of up to two axes are kept.

    The plan of a batch is that of ``Key(seed, epoch, step, rank)``. The step is counted, also in
    the workers of a `DataLoader`: with `set_epoch` before each pass, as for a `DistributedSampler`,
    batches do not depend on the number of workers.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}, as for `batchmix.Mixer`, instead of the types.
      num_classes: C; may be left out for labels [B, C].
      labels_getter: callable batch -> its labels. "default": the second of a tuple or list, the
        entry "labels" of a dict, or its only entry with "label" in its name.
      pairing: who is whose partner.
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      seed: of the run.
      rank: of this process.
      axes: letters of the axes that boxes lie on, as for `batchmix.Mixer`.

    Raises:
      MixError: at the call: boxes, keypoints, PIL images; a plain tensor of 3, 5 or more axes; no
        labels, or labels below 0; in a worker, a pass without a `set_epoch` of its own.

    Example:
      >>> from batchmix.policies import CutMix, MixUp, Switch
      >>> mix = Mix(Switch([MixUp(0.8), CutMix(1.0)]), num_classes=10, seed=0)
      >>> images = tv_tensors.Image(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
      >>> images, targets = mix(images, torch.arange(4))
      >>> type(images).__name__, images.dtype, tuple(targets.shape)
      ('Image', torch.uint8, (4, 10))

    Differs from: torchvision's transforms mix the first plain tensor only, refuse masks and 8-bit
    MixUp, mix every row of a batch alike, draw from global generators, and take images that are
    given alone for the labels.
    """

    def __init__(
        self,
        policy: Policy | None,
        fields: Mapping[Any, Field] | None = None,
        *,
        num_classes: int | None = None,
        labels_getter: Callable[[Any], Any] | Literal["default"] = "default",
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        smoothing: float = 0.0,
        seed: int = 0,
        rank: int = 0,
        axes: str | None = None,
    ) -> None:
        super().__init__()
        self.mixer = bm.Mixer(policy, {}, pairing=pairing, seed=seed, rank=rank, axes=axes)
        self.fields, self.labels_getter = fields, labels_getter
        self.labels = Labels(num_classes, smoothing)
        self.count = BatchCount(
            "Mix",
            "Call mix.set_epoch(epoch) before each pass, or mix after the loader.",
            strict=True,
        )

    def forward(self, *inputs: Any) -> Any:
        """A mixed copy of the inputs: same structure, types, dtypes and devices."""
        batch = inputs if len(inputs) > 1 else inputs[0]
        if self.fields is not None:
            return self._mixed(batch, self.fields)
        parts, spec = tree_flatten(batch)
        labels = _labels(batch) if self.labels_getter == "default" else self.labels_getter(batch)
        if not any(part is labels for part in parts if isinstance(part, torch.Tensor)):
            raise _no_labels(labels)
        named = {k: self.labels if part is labels else _field(part) for k, part in enumerate(parts)}
        kept = {k: field for k, field in named.items() if field is not None}
        return tree_unflatten(self._mixed(parts, kept), spec)

    def set_epoch(self, epoch: int) -> None:
        """Begin the pass `epoch`; call it before the loader is iterated."""
        self.count.set_epoch(epoch)

    def extra_repr(self) -> str:
        """The arguments in `print(mix)`."""
        return f"{self.mixer.policy}, num_classes={self.labels.classes}, seed={self.mixer.seed}"

    def _mixed(self, batch: Any, fields: Mapping[Any, Field]) -> Any:
        """Mix; tv_tensors stay tv_tensors."""
        self.mixer.fields = {path: _Typed(field) for path, field in fields.items()}
        epoch, step = self.count.next()
        return self.mixer(batch, step=step, epoch=epoch)


def MixUp(*, alpha: float = 1.0, **options: Any) -> Mix:
    """torchvision's `MixUp`: one lam for the batch, row i with row i - 1.

    Args:
      alpha: parameter of Beta(alpha, alpha), > 0.
      options: `num_classes`, `labels_getter`, and the others of `Mix`.

    Returns:
      A `Mix`.

    Example:
      >>> images, targets = MixUp(num_classes=4)(torch.rand(4, 3, 8, 8), torch.arange(4))
      >>> round(float(targets.sum()), 4)
      4.0

    Source: Zhang et al., mixup, 2018, https://arxiv.org/abs/1710.09412
    """
    return Mix(PerBatch(bm.policies.MixUp(alpha)), **{"pairing": Roll(1), **options})


def CutMix(*, alpha: float = 1.0, **options: Any) -> Mix:
    """torchvision's `CutMix`: one box for the batch, row i with row i - 1.

    Args:
      alpha: parameter of Beta(alpha, alpha), > 0.
      options: as for `MixUp`.

    Returns:
      A `Mix`.

    Example:
      >>> images, targets = CutMix(num_classes=4)(torch.rand(4, 3, 8, 8), torch.arange(4))
      >>> tuple(targets.shape)
      (4, 4)

    Differs from: torchvision makes every side even before it is clipped; here it has floor(s)
    cells, as in `batchmix.policies.CutMix`.

    Source: Yun et al., CutMix, 2019, https://arxiv.org/abs/1905.04899
    """
    return Mix(PerBatch(bm.policies.CutMix(alpha)), **{"pairing": Roll(1), **options})


class _Typed:
    """A field that returns a tv_tensor for a tv_tensor."""

    def __init__(self, field: Field) -> None:
        self.field, self.layout = field, getattr(field, "layout", None)

    def __call__(self, value: Any, plan: bm.Plan, other: Any = None) -> Any:
        if not isinstance(value, tv_tensors.TVTensor):
            return self.field(value, plan, other)
        mixed = self.field(value.as_subclass(torch.Tensor), plan, other)
        return tv_tensors.wrap(mixed, like=value)


def _field(part: Any) -> Field | None:
    """The field of a part of a batch, by its type; None if it is kept."""
    refused = (tv_tensors.BoundingBoxes, getattr(tv_tensors, "KeyPoints", ()))
    if isinstance(part, refused) or type(part).__module__.startswith("PIL."):
        raise mix_error(
            "Mix", f"got a {type(part).__name__}.",
            "It mixes batches of images, videos, masks and labels; boxes would no longer match.",
            "Make tensors with v2.ToImage() and collate them, or name the fields to mix.",
        )  # fmt: skip
    if not isinstance(part, torch.Tensor):
        return None
    layouts = {3: "NHW", 4: "NCHW", 5: "NTCHW"}
    if isinstance(part, tv_tensors.Mask):
        return Ids(layouts.get(part.ndim, "NHW"))
    if isinstance(part, tv_tensors.Image | tv_tensors.Video):
        return Video("NTCHW") if isinstance(part, tv_tensors.Video) else Image("NCHW")
    if part.ndim == 3 or part.ndim > 4:
        raise mix_error(
            "Mix", f"got a plain tensor of shape {tuple(part.shape)}.",
            "Plain tensors of 4 axes are images; the shape of others does not say what they are.",
            "Wrap it, for example in tv_tensors.Video or Mask, or name it: Mix(policy, fields).",
        )  # fmt: skip
    return Image("NCHW") if part.ndim == 4 else None


def _labels(batch: Any) -> Any:
    """The labels, where torchvision looks for them; None where there is more than one candidate."""
    if isinstance(batch, Mapping):
        names = [name for name in batch if "label" in str(name).lower()]
        exact = [name for name in names if str(name).lower() == "labels"] or names
        return batch[exact[0]] if len(exact) == 1 else None
    return batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None


def _no_labels(got: Any) -> bm.MixError:
    return mix_error(
        "Mix", f"found no labels in the batch, but {type(got).__name__}.",
        "It looks for a tensor: second of a tuple or list, or a dict's one entry named 'label'.",
        "Pass labels_getter=lambda batch: ..., or name the fields: Mix(policy, fields).",
    )  # fmt: skip
