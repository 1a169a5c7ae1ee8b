"""PyTorch: batches mixed in a DataLoader's workers, and mixing after the transfer to the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.adapters._loading import Collate, Indexed, Numbered
from batchmix.extend import mix_error
from batchmix.fields import Field
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy

__all__ = ["MixCollate", "MixLoader", "MixModule"]

_BATCHING = ("batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


class MixLoader(DataLoader):  # type: ignore[misc]
    """A `DataLoader` whose batches are mixed in its workers, each by its number.

    A worker is told the number of a batch together with its indices, so mixes depend on
    (seed, epoch, number of the batch, rank) alone, for any number of workers. Images are mixed
    while they are stacked, 8-bit ones as 8 bits. With ``shuffle=True`` and no `generator`, the
    order of rows follows from (seed, epoch, rank).

    Args:
      dataset: with indices; its arrays are not written to. `loader.dataset.dataset` is this one.
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}, as for `Mixer`. Fields that are not named are kept.
      pairing: who is whose partner.
      seed: of the run.
      rank: of this process.
      axes: letters of the axes that boxes lie on, as for `Mixer`.
      options: all that `DataLoader` takes. A `collate_fn` of your own runs first.

    Raises:
      MixError: a data set without indices, ``batch_size=None``, a field that does not fit.

    Example:
      >>> import numpy as np
      >>> from batchmix.fields import Image, Labels
      >>> rows = [(np.full((8, 8, 3), i, np.uint8), i % 10) for i in range(100)]
      >>> fields = {0: Image("NHWC"), 1: Labels(10)}
      >>> loader = MixLoader(rows, bm.policies.CutMix(), fields, batch_size=25, shuffle=True)
      >>> images, targets = next(iter(loader))
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([25, 10]))

    Differs from: timm and torchvision in a `collate_fn` draw from the generators of each worker.
    """

    def __init__(
        self,
        dataset: Any,
        policy: Policy | None,
        fields: Mapping[Any, Field],
        *,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = 0,
        rank: int = 0,
        axes: str | None = None,
        **options: Any,
    ) -> None:
        asked = DataLoader(dataset, **options)
        if isinstance(dataset, IterableDataset) or asked.batch_sampler is None:
            raise mix_error(
                "MixLoader", f"got a {type(dataset).__name__} and batch_size={asked.batch_size}.",
                "Batches are numbered where their indices are chosen.",
                "Mix what the loader gives: Mixer or MixModule.",
            )  # fmt: skip
        mixer = bm.Mixer(policy, fields, pairing=pairing, seed=seed, rank=rank, axes=axes)
        order = None
        if options.get("shuffle") and options.get("generator") is None:
            order = asked.sampler.generator = torch.Generator()
        batches = Numbered(asked.batch_sampler, bm.Key(seed, rank=rank), order)
        options = {name: value for name, value in options.items() if name not in _BATCHING}
        options["collate_fn"] = Collate(mixer, options.get("collate_fn"))
        super().__init__(Indexed(dataset), batch_sampler=batches, **options)
        self.epoch = self.step = 0

    def __iter__(self) -> Iterator[Any]:
        """One pass: of the epoch that was set, else of the next one."""
        self.epoch, self.step = self.batch_sampler.epoch, self.batch_sampler.skip
        for batch in super().__iter__():
            self.step += 1  # counts batches given out, not those fetched ahead
            yield batch
        self.epoch, self.step = self.epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, from 0, also of a sampler that counts epochs."""
        self.batch_sampler.set_epoch(epoch)
        self.epoch, self.step = self.batch_sampler.epoch, self.batch_sampler.skip

    def state_dict(self) -> dict[str, int]:
        """The seed, the epoch, and how many batches of it the loader has given out."""
        return {"seed": self.batch_sampler.key.seed, "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Make the next pass go on from where `state_dict` was called; earlier rows are not read.

        Raises:
          MixError: a state of another kind, or of another seed.
        """
        seed = self.batch_sampler.key.seed
        if sorted(state) != ["epoch", "seed", "step"] or state["seed"] != seed:
            raise mix_error(
                "MixLoader.load_state_dict()", f"got {dict(state)!r}; this loader has seed={seed}.",
                "The state has seed, epoch and step, and mixes belong to a seed.",
                "Pass what state_dict() returned, and make the loader with that seed.",
            )  # fmt: skip
        self.batch_sampler.epoch, self.batch_sampler.skip = state["epoch"], state["step"]
        self.set_epoch(state["epoch"])


class MixCollate:
    """A `collate_fn` that mixes, for a `DataLoader` that you make yourself.

    The number of a batch is counted: a loader deals its batches to its workers in turn, so that 0,
    1, 2 and 4 workers give equal batches, started anew or kept. Call `set_epoch` before each pass;
    it reaches workers that run already. `MixLoader` needs no count: use it where a pass may end
    early, or with ``in_order=False``.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}, as for `Mixer`. Fields that are not named are kept.
      collate_fn: makes a batch of the rows, before mixing. Left out, PyTorch's own is used, and
        images are mixed while they are stacked.
      options: `pairing`, `seed`, `rank`, `axes`, as for `Mixer`.

    Raises:
      MixError: in a worker that begins a pass without a `set_epoch` of its own.

    Example:
      >>> import numpy as np
      >>> from batchmix.fields import Image, Labels
      >>> rows = [(np.full((8, 8, 3), i, np.uint8), i % 10) for i in range(100)]
      >>> mix = MixCollate(bm.policies.CutMix(), {0: Image("NHWC"), 1: Labels(10)}, seed=0)
      >>> mix.set_epoch(0)
      >>> images, targets = next(iter(DataLoader(rows, 25, collate_fn=mix)))
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([25, 10]))

    Differs from: timm's `FastCollateMixup` draws from the generator of each worker, writes to the
    data set's own arrays in two modes, and its off-switch does not reach workers that run already.
    """

    def __init__(
        self,
        policy: Policy | None,
        fields: Mapping[Any, Field],
        *,
        collate_fn: Any = None,
        **options: Any,
    ) -> None:
        self.mixed = Collate(bm.Mixer(policy, fields, **options), collate_fn)
        self.count = BatchCount(
            "MixCollate",
            "Call mix.set_epoch(epoch) before each pass, or use MixLoader.",
            strict=True,
        )

    def __call__(self, rows: list[Any]) -> Any:
        """A mixed batch of tensors."""
        epoch, step = self.count.next()
        return self.mixed([bm.Key(0, epoch, step), *rows])

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin a pass; with `step`, one whose first batches are not read."""
        self.count.set_epoch(epoch, step)


