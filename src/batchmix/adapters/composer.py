"""Composer: mixing as an algorithm of the Trainer. Its functional forms need no Composer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from composer.core import Algorithm, Event, get_precision_context
from composer.utils import dist

import batchmix as bm
from batchmix.adapters.composer_functional import CutMixBox, cutmix_batch, mixup_batch
from batchmix.extend import mix_error
from batchmix.fields import Field, Grid
from batchmix.pairing import Derangement, Pairing, Permutation
from batchmix.policies import PerBatch, Policy

__all__ = ["BatchMix", "CutMix", "MixUp", "cutmix_batch", "mixup_batch"]

_LAYOUTS = {2: "NC", 4: "NCHW"}


class BatchMix(Algorithm):  # type: ignore[misc]
    """Mix each training batch: ``Trainer(..., algorithms=[BatchMix(policy)])``.

    The plan of a batch is that of ``Key(seed, epoch, batch in epoch, rank)``, so a run replays, and
    goes on from a checkpoint as if it had not stopped. Partners lie in the same microbatch;
    microbatch k has the rank ``rank + k * world size``. The batch itself is not written to.

    Args:
      policy: how much is pasted and where; None mixes nothing.
      fields: {key: what it is} for batches other than of images [B, C, H, W] or tables [B, C];
        a target that is named is mixed as its field says.
      pairing: who is whose partner.
      seed: of the run. Where two algorithms mix, give each another one.
      interpolate_loss: average the losses on both targets, for a loss that takes no soft ones. It
        needs one weight per batch, as `PerBatch` draws it.
      input_key, target_key: where in the batch they are, as for Composer's algorithms.

    Raises:
      MixError: in the first batch, parts of it that do not fit.

    Example:
      >>> algorithm = BatchMix(bm.policies.CutMix(), seed=7)
      >>> algorithm.plan
      Plan(0 rows)

    Differs from: Composer's own break on dict batches with `interpolate_loss`, average two mixed
    losses wrongly, and write pasted masks into the batch. Labels below 0 are refused.
    """

    def __init__(
        self,
        policy: Policy | None,
        *,
        fields: Mapping[Any, Field] | None = None,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = 0,
        interpolate_loss: bool = False,
        input_key: Any = 0,
        target_key: Any = 1,
    ) -> None:
        self.policy, self.fields, self.pairing, self.seed = policy, fields, pairing, seed
        self.interpolate_loss = interpolate_loss
        self.input_key, self.target_key = input_key, target_key
        self.microbatch, self.plan = 0, bm.Plan.identity(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.policy}, pairing={self.pairing}, seed={self.seed})"

    def match(self, event: Any, state: Any) -> bool:
        """True at the start of a batch, before its forward pass, and where its loss is computed."""
        last = Event.BEFORE_BACKWARD if self.interpolate_loss else Event.BEFORE_LOSS
        events = [Event.BEFORE_TRAIN_BATCH, Event.BEFORE_FORWARD]
        return event in (events if self.target_key in (self.fields or {}) else [*events, last])

    def apply(self, event: Any, state: Any, logger: Any) -> None:
        """Count microbatches, mix the batch, make soft targets, or average the loss."""
        if event == Event.BEFORE_TRAIN_BATCH:
            self.microbatch = 0
        elif event == Event.BEFORE_FORWARD:
            self._mix(state)
        elif event == Event.BEFORE_LOSS:
            y = state.batch_get_item(self.target_key)
            state.batch_set_item(self.target_key, _soft(y, self.plan, _tensor(state.outputs)))
        else:
            self._mix_loss(state)

    def _mix(self, state: Any) -> None:
        """Mix the inputs in a copy of the batch."""
        fields = self.fields or self._default_fields(state)
        parts = [state.batch_get_item(key) for key in fields]
        rank = dist.get_global_rank() + self.microbatch * dist.get_world_size()
        acting = dict(enumerate(fields.values()))
        mixer = bm.Mixer(self.policy, acting, pairing=self.pairing, seed=self.seed, rank=rank)
        now = state.timestamp
        self.plan = mixer.draw(parts, step=int(now.batch_in_epoch), epoch=int(now.epoch))
        self.microbatch += 1
        _check_together(state, self)
        state.batch = copy.copy(state.batch)  # the loader may give the same dict again
        for key, mixed in zip(fields, mixer.apply(parts, self.plan)):
            state.batch_set_item(key, mixed)

    def _default_fields(self, state: Any) -> Mapping[Any, Field]:
        """Images or a table; the labels are left to the loss."""
        x, y = (state.batch_get_item(key) for key in (self.input_key, self.target_key))
        layout = _LAYOUTS.get(getattr(x, "ndim", 0))
        if layout is None or getattr(y, "ndim", 0) not in (1, 2):
            shapes = [tuple(getattr(part, "shape", ())) or type(part).__name__ for part in (x, y)]
            raise mix_error(
                "BatchMix", f"input and target have the shapes {shapes[0]} and {shapes[1]}.",
                "Without `fields`, they are images [B, C, H, W] or a table [B, C], and labels [B] "
                "or [B, C].", "Say what they are: fields={0: Image('NCHW'), 1: Mask('NHW')}.",
            )  # fmt: skip
        return {self.input_key: Grid(layout)}

    def _mix_loss(self, state: Any) -> None:
        """The weighted mean of the losses on all targets that the rows hold."""
        mixing = [a for a in state.algorithms if isinstance(a, BatchMix)]
        if mixing[-1] is not self:  # the last one acts for all
            return
        model = state.model if hasattr(state.model, "loss") else state.model.module  # DDP
        y = state.batch_get_item(self.target_key)
        rows = torch.arange(len(y), device=y.device)
        batch, own = state.batch, _tensor(state.loss, axes=0)

        def loss(at: Any) -> Any:
            if at is rows:
                return own
            state.batch = copy.copy(batch)
            state.batch_set_item(self.target_key, y[at])
            return model.loss(state.outputs, state.batch)

        weighted: Callable[[Any], Any] = loss
        for algorithm in mixing:
            weighted = _weighted(weighted, algorithm.plan, rows)
        with get_precision_context(state.precision, state.precision_config):
            state.loss = weighted(rows)
        state.batch = batch


class MixUp(BatchMix):
    """Composer's `MixUp`: one lam per batch, ``max(lam, 1 - lam)`` the row's own.

    Args:
      alpha: parameter of the Beta distribution; 0 mixes nothing.
      interpolate_loss, input_key, target_key: as for `BatchMix`.
      seed: of the run.

    Example:
      >>> MixUp(alpha=0.2)
      MixUp(PerBatch(policy=MixUp(alpha=0.2, dominant=True)), pairing=Permutation(), seed=0)
    """

    def __init__(
        self, alpha: float = 0.2, interpolate_loss: bool = False, input_key: Any = 0,
        target_key: Any = 1, *, seed: int = 0,
    ) -> None:  # fmt: skip
        policy = PerBatch(bm.policies.MixUp(alpha, dominant=True)) if alpha else None
        super().__init__(
            policy, pairing=Permutation(), seed=seed, interpolate_loss=interpolate_loss,
            input_key=input_key, target_key=target_key,
        )  # fmt: skip


class CutMix(BatchMix):
    """Composer's `CutMix`: one box per batch, clipped at the border.

    Args:
      alpha: parameter of the Beta distribution; 0 mixes nothing.
      interpolate_loss, input_key, target_key: as for `BatchMix`.
      uniform_sampling: as for `cutmix_batch`.
      seed: of the run.

    Example:
      >>> CutMix(alpha=1.0).pairing
      Permutation()
    """

    def __init__(
        self, alpha: float = 1.0, interpolate_loss: bool = False, uniform_sampling: bool = False,
        input_key: Any = 0, target_key: Any = 1, *, seed: int = 0,
    ) -> None:  # fmt: skip
        policy = PerBatch(CutMixBox(alpha, None, uniform_sampling)) if alpha else None
        super().__init__(
            policy, pairing=Permutation(), seed=seed, interpolate_loss=interpolate_loss,
            input_key=input_key, target_key=target_key,
        )  # fmt: skip


def _check_together(state: Any, last: BatchMix) -> None:
    """The weights of two plans may be multiplied only if one of them blends all cells alike."""
    mixing = [a for a in state.algorithms if isinstance(a, BatchMix)]
    mixing = mixing[: mixing.index(last) + 1]
    cuts = sum(bool((abs(1 - a.plan.opacity - a.plan.lam) > 1e-6).any()) for a in mixing)
    if cuts > 1 or any(a.interpolate_loss != last.interpolate_loss for a in mixing):
        raise mix_error(
            "BatchMix", f"got {len(mixing)} algorithms, {cuts} of which paste boxes.",
            "A second box hides part of the first, and all must interpolate the loss or none.",
            "Use one: BatchMix(Switch([policies.MixUp(0.2), policies.CutMix(1.0)])).",
        )  # fmt: skip
    if last.interpolate_loss:
        _one_weight(last.plan)


def _tensor(value: Any, axes: int = 2) -> Any:
    """The value, if it is one tensor with at least that many axes."""
    if getattr(value, "ndim", -1) < axes:
        raise mix_error(
            "BatchMix", f"the model returned a {type(value).__name__}.",
            "Soft labels need outputs [B, C], averaged losses need a single tensor.",
            "Name the target instead: fields={0: Image('NCHW'), 1: Labels(10)}.",
        )  # fmt: skip
    return value


def _one_weight(plan: bm.Plan) -> float:
    """The own weight that all rows with another row as partner share."""
    own = plan.lam[plan.partner != np.arange(len(plan))]
    if (own != own[:1]).any():
        raise mix_error(
            "BatchMix", f"got interpolate_loss=True and weights {own.min():.2f}..{own.max():.2f}.",
            "The loss of a model is one number, so all rows of a batch need one weight.",
            "Draw one, PerBatch(policy), or leave interpolate_loss out.",
        )  # fmt: skip
    return float(own[0]) if own.size else 1.0


def _weighted(loss: Callable[[Any], Any], plan: bm.Plan, rows: Any) -> Callable[[Any], Any]:
    """The loss on rows that a plan has mixed, made of the `loss` on unmixed rows."""
    own, (_, partner, _) = _one_weight(plan), bm.pairs(rows, plan)
    return lambda at: own * loss(at) + (1 - own) * loss(partner[at])


def _soft(y: Any, plan: bm.Plan, outputs: Any) -> Any:
    """Ids [B] as soft labels, one class per output; floats are averaged."""
    if y.ndim == 1 and not y.is_floating_point():
        return bm.mix_labels(y, plan, outputs.shape[1])
    mixed = bm.mix_labels(y.reshape(len(y), -1), plan).reshape(y.shape)
    return mixed.to(y.dtype) if y.is_floating_point() else mixed
