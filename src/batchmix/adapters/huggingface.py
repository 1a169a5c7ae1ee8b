"""Hugging Face: a collator that mixes, for the Trainer's training batches alone or any loader."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset
from transformers import TrainerCallback, default_data_collator

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.adapters._logged import Logged
from batchmix.extend import mix_error, mixer_of
from batchmix.fields import Image, Labels
from batchmix.policies import Policy

__all__ = ["MixCollator", "MixTraining", "soft_cross_entropy"]


class MixCollator:
    """Collate rows, then mix them: ``{"pixel_values": images, "labels": soft [B, C]}``.

    The plan of a batch is that of ``Key(seed, epoch, step, rank)``. The step is counted, also in
    the workers of a `DataLoader`: with `set_epoch` before each pass batches do not depend on the
    number of workers. Give a Trainer `MixTraining` and not this, which would mix its evaluation.

    Args:
      given: a policy, which mixes "pixel_values", [B, C, H, W], and "labels"; None mixes nothing
        (labels still become soft). Or a Mixer whose fields say what is where in the batch.
      classes: C, with a policy; may be left out for labels [B, C].
      collator: makes a batch of rows; left out, the Trainer's own for images, whose batches are
        mixed in place.
      smoothing: with a policy, share of the label that is spread over all classes, 0 <= s < 1.
      options: of the Mixer, where a policy is given: `pairing`, `seed`, `rank`, `axes`.

    Raises:
      MixError: no policy, or `classes` beside fields; at the call, a field that is missing or does
        not fit; in a worker, a pass without a `set_epoch` of its own.

    Example:
      >>> from batchmix.policies import MixUp
      >>> collate = MixCollator(MixUp(0.8), classes=10, seed=0)
      >>> batch = collate([{"pixel_values": torch.ones(3, 4, 4), "labels": k} for k in range(4)])
      >>> tuple(batch["labels"].shape), round(float(batch["labels"].sum()), 4)
      ((4, 10), 4.0)

    Differs from: transformers and accelerate have no mixing.
    """

    def __init__(
        self,
        given: Policy | bm.Mixer | None,
        classes: int | None = None,
        *,
        collator: Callable[[Any], Any] = default_data_collator,
        smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        names = "pixel_values and labels"
        self.mixer, named = mixer_of("MixCollator", given, names=names, **options)
        if not named:
            fields = {"pixel_values": Image("NCHW"), "labels": Labels(classes, smoothing)}
            self.mixer = self.mixer.but(fields=fields)
        elif classes is not None or smoothing:
            raise mix_error(
                "MixCollator", f"got fields, classes={classes!r} and smoothing={smoothing!r}.",
                "The fields of the Mixer say what labels are.", "Give both to Labels.",
            )  # fmt: skip
        self.collator = collator
        self.logged: Logged | None = None  # of each batch, where it is wanted
        self.count = BatchCount(
            "MixCollator",
            "Call set_epoch(epoch) before each pass; MixTraining does so for a Trainer.",
            strict=True,
        )

    def __call__(self, rows: Any) -> Any:
        """One mixed batch."""
        epoch, step = self.count.next()
        # the Trainer's collator wraps it where columns are dropped; it stacks rows into new memory
        fresh = getattr(self.collator, "data_collator", self.collator) is default_data_collator
        mixer = self.mixer.but(inplace=True) if fresh else self.mixer
        mixed = mixer(self.collator(rows), step=step, epoch=epoch)
        if self.logged is not None:
            self.logged.add(mixer.summary())
        return mixed

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin the pass `epoch` at batch number `step`; call it before the loader is iterated."""
        self.count.set_epoch(epoch, step)


