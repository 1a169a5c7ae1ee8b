"""fastai: mixing as a callback of the Learner. Its loss function is never replaced."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.layers import NoneReduce
from fastai.learner import ValueMetric
from fastai.torch_core import apply

import batchmix as bm
from batchmix.adapters import _interpolated as shared
from batchmix.adapters._logged import Logged
from batchmix.extend import Untold, mixer_of
from batchmix.pairing import Permutation
from batchmix.policies import Policy

__all__ = ["CutMix", "MixCallback", "MixUp"]


class MixCallback(Callback):  # type: ignore[misc]
    r"""Mix each training batch: ``Learner(dls, model, cbs=MixCallback(policy))``.

    .. math:: \ell_i = \lambda_i\, \ell(z_i, y_i) + (1 - \lambda_i)\, \ell(z_i, y_{p(i)})

    is the loss where targets are ids; targets that are floats are averaged with the same weights.
    A loss function may have a `reduction`, as attribute or argument; one that has none is called
    row by row and taken to be a mean over rows. The plan of a batch is that of
    ``Key(seed, learn.first_epoch + learn.epoch, learn.iter, rank)``: epochs are counted over all
    fits of a Learner, those of `lr_find` aside. A fit with `start_epoch` goes on with the fit
    before it, whose first epoch is `learn.first_epoch`. Validation, prediction and interpretation
    see clean batches.

    Args:
      given: a policy, which mixes inputs that are images [B, C, H, W] or tables [B, C], and their
        targets; None mixes nothing. Or a Mixer whose fields say what else there is; places count
        inputs, then targets: ``(*xb, *yb)``. Inputs that it does not name are kept; targets that it
        does not name are ids or floats as above.
      log: add what was done to the Learner's metrics while it fits: means of `Mixer.summary` over
        the training batches of an epoch. The Recorder hands them to the table and to loggers.
      options: of the Mixer, where a policy is given: `pairing`, `seed`, `rank`, `axes`. Where two
        callbacks mix, those whose seed was left out have one each.

    Raises:
      MixError: no policy; in the first batch, inputs or targets that do not fit.

    Example:
      >>> from batchmix.policies import CutMix, MixUp, Switch
      >>> callback = MixCallback(Switch([MixUp(0.4), CutMix(1.0)]), seed=7)
      >>> callback.name, callback.run_valid
      ('mix', False)

    Differs from: fastai's own callbacks replace `learn.loss_func` while they train, and it stays so
    after an interrupt; they fail on a batch of one, on ids with a loss that has no `y_int`, and on
    `MixUp` and `CutMix` together; their CutMix writes to the batch.

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """

    run_valid = False
    # the loss is replaced before others add to it, divide it by accumulated batches or scale it
    order = -5

    def __init__(
        self, given: Policy | bm.Mixer | None, *, log: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.log, self.logged, self.trains = log, Logged(), False
        self.mixer, self.named = mixer_of(
            "MixCallback", given, names="the inputs and targets", **options
        )
        self.plan = bm.Plan.identity(0)
        self.clean_yb: tuple[Any, ...] = ()
        self.to_loss: list[int] = []

    def before_fit(self) -> None:
        """Count its epochs after those of the fits before it."""
        if not hasattr(self.learn, "lr_finder") and not hasattr(self.learn, "skip_to_epoch"):
            self.learn.first_epoch = getattr(self.learn, "epochs_mixed", 0)
        if self.log:
            self.after_fit()  # a fit that failed did not end
            self.trains = False
            names = bm.Mixer(self.mixer.policy, {})
            names.apply((), bm.Plan.identity(0))
            self.learn.metrics += [_Column(self.logged, name) for name in names.summary()]

    def before_train(self) -> None:
        """Begin the means of an epoch."""
        self.logged.clear()
        self.trains = True

    def before_validate(self) -> None:
        """Log nothing of a `validate`, which has the events of a fit."""
        if self.log and not self.trains:
            self.after_fit()
            names = self.recorder.metric_names
            self.recorder.metric_names = names.filter(lambda name: "mix/" not in name)

    def after_fit(self) -> None:
        """Take back the metrics of `before_fit`."""
        if self.log:
            kept = [m for m in self.learn.metrics if getattr(m, "logged", 0) is not self.logged]
            self.learn.metrics = kept

    def before_batch(self) -> None:
        """Mix inputs, and targets that are floats; `after_loss` deals with targets that are ids."""
        learn, first, batch = self.learn, len(self.xb), (*self.xb, *self.yb)
        fields = dict(self.mixer.fields)
        left = [i for i in range(first, len(batch)) if i not in fields]
        inputs = () if self.named else self.xb
        grids = shared.grids("MixCallback", inputs, [batch[i] for i in left])
        fields |= dict(enumerate(grids))
        self.to_loss = [i - first for i in left if not batch[i].is_floating_point()]
        fields |= {i: shared.averaged for i in left if batch[i].is_floating_point()}

        # a batch that is shown outside of a fit has no number
        epoch = getattr(learn, "first_epoch", 0) + learn.epoch
        step = getattr(learn, "iter", 0)
        if not hasattr(learn, "lr_finder"):
            learn.epochs_mixed = max(getattr(learn, "epochs_mixed", 0), epoch + 1)
        seed = self.mixer.seed
        if isinstance(seed, Untold):
            seed = shared.own_seed(learn, (epoch, step), self, seed)
        found = {getattr(field, "hint", None) for field in fields.values()}
        places = {"image": 0} | ({"label": left[0], "target": left[0]} if left else {})
        hints = {n: places[n] for n in self.mixer.reads if n in places and n not in found}
        mixer = self.mixer.but(fields=fields, seed=seed, hints=hints | self.mixer.hints)
        self.plan, self.clean_yb = mixer.draw(batch, step=step, epoch=epoch), learn.yb
        shared.join("MixCallback", learn, (epoch, step), self)
        mixed = mixer.apply(batch, self.plan)
        learn.xb, learn.yb = mixed[:first], mixed[first:]
        if self.log:
            self.logged.add(mixer.summary())

    def after_loss(self) -> None:
        """Replace the loss by the weighted one on all targets that the rows hold."""
        learn = self.learn
        plans = shared.plans_of(learn, self) if self.to_loss else []
        if not plans:
            return
        function, device = learn.loss_func, learn.yb[0].device
        values: Any = 0.0
        for at, weight in shared.held(plans, len(self.plan)):
            at, weight = torch.from_numpy(at).to(device), torch.from_numpy(weight).to(device)
            chosen = [y[at] if i in self.to_loss else y for i, y in enumerate(learn.yb)]
            values = values + weight[:, None] * _per_row(function, learn.pred, chosen)
        reduction = _reduction(function)
        reduced = values.sum() if reduction == "sum" else values.mean()
        learn.loss_grad = values if reduction == "none" else reduced
        learn.loss = learn.loss_grad.clone()

    @property
    def lam(self) -> Any:
        """Own weight of each row of the last batch, [B], as fastai's callbacks have it."""
        return torch.tensor(self.plan.lam)

    @property
    def yb1(self) -> tuple[Any, ...]:
        """Targets of the partners in the last batch, as fastai's callbacks have them."""
        return tuple(bm.pairs(y, self.plan)[1] for y in self.clean_yb)


