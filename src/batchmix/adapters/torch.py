"""PyTorch: batches mixed in a DataLoader's workers, and mixing after the transfer to the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import batchmix as bm
from batchmix.adapters._count import BatchCount
from batchmix.adapters._loading import Collate, Indexed, Numbered, as_given
from batchmix.adapters.torch_graph import PlanBuffer
from batchmix.extend import Untold, checked_epoch, checked_state, mix_error, mixer_of

__all__ = ["MixCollate", "MixLoader", "MixModule", "PlanBuffer"]

_STATE = ("seed", "epoch", "step", "told")
_BATCHING = ("batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


class MixLoader(DataLoader):  # type: ignore[misc]
    """A `DataLoader` whose batches are mixed in its workers, each by its number.

    A worker is told the number of a batch together with its indices, so mixes depend on
    (seed, epoch, number of the batch, rank) alone, for any number of workers. Images are mixed
    while they are stacked, 8-bit ones as 8 bits. With ``shuffle=True`` and no `generator`, the
    order of rows follows from (seed, epoch), and is that of every rank.

    Args:
      dataset: with indices; its arrays are not written to. `loader.dataset.dataset` is this one.
      mixer: a `batchmix.Mixer`, which says what is mixed and how. Where its rank was left out, the
        sampler is asked (a `DistributedSampler` has one), else the process.
      options: all that `DataLoader` takes. A `collate_fn` of your own runs first.

    Raises:
      MixError: no mixer, a data set without indices, ``batch_size=None``, a field that does not
        fit.

    Example:
      >>> import numpy as np
      >>> from batchmix.fields import Image, Labels
      >>> rows = [(np.full((8, 8, 3), i, np.uint8), i % 10) for i in range(100)]
      >>> mixer = bm.Mixer(bm.policies.CutMix(), {0: Image("NHWC"), 1: Labels(10)}, seed=0)
      >>> loader = MixLoader(rows, mixer, batch_size=25, shuffle=True)
      >>> images, targets = next(iter(loader))
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([25, 10]))

    Differs from: timm and torchvision in a `collate_fn` draw from the generators of each worker.
    """

    def __init__(self, dataset: Any, mixer: bm.Mixer, **options: Any) -> None:
        self.mixer, _ = mixer_of("MixLoader", mixer)
        dataset, options = as_given(dataset, options)
        if isinstance(options.get("collate_fn"), MixCollate):
            raise mix_error(
                "MixLoader", "its collate_fn is a MixCollate.", "A batch is mixed once.",
                "Pass the collate function that the MixCollate has, or use a DataLoader.",
            )  # fmt: skip
        asked = DataLoader(dataset, **options)
        if isinstance(dataset, IterableDataset) or asked.batch_sampler is None:
            raise mix_error(
                "MixLoader", f"got a {type(dataset).__name__} and batch_size={asked.batch_size}.",
                "Batches are numbered where their indices are chosen.",
                "Mix what the loader gives: Mixer or MixModule.",
            )  # fmt: skip
        shuffled = bool(options.get("shuffle")) and options.get("generator") is None
        batches = Numbered(asked.batch_sampler, seed=mixer.seed, shuffled=shuffled)
        if mixer.rank is None:
            mixer = mixer.but(rank=getattr(batches.sampler, "rank", None))
        options = {name: value for name, value in options.items() if name not in _BATCHING}
        options["collate_fn"] = Collate(mixer, options.get("collate_fn"))
        super().__init__(Indexed(dataset), batch_sampler=batches, **options)
        # what a DataLoader with a batch sampler would not say
        said = {"batch_size": asked.batch_size, "drop_last": asked.drop_last}
        self.__dict__.update(said, sampler=batches.sampler)

    def __iter__(self) -> Iterator[Any]:
        """One pass: of the epoch that was set, else of the next one."""
        batches, length = self.batch_sampler, self._batches()["batches"]
        epoch, step = batches.next()
        at = batches.at = [epoch, step]
        for batch in super().__iter__():
            at[1] += 1  # counts batches given out, not those fetched ahead
            if at[1] == length:
                batches.ended(at)
            yield batch
        batches.ended(at)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass, from 0, also of a sampler that counts epochs."""
        self.batch_sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """The place of the next batch, and the size and number of batches for which it holds.

        Batches count that were given out; after the last one it is the start of the next epoch.
        """
        batches = self.batch_sampler
        epoch, step = batches.at or (batches.epoch, batches.skip)
        place = {"seed": int(batches.seed), "epoch": int(epoch), "step": step}
        if isinstance(epoch, Untold):
            place |= {"told": False, "order": batches.order}
        return place | self._batches()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Make the next pass go on from where `state_dict` was called; earlier rows are not read.

        Raises:
          MixError: a state of another kind, of another seed than the one that was given, or in the
            middle of an epoch of other batches.
        """
        where, batches = "MixLoader.load_state_dict()", self.batch_sampler
        known = dict(state) if isinstance(state, Mapping) else {}
        order = known.pop("order", None)
        found = checked_state(where, known, batches.seed, **self._batches())
        epoch, step, length = found["epoch"], found["step"], found["batches"]
        if step >= length > 0:
            raise mix_error(
                where, f"got step={step} of an epoch of {length} batches.",
                "The state of the end of an epoch is step 0 of the next.",
                "Pass what state_dict() returned.",
            )  # fmt: skip
        if isinstance(batches.seed, Untold):
            batches.seed = Untold(found["seed"])
        batches.resumed = epoch, step
        batches.set_epoch(epoch)
        batches.order = batches.order if order is None else checked_epoch(order, where)

    def _batches(self) -> dict[str, int]:
        """Number and size of the batches, 0 where a sampler of your own does not know."""
        try:
            return {"batches": len(self), "batch_size": self.batch_size or 0}
        except TypeError:
            return {"batches": 0, "batch_size": self.batch_size or 0}


class MixCollate:
    """A `collate_fn` that mixes, for a `DataLoader` that you make yourself.

    The number of a batch is counted: a loader deals its batches to its workers in turn, so that 0,
    1, 2 and 4 workers give equal batches, started anew or kept. Call `set_epoch` before each pass;
    it reaches workers that run already. `MixLoader` needs no count: use it where a pass may end
    early, or with ``in_order=False``.

    Args:
      mixer: a `batchmix.Mixer`, which says what is mixed and how; its own count is not used.
      collate_fn: makes a batch of the rows, before mixing. Left out, PyTorch's own is used, and
        images are mixed while they are stacked.

    Raises:
      MixError: no mixer; in a worker that begins a pass without a `set_epoch` of its own.

    Example:
      >>> import numpy as np
      >>> from batchmix.fields import Image, Labels
      >>> rows = [(np.full((8, 8, 3), i, np.uint8), i % 10) for i in range(100)]
      >>> mix = MixCollate(bm.Mixer(bm.policies.CutMix(), {0: Image("NHWC"), 1: Labels(10)}))
      >>> mix.set_epoch(0)
      >>> images, targets = next(iter(DataLoader(rows, 25, collate_fn=mix)))
      >>> images.dtype, targets.shape
      (torch.uint8, torch.Size([25, 10]))

    Differs from: timm's `FastCollateMixup` draws from the generator of each worker, writes to the
    data set's own arrays in two modes, and its off-switch does not reach workers that run already.
    """

    def __init__(self, mixer: bm.Mixer, collate_fn: Any = None) -> None:
        mixer, _ = mixer_of("MixCollate", mixer)
        self.mixed = Collate(mixer, collate_fn)
        self.count = BatchCount(
            "MixCollate",
            "Call mix.set_epoch(epoch) before each pass, or use MixLoader.",
            strict=True,
        )

    def __call__(self, rows: list[Any]) -> Any:
        """A mixed batch of tensors."""
        epoch, step = self.count.next()
        return self.mixed([bm.Key(self.mixed.mixer.seed, epoch, step), *rows])

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin a pass; with `step`, one whose first batches are not read."""
        self.count.set_epoch(epoch, step)