class MixTraining(TrainerCallback):  # type: ignore[misc]
    """Mix the training batches of a `Trainer`; evaluation and prediction are not touched.

    It wraps the collator of the training loader, whatever collator the Trainer was given, and
    numbers batches by the Trainer's own state: epochs and processes differ, and training that is
    resumed in the middle of an epoch goes on where it was.

    Args:
      mix: what to mix and how. Its collator is not used; where it has no rank, the Trainer's is.
      log: add what was done to the logs of training: the mean of `Mixer.summary` over the batches
        that were collated since the last one, of which the Trainer reads one ahead. It is in
        `state.log_history`, and for the callbacks that come after this one.

    Raises:
      MixError: when training begins, a training loader that has no collator; a Trainer that mixes
        its evaluation too, as `mix` is its `data_collator`; one of `label_smoothing_factor`, which
        would not reach soft labels; with `log`, workers or a `report_to`.

    Example:
      >>> from batchmix.policies import CutMix
      >>> callbacks = [MixTraining(MixCollator(CutMix(1.0), classes=10, seed=0))]

    Differs from: a Trainer has one `data_collator` for training and evaluation. A model that gets
    soft labels [B, C] takes them for multi-label ones and returns a binary cross-entropy; with
    this callback it fails instead, unless its `problem_type` is set: pass `soft_cross_entropy`.
    """

    def __init__(self, mix: MixCollator, *, log: bool = False) -> None:
        if not isinstance(mix, MixCollator):
            raise mix_error(
                "MixTraining", f"got {mix!r}.", "It mixes as a MixCollator does.",
                "Pass MixTraining(MixCollator(policy, classes=10)).",
            )  # fmt: skip
        self.mix, self.log = mix, log
        self._logged = Logged()
        self.epoch = self._skipped = 0
        self._undo: list[tuple[Any, str, Any]] = []

    def on_train_begin(
        self, args: Any, state: Any, control: Any, *, model: Any, train_dataloader: Any, **_: Any
    ) -> None:
        """Wrap this loader's collate_fn until training ends."""
        self.on_train_end(args, state, control)  # a run that failed did not undo it
        # accelerate's loaders wrap the one that collates
        loader = getattr(train_dataloader, "base_dataloader", train_dataloader)
        given = getattr(loader, "collate_fn", None)
        if given is None or isinstance(getattr(given, "data_collator", given), MixCollator):
            raise mix_error(
                "MixTraining",
                "the training loader has no collate_fn." if given is None else
                "the Trainer's data_collator is a MixCollator.",
                "It mixes what the Trainer's own collator makes, for training alone.",
                "Let get_train_dataloader return a DataLoader." if given is None else
                "Give the Trainer a data_collator that does not mix, or none.",
            )  # fmt: skip
        if args.label_smoothing_factor:
            raise mix_error(
                "MixTraining", f"got label_smoothing_factor={args.label_smoothing_factor}.",
                "The Trainer smooths ids, where it has no other loss; mixed labels are none.",
                "Leave it out, and pass MixCollator(..., smoothing=...).",
            )  # fmt: skip
        mixed = copy.copy(self.mix)  # which counts with the other
        mixed.collator = given
        self._logged.clear()
        if self.log:
            _check_log(args, loader)
            mixed.logged = self._logged
        if mixed.mixer.rank is None:
            mixed.mixer = mixed.mixer.but(rank=args.process_index)
        self._set(loader, "collate_fn", mixed)
        config = getattr(model, "config", None)
        if getattr(config, "problem_type", "other") is None:
            self._set(config, "problem_type", "single_label_classification")
        self.epoch, self._skipped = int(state.epoch or 0), 0
        # the Trainer skips no batches of an IterableDataset
        if not isinstance(loader.dataset, IterableDataset):
            self._skipped = round(((state.epoch or 0) - self.epoch) * len(train_dataloader))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch before the workers start."""
        self.mix.set_epoch(self.epoch, self._skipped)
        self.epoch, self._skipped = self.epoch + 1, 0

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: dict[str, float], **_: Any
    ) -> None:
        """Add the mean of what was done since the last log of training."""
        if "loss" in logs:
            found = self._logged.mean()
            self._logged.clear()
            logs |= found
            state.log_history[-1] |= found

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Undo what `on_train_begin` changed."""
        while self._undo:
            setattr(*self._undo.pop())

    def _set(self, of: Any, name: str, value: Any) -> None:
        """Set an attribute; `on_train_end` restores it."""
        self._undo.append((of, name, getattr(of, name)))
        setattr(of, name, value)


def _check_log(args: Any, loader: Any) -> None:
    """What was done must be known in this process, and reach all who were asked to report."""
    workers = getattr(loader, "num_workers", 0)
    if workers or args.report_to:
        raise mix_error(
            "MixTraining",
            f"got log=True, dataloader_num_workers={workers} and report_to={args.report_to}.",
            "Workers mix in processes of their own and tell this one nothing; a Trainer calls the "
            "reporters of report_to before the callbacks that it is given.",
            "Pass dataloader_num_workers=0, report_to='none', and a reporter's callback after "
            "this: callbacks=[mix, TensorBoardCallback()].",
        )  # fmt: skip


def soft_cross_entropy(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    r"""Cross-entropy for ``Trainer(compute_loss_func=...)``, with soft labels or ids.

    .. math:: \ell = \frac{1}{N} \sum_i -\sum_c \tilde y_{ic} \log \mathrm{softmax}(z_i)_c

    Args:
      outputs: of the model, with `logits` [B, C].
      labels: soft [B, C] in training, ids [B] in evaluation.
      num_items_in_batch: labels in all batches of the update, as the Trainer counts them: of soft
        labels every one of the C entries. Left out, N = B.

    Returns:
      A scalar; over the batches of an update, the sum of these is the mean over all N rows.

    Raises:
      MixError: shapes of soft labels and logits differ.

    Example:
      >>> from types import SimpleNamespace
      >>> outputs = SimpleNamespace(logits=torch.zeros(2, 4))
      >>> round(float(soft_cross_entropy(outputs, torch.full((2, 4), 0.25))), 4)
      1.3863
    """
    logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
    if labels.ndim == 1:
        rows = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return rows.mean() if num_items_in_batch is None else rows.sum() / num_items_in_batch
    rows = bm.losses.soft_cross_entropy(logits, labels, "none")
    count = len(rows) if num_items_in_batch is None else num_items_in_batch / labels.shape[1]
    return rows.sum() / count
