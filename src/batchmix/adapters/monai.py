"""MONAI: mixing as a handler of its trainers. In a loop of your own `batchmix.Mixer` is enough."""

from __future__ import annotations

from ignite.engine import Engine, Events

import batchmix as bm
from batchmix.adapters._logged import Logged
from batchmix.extend import mixer_of

__all__ = ["MixHandler"]


class MixHandler:
    """Mix each batch of a trainer before it is prepared: ``train_handlers=[MixHandler(mixer)]``.

    The plan is that of ``Key(seed, epoch, number of the batch in it, rank)``, both numbers from the
    state of the trainer: a run that a `CheckpointLoader` resumes goes on with the mixes to come. An
    evaluator is an engine of its own, and not touched. `MetaTensor` stays one, with its meta data.

    Args:
      mixer: a `batchmix.Mixer`; its fields are keys of the batch, such as "image" and "label".
      log: put what was done among the metrics of the trainer's state, where handlers and progress
        bars find it: the mean of `Mixer.summary` over the batches of the epoch so far.

    Raises:
      MixError: no mixer; at the first batch, a field that is missing or does not fit.

    Example:
      >>> import torch
      >>> from batchmix.fields import Image, Labels
      >>> volumes = {"image": torch.rand(4, 1, 6, 6, 6), "label": torch.arange(4)}
      >>> fields = {"image": Image("NCHWD"), "label": Labels(4)}
      >>> trainer = Engine(lambda engine, batch: batch["label"].shape)
      >>> MixHandler(bm.Mixer(bm.policies.CutMix(), fields)).attach(trainer)
      >>> trainer.run([volumes]).output
      torch.Size([4, 4])

    Differs from: MONAI's `CutMixd` (1.6) gives each row the partner's label whole, whatever was
    pasted; its `MixUpd` refuses class labels and averages the ids of a segmentation. Both refuse a
    last batch that is short, and draw from a generator that no checkpoint holds.
    """

    def __init__(self, mixer: bm.Mixer, *, log: bool = False) -> None:
        self.mixer, _ = mixer_of("MixHandler", mixer)
        self.log, self.logged = log, Logged()

    def attach(self, engine: Engine) -> None:
        """Mix what this engine iterates over, before handlers of its iterations that come later."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Put the mixed batch in the place of the batch."""
        state = engine.state
        # without a length, this is the first epoch; a terminated one makes iterations no multiple
        step = (state.iteration - 1) % (state.epoch_length or state.iteration)
        state.batch = self.mixer(state.batch, step=step, epoch=state.epoch - 1)
        if self.log:
            if not step:
                self.logged.clear()
            self.logged.add(self.mixer.summary())
            state.metrics.update(self.logged.mean())
