"""skorch, and braindecode that is built on it: a net whose training batches are mixed."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNet

import batchmix as bm
from batchmix.adapters._logged import Logged
from batchmix.extend import mixer_of

__all__ = ["MixNet"]


class MixNet(NeuralNet):  # type: ignore[misc]
    """Mix each training batch of a net: ``class Net(MixNet, NeuralNetClassifier): pass``.

    The plan is that of ``Key(seed, epoch, number of the batch in it, rank)``, both numbers from the
    history of the net. So `partial_fit` goes on with new mixes, and so does a net whose history was
    loaded from a checkpoint. Validation, `predict` and `score` get what the data set gives.

    Args:
      *args, **options: those of the net. Its `criterion` has to take soft targets.
      mixer: a `batchmix.Mixer`; of its fields 0 is X and 1 is y. A part of a dict X is at a path,
        such as ``(0, "image")``.
      log_mix: record what was done to each batch, `Mixer.summary`, in the history, and its mean
        over the epoch, which the table of a verbose net and other callbacks show.

    Raises:
      MixError: no mixer; at the first batch, a field that is missing or does not fit.

    Example:
      >>> import numpy as np, torch
      >>> from skorch import NeuralNetClassifier
      >>> from batchmix.fields import Features, Labels
      >>> class Net(MixNet, NeuralNetClassifier): pass
      >>> mixer = bm.Mixer(bm.policies.MixUp(), {0: Features("NC"), 1: Labels(3)}, seed=0)
      >>> net = Net(torch.nn.Linear, module__in_features=4, module__out_features=3, mixer=mixer,
      ...           criterion=torch.nn.CrossEntropyLoss, verbose=0, max_epochs=2)
      >>> net.fit(np.ones((30, 4), np.float32), np.arange(30) % 3).history[:, "epoch"]
      [1, 2]

    Differs from: a callback of skorch cannot replace a batch. A loader that mixes will not do in
    braindecode (1.8), which casts its targets to integers; workers that draw braindecode's own
    `Mixup` draw alike, and in each epoch again what they drew in the first.
    """

    def __init__(self, *args: Any, mixer: bm.Mixer, log_mix: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mixer, _ = mixer_of("MixNet", mixer)
        self.log_mix = log_mix

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """One step of the optimizer, with one plan however often it evaluates the loss."""
        epoch = self.history[-1]
        step = len(epoch["batches"]) - 1
        mixer, _ = mixer_of("MixNet", self.mixer)  # a search may have set another
        mixed = mixer(batch, step=step, epoch=epoch["epoch"] - 1)
        if self.log_mix:
            for name, value in mixer.summary().items():
                self.history.record_batch(name, value)
        return super().train_step(mixed, **fit_params)

    def on_epoch_end(self, net: Any, **options: Any) -> None:
        """Record means over the training batches, before callbacks look at the history."""
        super().on_epoch_end(net, **options)
        if self.log_mix:
            logged = Logged()
            for batch in self.history[-1]["batches"]:
                if "mix/lam" in batch:  # not one of validation
                    logged.add({name: x for name, x in batch.items() if name.startswith("mix/")})
            for name, value in logged.mean().items():
                self.history.record(name, value)
