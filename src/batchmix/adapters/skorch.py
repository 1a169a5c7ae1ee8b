"""skorch, and braindecode that is built on it: mixing as a callback of the net."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback

import batchmix as bm
from batchmix.extend import mix_error, mixer_of

__all__ = ["MixCallback"]


class MixCallback(Callback):  # type: ignore[misc]
    """Mix each training batch of a net: ``callbacks=[MixCallback(mixer)]``.

    The plan is that of ``Key(seed, epoch, number of the batch in it, rank)``, both numbers from the
    history of the net. So `partial_fit` goes on with new mixes, and so does a net whose history was
    loaded from a checkpoint. Validation, `predict` and `score` get what the data set gives.

    Args:
      mixer: a `batchmix.Mixer`; of its fields 0 is X and 1 is y, or ``(0, "image")`` if X is a dict.

    Raises:
      MixError: no mixer; at the first batch, a field that is missing or does not fit, or a
        `collate_fn` that makes a tuple, in which nothing can be replaced.

    Example:
      >>> import numpy as np, torch
      >>> from skorch import NeuralNetClassifier
      >>> from batchmix.fields import Features, Labels
      >>> mix = MixCallback(bm.Mixer(bm.policies.MixUp(), {0: Features("NC"), 1: Labels(3)}))
      >>> net = NeuralNetClassifier(torch.nn.Linear, module__in_features=4, module__out_features=3,
      ...     criterion=torch.nn.CrossEntropyLoss, callbacks=[mix], verbose=0, max_epochs=2)
      >>> net.fit(np.ones((30, 4), np.float32), np.arange(30) % 3).history[:, "epoch"]
      [1, 2]

    Differs from: braindecode's `Mixup` (1.8) draws in the loader: its workers draw alike, and in
    each epoch again what they drew in the first; the net needs a loss of its own for it.
    """

    def __init__(self, mixer: bm.Mixer) -> None:
        self.mixer, _ = mixer_of("MixCallback", mixer)

    def on_batch_begin(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Replace what is in a training batch; the net then trains on that very list."""
        if not training:
            return
        if not isinstance(batch, list):
            raise mix_error(
                "MixCallback", f"the batch is a {type(batch).__name__}.",
                "A callback of skorch can change a batch, not replace it: it has to be a list.",
                "Return [X, y] from collate_fn, or pass iterator_train=MixLoader.",
            )  # fmt: skip
        epoch = net.history[-1]
        batch[:] = self.mixer(batch, step=len(epoch["batches"]) - 1, epoch=epoch["epoch"] - 1)
