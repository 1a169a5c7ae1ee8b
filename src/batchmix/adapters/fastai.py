"""fastai: mixing as a callback of the Learner. Its loss function is never replaced."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.layers import NoneReduce
from fastai.torch_core import apply, rank_distrib

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.fields import Field, Grid
from batchmix.pairing import Derangement, Pairing, Permutation
from batchmix.policies import Policy

__all__ = ["BatchMix", "CutMix", "MixUp"]

_LAYOUTS = {2: "NC", 4: "NCHW"}


class BatchMix(Callback):  # type: ignore[misc]
    r"""Mix each training batch: ``Learner(dls, model, cbs=BatchMix(policy))``.

    .. math:: \ell_i = \lambda_i\, \ell(z_i, y_i) + (1 - \lambda_i)\, \ell(z_i, y_{p(i)})

    is the loss where targets are ids; targets that are floats are averaged with the same weights.
    A loss function may have a `reduction`, as attribute or argument; one that has none is called
    row by row and taken to be a mean over rows. The plan of a batch is that of
    ``Key(seed, learn.epoch, learn.iter, rank)``, so a run replays. Validation, prediction and
    interpretation see clean batches.

    Args:
      policy: how much is pasted and where; None mixes nothing.
      fields: {index: what it is} for batches other than of images [B, C, H, W] or tables [B, C].
        The index counts inputs, then targets: ``(*xb, *yb)``. Inputs that are not named are then
        kept; targets that are not named are ids or floats as above.
      pairing: who is whose partner.
      seed: of the run. Where two callbacks mix, give each its own.

    Raises:
      MixError: in the first batch, inputs or targets that do not fit.

    Example:
      >>> from batchmix.policies import CutMix, MixUp, Switch
      >>> callback = BatchMix(Switch([MixUp(0.4), CutMix(1.0)]), seed=7)
      >>> callback.name, callback.run_valid
      ('batch_mix', False)

    Differs from: fastai's own callbacks replace `learn.loss_func` while they train, and it stays so
    after an interrupt; they fail on a batch of one, on ids with a loss that has no `y_int`, and on
    `MixUp` and `CutMix` together; their CutMix writes to the batch.

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """

    run_valid = False
    # the loss is replaced before others add to it, divide it by accumulated batches or scale it
    order = -5

    def __init__(
        self,
        policy: Policy | None,
        *,
        fields: Mapping[int, Field] | None = None,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_mixer = bm.Mixer(policy, fields or {}, pairing=pairing, seed=seed)
        self.fields_given = None if fields is None else dict(fields)
        self.batch_plan = bm.Plan.identity(0)
        self.by_loss: list[int] = []

    def before_batch(self) -> None:
        """Mix inputs, and targets that are floats; `after_loss` deals with targets that are ids."""
        first, batch = len(self.xb), (*self.xb, *self.yb)
        if self.fields_given is None:
            fields: dict[int, Field] = {i: Grid(_layout(x)) for i, x in enumerate(self.xb)}
        else:
            fields = dict(self.fields_given)
        open_targets = [i for i in range(first, len(batch)) if i not in fields]
        for i in open_targets:
            _check_target(i, batch[i])
        self.by_loss = [i - first for i in open_targets if not batch[i].is_floating_point()]
        fields |= {i: _averaged for i in open_targets if batch[i].is_floating_point()}

        mixer = self.batch_mixer
        mixer.fields, mixer.rank = fields, rank_distrib()
        self.batch_plan = mixer.draw(batch, step=self.iter, epoch=self.epoch)
        mixing = self._mixing()
        _check_together(mixing[: mixing.index(self) + 1])
        mixed = mixer.apply(batch, self.batch_plan)
        self.learn.xb, self.learn.yb = mixed[:first], mixed[first:]

    def after_loss(self) -> None:
        """Replace the loss by the weighted one on both targets of each row."""
        mixing = self._mixing()
        if not self.by_loss or mixing[-1] is not self:  # the last one acts for all
            return
        function, targets = self.learn.loss_func, self.learn.yb
        rows = torch.arange(len(targets[0]), device=targets[0].device)

        def loss(pred: Any, at: Any) -> Any:
            chosen = [y[at] if i in self.by_loss else y for i, y in enumerate(targets)]
            return _per_row(function, pred, chosen)

        for callback in mixing:
            loss = _weighted(loss, callback.batch_plan, rows)
        values, reduction = loss(self.learn.pred, rows), _reduction(function)
        reduced = values.sum() if reduction == "sum" else values.mean()
        self.learn.loss_grad = values if reduction == "none" else reduced
        self.learn.loss = self.learn.loss_grad.clone()

    def _mixing(self) -> list[BatchMix]:
        """All callbacks of this kind, in the order in which they act."""
        return [c for c in self.learn.cbs.sorted("order") if isinstance(c, BatchMix) and c.run]


class MixUp(BatchMix):
    """fastai's `MixUp`: one lam per row, ``lam = max(lam, 1 - lam)``, partners a permutation.

    Args:
      alpha: parameter of the Beta distribution, > 0.
      seed: of the run.

    Example:
      >>> MixUp(0.4).batch_mixer.policy
      MixUp(alpha=0.4, dominant=True)

    Differs from: see `BatchMix`; lam is a multiple of 1/4096.
    """

    def __init__(self, alpha: float = 0.4, *, seed: int = 0) -> None:
        policy = bm.policies.MixUp(alpha, dominant=True)
        super().__init__(policy, pairing=Permutation(), seed=seed)


class CutMix(BatchMix):
    """fastai's `CutMix`: one box per batch, clipped at the border, partners a permutation.

    Args:
      alpha: parameter of the Beta distribution, > 0.
      seed: of the run.

    Example:
      >>> CutMix().batch_mixer.policy
      PerBatch(policy=CutMix(alpha=1.0, placement='clipped', minmax=None))

    Differs from: see `BatchMix`; sides are rounded down and odd ones keep their last cell, where
    fastai rounds to the nearest and then to an even number. All inputs are cut, not the first only.
    """

    def __init__(self, alpha: float = 1.0, *, seed: int = 0) -> None:
        policy = bm.policies.PerBatch(bm.policies.CutMix(alpha))
        super().__init__(policy, pairing=Permutation(), seed=seed)


def _layout(x: Any) -> str:
    if x.ndim not in _LAYOUTS:
        raise mix_error(
            "BatchMix", f"an input has shape {tuple(x.shape)}.",
            "Without `fields`, inputs are images [B, C, H, W] or tables [B, C].",
            "Say what it is, for example fields={0: Video('NCTHW')}.",
        )  # fmt: skip
    return _LAYOUTS[x.ndim]


def _check_target(index: int, y: Any) -> None:
    """A target without a field must be [B] or [B, C]."""
    if y.ndim not in (1, 2):
        raise mix_error(
            "BatchMix", f"target {index} has shape {tuple(y.shape)}.",
            "One weight per row does not say which cells of a mask or an image are the partner's.",
            f"Say what it is: fields={{0: Image('NCHW'), {index}: Mask('NHW')}}.",
        )  # fmt: skip


def _check_together(callbacks: list[BatchMix]) -> None:
    """The weights of two plans may be multiplied only if one of them blends all cells alike."""
    plans = [callback.batch_plan for callback in callbacks]
    cuts = sum(bool((abs(1 - plan.opacity - plan.lam) > 1e-6).any()) for plan in plans)
    if cuts > 1 or any(callback.by_loss != callbacks[0].by_loss for callback in callbacks):
        raise mix_error(
            "BatchMix", f"got {len(callbacks)} callbacks, {cuts} of which paste boxes.",
            "A second box hides part of the first, and their fields must name the same targets.",
            "Use one: BatchMix(Switch([policies.MixUp(0.4), policies.CutMix(1.0)])).",
        )  # fmt: skip


def _averaged(value: Any, plan: bm.Plan, other: Any = None) -> Any:
    """A field: floats [B] or [B, C] averaged by the weights of the plan, in their dtype."""
    mixed = bm.mix_labels(value.reshape(len(value), -1), plan)
    return mixed.reshape(value.shape).to(value.dtype)


def _weighted(loss: Callable[[Any, Any], Any], plan: bm.Plan, rows: Any) -> Callable[..., Any]:
    """The loss on rows that a plan has mixed, made of the `loss` on unmixed rows."""
    _, partner, lam = bm.pairs(rows, plan)

    def of_both(pred: Any, at: Any) -> Any:
        return bm.losses.pairwise(loss, pred, (at, partner[at], lam[at]), reduction="none")

    return of_both


def _per_row(function: Any, pred: Any, targets: list[Any]) -> Any:
    """The loss of each row, [B, ...]; a loss that always reduces is called row by row."""
    rows = len(targets[0])
    if _reduction(function) is not None:
        with NoneReduce(function) as unreduced:
            values = unreduced(pred, *targets)
        if values.ndim and values.numel() % rows == 0:
            return values.reshape(rows, -1)  # fastai's losses flatten
    cut = ([apply(lambda t, i=i: t[i : i + 1], part) for part in (pred, *targets)]
           for i in range(rows))  # fmt: skip
    return torch.stack([function(*parts).reshape(1) for parts in cut])


def _reduction(function: Any) -> str | None:
    """Its reduction; None for a loss that always reduces."""
    if hasattr(function, "reduction"):
        return str(function.reduction)
    try:
        parameter = inspect.signature(function).parameters.get("reduction")
    except (TypeError, ValueError):  # a function written in C
        return None
    return None if parameter is None else str(parameter.default)
