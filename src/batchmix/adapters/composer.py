"""Composer: mixing as an algorithm of the Trainer. Its functional forms need no Composer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from composer.algorithms import LabelSmoothing
from composer.algorithms.label_smoothing import smooth_labels
from composer.core import Algorithm, Event, get_precision_context
from composer.utils import dist

import batchmix as bm
from batchmix.adapters import _interpolated as shared
from batchmix.adapters.composer_functional import CutMixBox, cutmix_batch, mixup_batch
from batchmix.extend import Untold, mix_error, mixer_of
from batchmix.pairing import Permutation
from batchmix.policies import PerBatch, Policy

__all__ = ["CutMix", "MixAlgorithm", "MixUp", "cutmix_batch", "mixup_batch"]


class MixAlgorithm(Algorithm):  # type: ignore[misc]
    """Mix each training batch: ``Trainer(..., algorithms=[MixAlgorithm(policy)])``.

    The plan of a batch is that of ``Key(seed, epoch, batch in epoch, rank)``, so a run replays, and
    goes on from a checkpoint as if it had not stopped. Partners lie in the same microbatch;
    microbatch k has the rank ``rank + k * world size``. The batch itself is not written to.

    Args:
      given: a policy, which mixes an input that is images [B, C, H, W] or a table [B, C], and
        labels [B] or [B, C]; None mixes nothing. Or a Mixer whose fields say where in the batch
        there is what; unless `target_key` is among these places, what is there is labels.
      interpolate_loss: average the losses on both targets, for a loss that takes no soft ones. It
        needs one weight per batch, as `PerBatch` draws it.
      input_key, target_key: where in the batch they are, as for Composer's algorithms.
      log: give the Trainer's loggers what was done to each batch, `Mixer.summary`; of several
        microbatches, to the first.
      options: of the Mixer, where a policy is given: `pairing`, `seed`, `rank`, `axes`. Where two
        algorithms mix, those whose seed was left out have one each; ``seed=None`` is the Trainer's.

    Raises:
      MixError: no policy; in the first batch, parts of it that do not fit.

    Example:
      >>> algorithm = MixAlgorithm(bm.policies.CutMix(), seed=7)
      >>> algorithm.plan
      Plan(0 rows)

    Differs from: Composer's own break on dict batches with `interpolate_loss`, average two mixed
    losses wrongly, do not smooth the partner's label where `LabelSmoothing` acts too, and write
    pasted masks into the batch. Labels below 0 are refused.
    """

    def __init__(
        self,
        given: Policy | bm.Mixer | None,
        *,
        interpolate_loss: bool = False,
        input_key: Any = 0,
        target_key: Any = 1,
        log: bool = False,
        **options: Any,
    ) -> None:
        self.mixer, self.named = mixer_of(
            "MixAlgorithm", given, names="input_key and target_key", **options
        )
        self.interpolate_loss, self.log = interpolate_loss, log
        # what becomes of a target that no field names
        named = target_key in self.mixer.fields
        self.to_loss = "" if named else "averaged" if interpolate_loss else "soft"
        self.input_key, self.target_key = input_key, target_key
        self.batch, self.microbatch, self.plan = -1, 0, bm.Plan.identity(0)

    def __repr__(self) -> str:
        mixer = self.mixer
        return f"{type(self).__name__}({mixer.policy}, pairing={mixer.pairing}, seed={mixer.seed})"

    def match(self, event: Any, state: Any) -> bool:
        """True at the start of a batch, before its forward pass, and where its loss is computed."""
        last = {"soft": Event.BEFORE_LOSS, "averaged": Event.BEFORE_BACKWARD}.get(self.to_loss)
        return event in (Event.BEFORE_TRAIN_BATCH, Event.BEFORE_FORWARD, last)

    def apply(self, event: Any, state: Any, logger: Any) -> None:
        """Count microbatches, mix the batch, make soft targets, or average the loss."""
        if event == Event.BEFORE_TRAIN_BATCH:
            self.microbatch = 0
        elif event == Event.BEFORE_FORWARD:
            self._mix(state, logger)
        elif event == Event.BEFORE_LOSS:
            y, classes = _part(state, self.target_key), _tensor(state.outputs).shape[1]
            state.batch_set_item(self.target_key, shared.averaged(y, self.plan, classes=classes))
        else:
            self._mix_loss(state)

    def _mix(self, state: Any, logger: Any) -> None:
        """Mix the inputs in a copy of the batch."""
        now, batch, fields = state.timestamp, state.batch, self.mixer.fields
        if self.batch != int(now.batch):  # where nobody hands BEFORE_TRAIN_BATCH on
            self.batch, self.microbatch = int(now.batch), 0
        target = [_part(state, self.target_key)] if self.to_loss else []
        if not self.named:
            batch = (_part(state, self.input_key),)  # the key may be a pair of functions
            fields = dict(enumerate(shared.grids("MixAlgorithm", batch, target)))
        mixer = self._addressed(state, fields)
        self.plan = mixer.draw(batch, step=int(now.batch_in_epoch), epoch=int(now.epoch))
        self.microbatch += 1
        shared.join("MixAlgorithm", state, self.batch, self)
        if self.to_loss == "averaged":
            _one_weight(self.plan)
        mixed = mixer.apply(batch, self.plan)
        if self.log and self.microbatch == 1:
            logger.log_metrics(mixer.summary())
        state.batch = mixed if self.named else copy.copy(state.batch)  # it may come again
        if not self.named:
            state.batch_set_item(self.input_key, mixed[0])

    def _addressed(self, state: Any, fields: Any) -> bm.Mixer:
        """The mixer for this microbatch; seed and rank are the Trainer's where it has none."""
        seed, rank = self.mixer.seed, self.mixer.rank
        if seed is None or isinstance(seed, Untold):
            seed = state.rank_zero_seed if seed is None else seed
            seed = shared.own_seed(state, self.batch, self, seed)
        rank = dist.get_global_rank() if rank is None else rank
        rank += self.microbatch * dist.get_world_size()
        return self.mixer.but(fields=fields, seed=seed, rank=rank)

    def _mix_loss(self, state: Any) -> None:
        """The weighted mean of the losses on all targets that the rows hold."""
        plans = shared.plans_of(state, self)
        if not plans:
            return
        model = state.model if hasattr(state.model, "loss") else state.model.module  # DDP
        batch, own = state.batch, _tensor(state.loss, axes=0)
        y = _part(state, self.target_key)
        smoothing = [a for a in state.algorithms if isinstance(a, LabelSmoothing)]
        (_, (weight, *_)), *others = shared.held(
            plans, len(y), [_one_weight(plan) for plan in plans]
        )
        loss = float(weight) * own
        with get_precision_context(state.precision, state.precision_config):
            for at, (weight, *_) in others:
                theirs = y[torch.from_numpy(at).to(y.device)]
                for one in smoothing:  # as it did the own labels, which it has restored by now
                    if one.target_key == self.target_key:
                        theirs = smooth_labels(state.outputs, theirs, one.smoothing)
                state.batch = copy.copy(batch)
                state.batch_set_item(self.target_key, theirs)
                loss = loss + float(weight) * model.loss(state.outputs, state.batch)
        state.loss, state.batch = loss, batch