class MixModule(nn.Module):  # type: ignore[misc]
    """Mix a batch on the device where it is, in training mode only.

    In evaluation mode the same batch is returned: ids stay ids.

    Args:
      policy, fields: as for `Mixer`.
      options: `pairing`, `seed`, `rank`, `axes`, as for `Mixer`.

    Example:
      >>> import torch
      >>> from batchmix.fields import Image, Labels
      >>> mix = MixModule(bm.policies.MixUp(0.2), {0: Image("NCHW"), 1: Labels(10)}, seed=0)
      >>> batch = torch.rand(4, 3, 8, 8), torch.tensor([1, 2, 3, 4])
      >>> mix(batch)[1].shape, mix.eval()(batch) is batch
      (torch.Size([4, 10]), True)

    Differs from: timm, torchvision and kornia put no state into a checkpoint. Here seed, epoch and
    step are in the module's `state_dict`, so a resumed run goes on with the same mixes.
    """

    def __init__(self, policy: Policy | None, fields: Mapping[Any, Field], **options: Any) -> None:
        super().__init__()
        self.mixer = bm.Mixer(policy, fields, **options)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # plans are drawn on the host
    def forward(self, batch: Any) -> Any:
        """A mixed copy of `batch`, or `batch`."""
        return self.mixer(batch) if self.training else batch

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self.mixer.set_epoch(epoch)

    def get_extra_state(self) -> torch.Tensor:
        """Seed, epoch and step, int64 [3]: a tensor, so that any checkpoint format takes it."""
        return torch.tensor(list(self.mixer.state_dict().values()))

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Go on from there."""
        self.mixer.load_state_dict(dict(zip(self.mixer.state_dict(), state.tolist())))
