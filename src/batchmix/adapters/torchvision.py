"""torchvision v2: mixing as a transform of batches, under the names of its own transforms too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.adapters._overrides import refuse_overrides
from batchmix.extend import mix_error, mixer_of
from batchmix.fields import Field, Ids, Image, Labels, Video
from batchmix.pairing import Roll
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

__all__ = ["CutMix", "MixTransform", "MixUp"]

# the methods that torchvision's `forward` goes through, and ours does not
_STEPS = ("check_inputs", "make_params", "transform")


class MixTransform(v2.Transform):  # type: ignore[misc]
    """Mix a batch of any structure: after a loader, in a collate function, in `v2.Compose`.

    Given a policy, the type of a part says what it is: `tv_tensors.Image` [B, C, H, W] and plain
    tensors with 4 axes are images, `Video` is [B, T, C, H, W], `Mask` holds ids (pasted, never
    averaged). One plan mixes all of them and the labels. Other tensors of up to two axes are kept.

    The plan of a batch is that of ``Key(seed, epoch, step, rank)``. The step is counted, also in
    the workers of a `DataLoader`: with `set_epoch` before each pass, as for a `DistributedSampler`,
    batches do not depend on the number of workers.

    Args:
      policy_or_mixer: how much is pasted and where; None mixes nothing (labels still become soft).
        Or a `Mixer`, whose fields then say what is mixed, instead of the types.
      num_classes: C; may be left out for labels [B, C].
      labels_getter: callable batch -> its labels. "default": the second of a tuple or list; if that
        is a dict, or the batch is one, its entry "labels" or its only one with "label" in the name.
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      options: beside a policy `pairing`, `seed`, `rank`, `axes`, as for `Mixer`. A seed that is
        left out is drawn from torch's global generator, now, as torchvision's draws are.

    Raises:
      MixError: at the call: boxes, keypoints, PIL images; a plain tensor of 3, 5 or more axes, or
        one of integers that is unlike the other images; no images; no labels, or labels below 0;
        in a worker, where a `Mixer` or a seed was given, a pass without a `set_epoch` of its own.

    Example:
      >>> from batchmix.policies import CutMix, MixUp, Switch
      >>> mix = MixTransform(Switch([MixUp(0.8), CutMix(1.0)]), num_classes=10, seed=0)
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
        policy_or_mixer: Policy | bm.Mixer | None,
        *,
        num_classes: int | None = None,
        labels_getter: Callable[[Any], Any] | str = "default",
        smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        replays = isinstance(policy_or_mixer, bm.Mixer) or options.get("seed") is not None
        if not replays:
            options["seed"] = int(torch.randint(2**62, (), device="cpu"))
        self.mixer, self.named = mixer_of(where, policy_or_mixer, names="types", **options)
        self.num_classes, self.smoothing = num_classes, smoothing
        self.labels_getter = labels_getter
        if not (callable(labels_getter) or labels_getter == "default") or (
            self.named and (num_classes, smoothing, labels_getter) != (None, 0.0, "default")
        ):
            raise mix_error(
                where, f"got labels_getter={labels_getter!r}, num_classes={num_classes!r}.",
                "Labels are found by a function of the batch, or 'default'; a Mixer with fields "
                "says it all.", "Pass labels_getter=lambda batch: batch['y'], or only a Mixer.",
            )  # fmt: skip
        fix = "Call its set_epoch(epoch) before each pass, or mix after the loader."
        self.count = BatchCount(where, fix, strict=replays)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_overrides(cls, _STEPS, (v2.Transform, v2.MixUp, v2.CutMix))

    def forward(self, *inputs: Any) -> Any:
        """A mixed copy of the inputs: same structure, types, dtypes and devices."""
        refuse_overrides(self, _STEPS, ())
        batch = inputs[0] if len(inputs) == 1 else inputs
        if self.named:
            epoch, step = self.count.next()
            return self.mixer(batch, step=step, epoch=epoch)
        parts, spec = tree_flatten(batch)
        fields = self._fields(parts, self._labels(batch))
        epoch, step = self.count.next()
        mixed = self.mixer.but(fields=fields)(parts, step=step, epoch=epoch)
        return tree_unflatten(mixed, spec)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin the pass `epoch`, before the loader is iterated; `step` is its first batch."""
        self.count.set_epoch(epoch, step)

    def extra_repr(self) -> str:
        """The arguments in `print(mix)`."""
        return f"{self.mixer.policy}, num_classes={self.num_classes}, seed={self.mixer.seed}"

    def _labels(self, batch: Any) -> Any:
        """The labels, where torchvision looks for them; None where several might be meant."""
        if callable(self.labels_getter):
            return self.labels_getter(batch)
        if isinstance(batch, tuple | list) and len(batch) > 1:
            batch = batch[1]
            if not isinstance(batch, Mapping):
                return batch
        names = [*batch] if isinstance(batch, Mapping) else []
        names = [name for name in names if "label" in str(name).lower()]
        exact = [name for name in names if str(name).lower() == "labels"] or names
        return batch[exact[0]] if len(exact) == 1 else None

    def _fields(self, parts: list[Any], labels: Any) -> dict[Any, Field]:
        """What is mixed: {number of the part: what it is}."""
        where, tensor = type(self).__name__, isinstance(labels, torch.Tensor)
        found = [_field(where, part) for part in parts]
        places = [k for k, part in enumerate(parts) if tensor and part is labels]
        if len(places) != 1:
            raise mix_error(
                where, "found the labels twice in the batch." if places else
                f"found no labels in the batch, but {type(labels).__name__}.",
                "It looks for one tensor: second of a tuple or list, or a dict's one entry with "
                "'label' in its name.",
                "Clone what is to be kept." if places else
                "Pass labels_getter=lambda batch: ..., or a Mixer with fields.",
            )  # fmt: skip
        grids = {k: f for k, f in enumerate(found) if f is not None and k not in places}
        if not grids:
            raise mix_error(
                where, "found no images in the batch.", "Labels are not mixed alone.",
                "Images are [B, C, H, W]; name others in a Mixer: {0: Features('NC'), 1: ...}.",
            )  # fmt: skip
        _check_integers(where, [parts[k] for k, field in grids.items() if type(field) is Image])
        return {**grids, places[0]: Labels(self.num_classes, self.smoothing)}


class MixUp(MixTransform, v2.MixUp):  # type: ignore[misc]
    """torchvision's `MixUp`: one lam for the batch, row i with row i - 1.

    Args:
      alpha: parameter of Beta(alpha, alpha), > 0.
      options: `num_classes`, `labels_getter`, and the others of `MixTransform`. In a worker without
        `set_epoch`, draws follow the seed that torch gives the workers, also where one was given.

    Example:
      >>> images, targets = MixUp(num_classes=4)(torch.rand(4, 3, 8, 8), torch.arange(4))
      >>> round(float(targets.sum()), 4)
      4.0

    Source: Zhang et al., mixup, 2018, https://arxiv.org/abs/1710.09412
    """

    def __init__(self, *, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(PerBatch(bm.policies.MixUp(alpha)), **{"pairing": Roll(1), **options})
        self.alpha, self.count.strict = float(alpha), False


class CutMix(MixTransform, v2.CutMix):  # type: ignore[misc]
    """torchvision's `CutMix`: one box for the batch, row i with row i - 1.

    Args:
      alpha: parameter of Beta(alpha, alpha), > 0.
      options: as for `MixUp`.

    Example:
      >>> images, targets = CutMix(num_classes=4)(torch.rand(4, 3, 8, 8), torch.arange(4))
      >>> tuple(targets.shape)
      (4, 4)

    Differs from: torchvision makes every side even before it is clipped; here it has floor(s)
    cells, as in `batchmix.policies.CutMix`.

    Source: Yun et al., CutMix, 2019, https://arxiv.org/abs/1905.04899
    """

    def __init__(self, *, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(PerBatch(bm.policies.CutMix(alpha)), **{"pairing": Roll(1), **options})
        self.alpha, self.count.strict = float(alpha), False


def _field(where: str, part: Any) -> Field | None:
    """The field of a part of a batch, by its type; None if it is kept."""
    refused = (tv_tensors.BoundingBoxes, getattr(tv_tensors, "KeyPoints", ()))
    if isinstance(part, refused) or type(part).__module__.startswith("PIL."):
        raise mix_error(
            where, f"got a {type(part).__name__}.",
            "It mixes batches of images, videos, masks and labels; boxes would no longer match.",
            "Make tensors with v2.ToImage() and collate them, or pass a Mixer with fields.",
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
            where, f"got a plain tensor of shape {tuple(part.shape)}.",
            "Plain tensors of 4 axes are images; the shape of others does not say what they are.",
            "Wrap it, for example in tv_tensors.Video or Mask, or pass a Mixer with fields.",
        )  # fmt: skip
    return Image("NCHW") if part.ndim == 4 else None


def _check_integers(where: str, images: list[torch.Tensor]) -> None:
    """Plain integers that are unlike the other images may be a mask: these are not averaged."""
    kinds = {(str(x.dtype).removeprefix("torch."), *x.shape[1:2]) for x in images}
    plain = (x for x in images if not isinstance(x, tv_tensors.TVTensor))
    if len(kinds) > 1 and any(not x.is_floating_point() for x in plain):
        raise mix_error(
            where, f"got plain tensors of 4 axes with (dtype, C) {sorted(kinds)}.",
            "Integers that are unlike the images may be ids, which are never averaged.",
            "Wrap each in tv_tensors.Image or Mask, or pass a Mixer with fields.",
        )  # fmt: skip