class MixModule(nn.Module):  # type: ignore[misc]
    """Mix a batch on the device where it is, in training mode only.

    In evaluation mode the same batch is returned: ids stay ids. Let it stand beside the model, with
    a state of its own in the checkpoint: as a part of the model it makes the model's checkpoint one
    that another model cannot load strictly, and its place goes along where weights are reused.

    Args:
      mixer: a `batchmix.Mixer`, which says what is mixed and how. The module counts for itself.

    Raises:
      MixError: no mixer.
      RuntimeError: a state of another seed than the one that was given, unless it is loaded with
        ``strict=False``, which passes it over. A state without the module's own is no error.

    Example:
      >>> import torch
      >>> from batchmix.fields import Image, Labels
      >>> mix = MixModule(bm.Mixer(bm.policies.MixUp(0.2), {0: Image("NCHW"), 1: Labels(10)}))
      >>> batch = torch.rand(4, 3, 8, 8), torch.tensor([1, 2, 3, 4])
      >>> mix(batch)[1].shape, mix.eval()(batch) is batch
      (torch.Size([4, 10]), True)

    Differs from: timm, torchvision and kornia put no state into a checkpoint. Here seed, epoch and
    step are in the module's `state_dict`, so a resumed run goes on with the same mixes.
    """

    def __init__(self, mixer: bm.Mixer) -> None:
        super().__init__()
        self.mixer = mixer_of("MixModule", mixer)[0].but()

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # plans are drawn on the host
    def forward(self, batch: Any) -> Any:
        """A mixed copy of `batch`, or `batch`."""
        return self.mixer(batch) if self.training else batch

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self.mixer.set_epoch(epoch)

    def get_extra_state(self) -> torch.Tensor:
        """Seed, epoch, step, told, int64 [4]: a tensor, so that any checkpoint format takes it."""
        state = {"told": True} | self.mixer.state_dict()
        return torch.tensor([int(state[name]) for name in _STATE])

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Go on from there."""
        self.mixer.load_state_dict(dict(zip(_STATE, state.tolist())))

    def _load_from_state_dict(
        self, state: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str],
        unexpected: list[str], errors: list[str],
    ) -> None:  # fmt: skip
        """PyTorch tells only its own lists whether a load is strict: what is in them is refused."""
        name, own = f"{prefix}_extra_state", self.get_extra_state()
        here, given = int(own[0]), int(state.get(name, own)[0])
        if given != here and not isinstance(self.mixer.seed, Untold):
            unexpected.append(f"{name} of a MixModule of seed={given}, where seed={here} is set")
            state = state | {name: own}
        state = {name: own} | state
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, unexpected, errors)
