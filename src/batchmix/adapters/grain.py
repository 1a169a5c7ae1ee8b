"""Grain: mixing as a transformation of batches, keyed by the index of the batch. No JAX here."""

from __future__ import annotations

from typing import Any

import numpy as np
from grain.transforms import MapWithIndex

import batchmix as bm
from batchmix.adapters._epochs import checked_length, epoch_and_step
from batchmix.extend import get_at, mixer_of, path_of, process_rank, replaced_at
from batchmix.pairing import Derangement

__all__ = ["MixBatch"]


class MixBatch(MapWithIndex):  # type: ignore[misc]
    """Mix each batch of a Grain data set: ``ds.batch(32).map_with_index(MixBatch(mixer))``.

    The plan of batch i is drawn from ``Key(seed, epoch, step, rank)`` with
    ``epoch, step = divmod(i, steps_per_epoch)``; without `steps_per_epoch` it is that of epoch 0,
    step i. Nothing is counted, so batches are the same in any order, in any number of worker
    processes, in threads, and after a resume. In a repeated data set the index goes on, so epochs
    differ. Where each of several processes has a slice of the data and numbers its own batches,
    they differ by their rank; workers have that of the process that started them.

    Args:
      mixer: whose fields say where in the batch what is; the others are kept.
      steps_per_epoch: batches per epoch, ``len(ds)`` of the batched data set before `repeat`.
        Needed only for policies that look at the epoch, and to repeat another framework's plans.

    Raises:
      MixError: `steps_per_epoch` is not an integer >= 1; at the first batch, a field that is
        missing or does not fit, or a policy that looks at the epoch and no `steps_per_epoch`.

    Example:
      >>> import grain, numpy as np, batchmix as bm
      >>> from batchmix.fields import Image, Labels
      >>> fields = {"image": Image("NHWC"), "label": Labels(8)}
      >>> mix = MixBatch(bm.Mixer(bm.policies.MixUp(1.0), fields, seed=0))
      >>> rows = [{"image": np.full((2, 2, 1), i, np.float32), "label": i} for i in range(8)]
      >>> ds = grain.MapDataset.source(rows).batch(4).map_with_index(mix)
      >>> ds[1]["label"].shape, bool((ds[1]["label"] == ds[1]["label"]).all())
      ((4, 8), True)

    Differs from: a `random_map` of Grain is keyed by the index in a `MapDataset` too, and by worker
    in an `IterDataset`. Grain's own `mix` mixes data sets, not rows.
    """

    def __init__(self, mixer: bm.Mixer, *, steps_per_epoch: int | None = None) -> None:
        self.mixer, _ = mixer_of("MixBatch", mixer)
        self.steps_per_epoch = checked_length("MixBatch", steps_per_epoch)

    def __getstate__(self) -> dict[str, Any]:
        """What goes to a worker has the rank of this process, which a worker cannot ask for."""
        rank = process_rank() if self.mixer.rank is None else self.mixer.rank
        return vars(self) | {"mixer": self.mixer.but(rank=rank)}

    def map_with_index(self, index: int, element: Any) -> Any:
        """The batch at `index`, mixed: same structure, NumPy arrays in and out."""
        # the mixer counts nothing when it is told both numbers, so threads may share it
        epoch, step = epoch_and_step(index, self.steps_per_epoch)
        return self.mixer(element, step=step, epoch=epoch)

    def output_spec(self, input_spec: Any) -> Any:
        """Shapes and dtypes of a mixed batch, made from those of a batch. Grain calls it."""
        paths = [path_of(place) for place in self.mixer.fields]
        specs = [get_at(input_spec, path) for path in paths]
        fields = dict(enumerate(self.mixer.fields.values()))
        mixer = self.mixer.but(policy=None, fields=fields, pairing=Derangement(), hints=None)
        mixed = mixer([np.zeros(spec.shape, spec.dtype) for spec in specs], step=0)
        for path, spec, value in zip(paths, specs, mixed):
            made = type(spec)(shape=value.shape, dtype=value.dtype)
            input_spec = replaced_at(input_spec, path, made)
        return input_spec