class MixUp(MixCallback):
    """fastai's `MixUp`: one lam per row, ``lam = max(lam, 1 - lam)``, partners a permutation.

    Args:
      alpha: parameter of the Beta distribution, > 0.
      seed: of the run; left out, drawn now from torch's global generator, as fastai's draws are.
      log: as for `MixCallback`.

    Example:
      >>> MixUp(0.4).mixer.policy
      MixUp(alpha=0.4, dominant=True)

    Differs from: see `MixCallback`; lam is a multiple of 1/4096.
    """

    def __init__(self, alpha: float = 0.4, *, seed: int | None = None, log: bool = False) -> None:
        policy = bm.policies.MixUp(alpha, dominant=True)
        super().__init__(policy, pairing=Permutation(), seed=_seed(seed), log=log)


class CutMix(MixCallback):
    """fastai's `CutMix`: one box per batch, clipped at the border, partners a permutation.

    Args:
      alpha: parameter of the Beta distribution, > 0.
      seed, log: as for `MixUp`.

    Example:
      >>> CutMix().mixer.policy
      PerBatch(policy=CutMix(alpha=1.0, placement='clipped', minmax=None))

    Differs from: see `MixCallback`; sides are rounded down and odd ones keep their last cell, where
    fastai rounds to the nearest and then to an even number. All inputs are cut, not the first only.
    """

    def __init__(self, alpha: float = 1.0, *, seed: int | None = None, log: bool = False) -> None:
        policy = bm.policies.PerBatch(bm.policies.CutMix(alpha))
        super().__init__(policy, pairing=Permutation(), seed=_seed(seed), log=log)


class _Column(ValueMetric):  # type: ignore[misc]
    """A column of the Recorder: one of the numbers, as a mean over the batches of an epoch."""

    def __init__(self, logged: Logged, name: str) -> None:
        super().__init__(lambda: logged.mean().get(name), name)
        self.logged = logged


def _seed(given: int | None) -> int:
    return int(torch.randint(2**62, ())) if given is None else given


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