class MixUp(MixAlgorithm):
    """Composer's `MixUp`: one lam per batch, ``max(lam, 1 - lam)`` the row's own.

    After a batch it has Composer's `mixing`, the partner's weight, `indices` and `permuted_target`.

    Args:
      alpha: parameter of the Beta distribution; 0 mixes nothing.
      interpolate_loss, input_key, target_key, log: as for `MixAlgorithm`.
      seed: of the run; left out, that of the Trainer.

    Example:
      >>> MixUp(alpha=0.2)
      MixUp(PerBatch(policy=MixUp(alpha=0.2, dominant=True)), pairing=Permutation(), seed=None)
    """

    def __init__(
        self, alpha: float = 0.2, interpolate_loss: bool = False, input_key: Any = 0,
        target_key: Any = 1, *, seed: int | None = None, log: bool = False,
    ) -> None:  # fmt: skip
        policy = PerBatch(bm.policies.MixUp(alpha, dominant=True)) if alpha else None
        super().__init__(
            policy, interpolate_loss=interpolate_loss, input_key=input_key, target_key=target_key,
            pairing=Permutation(), seed=seed, log=log,
        )  # fmt: skip
        self.mixing = 0.0
        self.indices, self.permuted_target = torch.Tensor(), torch.Tensor()

    def _mix(self, state: Any, logger: Any) -> None:
        super()._mix(state, logger)
        y = state.batch_get_item(self.target_key)
        self.mixing = float(self.plan.opacity.max(initial=0))
        self.indices, self.permuted_target = (
            bm.pairs(rows, self.plan)[1] for rows in (torch.arange(len(y)), y)
        )


class CutMix(MixAlgorithm):
    """Composer's `CutMix`: one box per batch, clipped at the border.

    Args:
      alpha: parameter of the Beta distribution; 0 mixes nothing.
      interpolate_loss, input_key, target_key, log: as for `MixAlgorithm`.
      uniform_sampling: as for `cutmix_batch`.
      seed: of the run; left out, that of the Trainer.

    Example:
      >>> CutMix(alpha=1.0).mixer.pairing
      Permutation()
    """

    def __init__(
        self, alpha: float = 1.0, interpolate_loss: bool = False, uniform_sampling: bool = False,
        input_key: Any = 0, target_key: Any = 1, *, seed: int | None = None, log: bool = False,
    ) -> None:  # fmt: skip
        policy = PerBatch(CutMixBox(alpha, None, uniform_sampling)) if alpha else None
        super().__init__(
            policy, interpolate_loss=interpolate_loss, input_key=input_key, target_key=target_key,
            pairing=Permutation(), seed=seed, log=log,
        )  # fmt: skip


def _part(state: Any, key: Any) -> Any:
    try:
        return state.batch_get_item(key)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise mix_error(
            "MixAlgorithm", f"the {type(state.batch).__name__} of a batch has no part {key!r}.",
            "Inputs are at input_key, targets at target_key, named by fields or not.",
            "Pass for example input_key='image', target_key='label'.",
        ) from None  # fmt: skip


def _tensor(value: Any, axes: int = 2) -> Any:
    """The value, if it is one tensor with at least that many axes."""
    if getattr(value, "ndim", -1) < axes:
        raise mix_error(
            "MixAlgorithm", f"the model returned a {type(value).__name__}.",
            "Soft labels need outputs [B, C], averaged losses need a single tensor.",
            "Name the target: MixAlgorithm(Mixer(policy, {0: Image('NCHW'), 1: Labels(10)})).",
        )  # fmt: skip
    return value


def _one_weight(plan: bm.Plan) -> float:
    """The own weight that all rows with another row as partner share; the others take any."""
    rows = np.arange(len(plan))
    own = bm.pairs(rows, plan)[2][plan.partner != rows]
    if (own != own[:1]).any():
        raise mix_error(
            "MixAlgorithm",
            f"got interpolate_loss=True and weights {own.min():.2f}..{own.max():.2f}.",
            "The loss of a model is one number, so all rows of a batch need one weight.",
            "Draw one, PerBatch(policy), or leave interpolate_loss out.",
        )  # fmt: skip
    return float(own[0]) if own.size else 1.0
