"""torch-audiomentations: mixing as one of its transforms, alone or in a `Compose`."""

from __future__ import annotations

from typing import Any

import torch
from torch_audiomentations.core.transforms_interface import BaseWaveformTransform
from torch_audiomentations.utils.object_dict import ObjectDict

import batchmix as bm
from batchmix.extend import mix_error, mixer_of
from batchmix.fields import Labels, Targets

__all__ = ["MixTransform"]


class MixTransform(BaseWaveformTransform):  # type: ignore[misc]
    """Mix waveforms and targets: ``Compose([Gain(), MixTransform(mixer)])``.

    It is called as every transform there is, ``(samples, sample_rate, targets, target_rate)``, and
    gives an object with these names. Only while training; frozen parameters keep the plan.

    Args:
      mixer: a `batchmix.Mixer`. Its fields are "samples", `Audio("NCT")`, and what targets
        [B, C, frames, classes] are: `Labels` of whole clips, one frame, with their rule ("union" is
        the one of Mix there), or a field with a layout, for frames that follow the samples:
        ``PaddingMask("NCTK")`` for the union, ``Grid("NCTK")`` for the blend. Targets without a
        field stay as they are. How often rows are mixed the policy says: `Sometimes`.

    Raises:
      MixError: no mixer or no field "samples"; at the call, no targets where there is a field for
        them, targets of several frames where the field is for whole clips, or one frame where it
        follows the samples and a part of them is pasted.

    Example:
      >>> from batchmix.fields import Audio
      >>> fields = {"samples": Audio("NCT"), "targets": Labels(rule="union")}
      >>> mix = MixTransform(bm.Mixer(bm.policies.SNR(0, 5), fields, seed=0))
      >>> heard = torch.eye(4)[:, None, None]
      >>> mix(torch.randn(4, 1, 800), 8000, heard).targets.sum((1, 2, 3))
      tensor([2., 2., 2., 2.])

    Differs from: Mix there takes its partners by `torch.randint`, a row among them its own, from a
    global generator, and its result is louder than either. Its whole rows are mixed at one ratio
    or not at all: here any policy is.
    """

    supported_modes = {"per_batch", "per_example"}  # noqa: RUF012  as its base class has it
    requires_sample_rate = False

    def __init__(self, mixer: bm.Mixer) -> None:
        super().__init__(mode="per_example", p=1.0, p_mode="per_batch", output_type="dict")
        self.mixer, _ = mixer_of("MixTransform", mixer)
        if "samples" not in self.mixer.fields or {*self.mixer.fields} - {"samples", "targets"}:
            raise mix_error(
                "MixTransform", f"its Mixer has the fields {[*self.mixer.fields]}.",
                "A transform is given samples and targets.",
                'Pass Mixer(policy, {"samples": Audio("NCT"), "targets": Labels(rule="union")}).',
            )  # fmt: skip

    def randomize_parameters(
        self, samples: Any = None, sample_rate: Any = None, targets: Any = None,
        target_rate: Any = None,
    ) -> None:  # fmt: skip
        """Draw the plan; of targets only labels are looked at."""
        field = self.mixer.fields.get("targets")
        if field is not None and targets is None:
            raise mix_error(
                "MixTransform", "there are no targets.", "Its Mixer has a field for them.",
                "Pass targets=[B, C, frames, classes], or leave the field out.",
            )  # fmt: skip
        whole = isinstance(field, Labels | Targets)
        if whole and targets.shape[2] != 1:
            raise mix_error(
                "MixTransform", f"`targets` has shape {tuple(targets.shape)}, of several frames.",
                f"{type(field).__name__} are of whole clips, [B, C, 1, classes].",
                'Frames follow the samples: PaddingMask("NCTK") for the union, Grid("NCTK") for '
                "the blend.",
            )  # fmt: skip
        labels = targets.amax((1, 2)) if isinstance(field, Labels) else None
        plan = self.mixer.draw({"samples": samples, "targets": labels})
        if field is not None and not whole and targets.shape[2] == 1:
            _check_one_frame(plan)
        self.transform_parameters["plan"] = plan

    def apply_transform(
        self, samples: Any = None, sample_rate: Any = None, targets: Any = None,
        target_rate: Any = None,
    ) -> ObjectDict:  # fmt: skip
        """The plan, executed on the samples and on what targets are."""
        plan, fields = self.transform_parameters["plan"], self.mixer.fields
        field = fields.get("targets")
        if isinstance(field, Labels):
            channels = [field(one, plan) for one in targets[:, :, 0].unbind(1)]
            targets = torch.stack(channels, 1)[:, :, None]
        elif field is not None:
            follows = "T" in plan.axes and not isinstance(field, Targets)
            targets = field(targets, plan.at({"T": targets.shape[2]}) if follows else plan)
        return ObjectDict(
            samples=fields["samples"](samples, plan), sample_rate=sample_rate, targets=targets,
            target_rate=target_rate,
        )  # fmt: skip


def _check_one_frame(plan: bm.Plan) -> None:
    """One frame cannot follow a part of the clip: it would be of one row alone."""
    if "T" in plan.axes and abs(plan.at({"T": 1}).lam - plan.lam).max(initial=0) > 1e-6:
        raise mix_error(
            "MixTransform", "`targets` has one frame, and a part of the clip is pasted.",
            "A field with a layout follows the samples, frame by frame.",
            'Of whole clips pass Labels() or Targets(); Labels(rule="union") for the union.',
        )  # fmt: skip
