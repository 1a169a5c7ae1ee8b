"""Grain: mixing as a transformation of batches, keyed by the index of the batch. No JAX here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from grain.transforms import MapWithIndex

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.fields import Field
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy

__all__ = ["MixBatch"]


class MixBatch(MapWithIndex):  # type: ignore[misc]
    """Mix each batch of a Grain data set: ``ds.batch(32).map_with_index(MixBatch(...))``.

    The plan of batch i is drawn from ``Key(seed, epoch, step, rank)`` with
    ``epoch, step = divmod(i, steps_per_epoch)``; without `steps_per_epoch` it is epoch 0, step i.
    Nothing is counted, so batches are the same in any order, in any number of worker processes, in
    threads, and after a resume. In a repeated data set the index goes on, so epochs differ. Where
    each of several processes has a slice of the data and numbers its own batches, give each its
    `rank`.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}, as for `Mixer`. Fields that are not named are kept.
      pairing: who is whose partner.
      seed: of the run.
      rank: of this process.
      axes: letters of the axes that boxes lie on, as for `Mixer`.
      steps_per_epoch: batches per epoch, ``len(ds)`` of the batched data set before `repeat`.
        Needed only for policies that look at the epoch, and to repeat another framework's plans.

    Raises:
      MixError: `steps_per_epoch` is not an integer >= 1; at the first batch, a field that is
        missing or does not fit.

    Example:
      >>> import grain, numpy as np
      >>> from batchmix.fields import Image, Labels
      >>> from batchmix.policies import MixUp
      >>> rows = [{"image": np.full((2, 2, 1), i, np.float32), "label": i} for i in range(8)]
      >>> fields = {"image": Image("NHWC"), "label": Labels(8)}
      >>> ds = grain.MapDataset.source(rows).batch(4).map_with_index(MixBatch(MixUp(1.0), fields))
      >>> ds[1]["label"].shape, bool((ds[1]["label"] == ds[1]["label"]).all())
      ((4, 8), True)

    Differs from: a `random_map` of Grain is keyed by the index in a `MapDataset` too, and by worker
    in an `IterDataset`. Grain's own `mix` mixes data sets, not rows.
    """

    def __init__(
        self,
        policy: Policy | None,
        fields: Mapping[Any, Field],
        *,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = 0,
        rank: int = 0,
        axes: str | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        if steps_per_epoch is not None and not (
            isinstance(steps_per_epoch, int) and steps_per_epoch >= 1
        ):
            raise mix_error(
                "MixBatch", f"got steps_per_epoch={steps_per_epoch!r}.",
                "It counts batches, from 1.", "Pass len(ds) of the batched data set.",
            )  # fmt: skip
        self.mixer = bm.Mixer(policy, fields, pairing=pairing, seed=seed, rank=rank, axes=axes)
        self.steps_per_epoch = steps_per_epoch

    def map_with_index(self, index: int, element: Any) -> Any:
        """The batch at `index`, mixed: same structure, NumPy arrays in and out."""
        epoch, step = divmod(index, self.steps_per_epoch) if self.steps_per_epoch else (0, index)
        # the mixer counts nothing when it is told both numbers, so threads may share it
        return self.mixer(element, step=step, epoch=epoch)

    def output_spec(self, input_spec: Any) -> Any:
        """Shapes and dtypes of a mixed batch, made from those of a batch. Grain calls it."""
        fields = {path: _OfSpec(field) for path, field in self.mixer.fields.items()}
        return bm.Mixer(None, fields, axes=self.mixer.axes)(input_spec, step=0, epoch=0)


class _OfSpec(NamedTuple):
    """A field that maps shape and dtype of a value to those of the mixed value."""

    field: Callable[..., Any]

    def __call__(self, value: Any, plan: bm.Plan, other: Any = None) -> Any:
        mixed = self.field(np.zeros(value.shape, value.dtype), plan)
        return type(value)(shape=mixed.shape, dtype=mixed.dtype)

    @property
    def layout(self) -> str | None:
        layout: str | None = getattr(self.field, "layout", None)
        return layout
