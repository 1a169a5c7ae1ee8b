"""Mixer: a policy and the fields it acts on, as one callable for a training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchmix._address import checked_epoch, checked_state, copied, counting, number_of, traced
from batchmix._drawing import checked_hints, drawing_of
from batchmix._drawn import mixer_as_html
from batchmix._errors import mix_error
from batchmix._key import Untold
from batchmix._parts import Part, checked_fields, parts_of, with_own_memory
from batchmix._plan import Plan
from batchmix._tree import get_at, replaced_at
from batchmix.backends import called_as_is, is_traced
from batchmix.backends._process import in_loader_worker, is_spawning, known_rank
from batchmix.fields import Field
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy
from batchmix.policies._kinds import summary_of
from batchmix.policies._paste import reads_of


@called_as_is
class Mixer:
    """Draw a plan for each batch and apply it to the fields that are named.

    Fields that are not named are kept as they are. The plan depends on (seed, epoch, step, rank)
    alone: not on the number of workers, not on any global generator. A mixer counts its steps; the
    epoch it is told, by `set_epoch` or at the call. Without, steps go on from pass to pass, and a
    policy that looks at the epoch is refused.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}. Where: an index of a tuple or list, a key of a dict,
        an attribute of a dataclass, or a tuple of these for a nested place.
      pairing: who is whose partner.
      seed: of the run; left out, 0, or that of a state that is loaded.
      rank: of this process; left out, asked of it at each draw: torch.distributed or JAX where they
        are initialised, else the launcher's variable RANK; 0 only where there is one process.
      axes: letters of the axes that boxes lie on. Left out: the letters that all fields with a
        layout share, without N and C, and without T where space remains (a box in a video spans
        all of its frames).
      hints: {name: place} for what the policy or the pairing reads, where the fields do not tell:
        else the one Labels is "label", the one Image "image", the one Mask or Ids "mask", the one
        Targets "target", the one BoundingBoxes "boxes", the one Instances "instances", the one
        PaddingMask "padding", the one Audio with a waveform "audio". What is read of a device is
        copied to the host, which waits for it.
      inplace: write into the arrays of the batch that lie on a grid (images, masks, ...), which
        saves the memory and most of the time of a new batch. The result is the same. What cannot
        be written to is copied: JAX and TensorFlow arrays, read-only ones, leaves that need
        gradients, and arrays that share memory with another part of the batch. Do not use it on
        batches that are views of the data set.

    Raises:
      MixError: something that is not a field; at the call, a field that is missing or does not
        fit, before anything is written; a policy that looks at an epoch that nobody told.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> from batchmix.fields import Image, Labels
      >>> mixer = Mixer(bm.policies.CutMix(), {"image": Image("NHWC"), "label": Labels(10)})
      >>> images = np.zeros((4, 8, 8, 3), np.uint8)
      >>> mixed = mixer({"image": images, "label": np.arange(4), "id": "abcd"})
      >>> mixed["image"].dtype, mixed["label"].shape, mixed["id"]
      (dtype('uint8'), (4, 10), 'abcd')

    Differs from: torchvision guesses which part is the label, and mixes only the first plain
    tensor; Datarax averages every leaf, ids too, and lets a misspelt field pass.
    """

    def __init__(
        self,
        policy: Policy | None,
        fields: Mapping[Any, Field],
        *,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = Untold(0),
        rank: int | None = None,
        axes: str | None = None,
        inplace: bool = False,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        self.policy, self.fields, self.pairing = policy, checked_fields(fields), pairing
        self.seed, self.rank, self.axes, self.inplace = seed, rank, axes, inplace
        self.hints = checked_hints(hints, self.reads)
        self.epoch: int = Untold(0)
        self.step = 0
        self._last: Plan | None = None

    def __call__(
        self, batch: Any, step: int | None = None, epoch: int | None = None, *, other: Any = None
    ) -> Any:
        """A mixed copy of `batch`: same structure, dtypes and devices.

        Args:
          batch: tuple, list, dict, dataclass, nested or not.
          step: number of the batch in its epoch; left out, the mixer counts. In a graph of
            TensorFlow, as in `Dataset.map`, or a jitted function of JAX it may be a traced number:
            each run then draws on the host.
          epoch: number of the pass over the data; left out, the one set last. With a traced step it
            is traced too, as a compiled function would keep the one that it was traced with.
          other: a second batch of the same form, to take the partners from; any number of rows.

        Raises:
          MixError: a field that is missing or does not fit; no step, or no epoch, in a function
            that is being traced, where Python's count would be read once and repeated; no step in
            a worker of a DataLoader, where every copy of the mixer would count alone.
        """
        parts = parts_of(batch, self.fields)
        drawn, x = drawing_of(self, batch, parts, other)

        def mixed(step: Any, epoch: Any) -> Any:
            return self._mixed(batch, parts, drawn(step, epoch), other)

        return self._at(x, step, epoch, mixed)

    @called_as_is
    def draw(
        self, batch: Any, step: int | None = None, epoch: int | None = None, *, other: Any = None
    ) -> Plan:
        """The plan for `batch`, of which sizes are looked at, and what the policy reads."""
        drawn, x = drawing_of(self, batch, parts_of(batch, self.fields), other)
        plan: Plan = self._at(x, step, epoch, drawn)
        return plan

    @called_as_is
    def apply(self, batch: Any, plan: Plan, *, other: Any = None) -> Any:
        """`batch` with `plan` executed on the fields that are named."""
        return self._mixed(batch, parts_of(batch, self.fields), plan, other)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what the policy and the pairing look at in a batch."""
        return reads_of(self.policy, self.pairing)

    def _at(self, x: Any, step: Any, epoch: Any, make: Callable[[Any, Any], Any]) -> Any:
        """``make(step, epoch)`` of this batch. What is refused does not count."""
        epoch, step, before = self._address(x, step, epoch)
        try:
            return make(step, epoch)
        except BaseException:
            with counting:
                # the next batch has its number, unless another was begun
                if before is not None and (self.epoch, self.step) == (epoch, step + 1):
                    self.epoch, self.step = before
            raise

    def _address(self, x: Any, step: Any, epoch: Any) -> tuple[Any, Any, tuple[int, int] | None]:
        """Epoch and step of this batch, and where the mixer's own count was, if it counts."""
        if step is not None:
            # Untold: an adapter's, whose steps go on from epoch to epoch
            if is_traced(step) and not (is_traced(epoch) or isinstance(epoch, Untold)):
                told = "no `epoch`" if epoch is None else f"epoch={epoch!r}, which is not"
                raise traced(f"a traced `step` and {told}.")
            return number_of(self.epoch if epoch is None else epoch), number_of(step), None
        if is_traced(x) or (epoch is not None and is_traced(epoch)):
            raise traced("no `step`, in a function that is traced once and run many times.")
        if in_loader_worker():
            raise copied()
        epoch = None if epoch is None else checked_epoch(epoch)
        with counting:
            before = self.epoch, self.step
            epoch = self.epoch if epoch is None else epoch  # told now, where it was not
            step = self.step if epoch == self.epoch else 0
            self.epoch, self.step = epoch, step + 1
            return epoch, step, before

    def _mixed(self, batch: Any, parts: list[Part], plan: Plan, other: Any) -> Any:
        """The fields that write come last, after all checks: a refused batch is as it was."""
        self._last = self._last if is_traced(plan.partner) else plan
        written = with_own_memory(parts, batch, other) if self.inplace else []
        partners = [None if other is None else get_at(other, part.path) for part in parts]
        done, late = batch, list[tuple[Any, Any, Any]]()
        for part, theirs in zip(parts, partners):
            if any(part is own for own in written):
                late.append((part.field, part, theirs))
            else:
                done = replaced_at(done, part.path, part.field(part.value, plan, theirs))
        for k, (field, part, theirs) in enumerate(late):
            done = replaced_at(done, part.path, part.value)
            if k:  # the first is written first, and checks before it writes
                field.check(part.value, plan, theirs)
        for field, part, theirs in late:
            field(part.value, plan, theirs, out=part.value)
        return done

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, an integer >= 0."""
        self.epoch, self.step = checked_epoch(epoch), 0

    def but(self, **arguments: Any) -> Mixer:
        """A mixer with other arguments, and the others as they are here; its count starts anew.

        Example:
          >>> import batchmix as bm
          >>> mixer = Mixer(bm.policies.MixUp(), {0: bm.fields.Image("NCHW")}, seed=7)
          >>> mixer.but(rank=1).seed
          7
        """
        names = ("policy", "fields", "pairing", "seed", "rank", "axes", "inplace", "hints")
        return Mixer(**{name: getattr(self, name) for name in names} | arguments)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is spawned has the rank of its process, which it cannot ask there."""
        rank = known_rank() if self.rank is None and is_spawning() else self.rank
        return vars(self) | {"rank": rank, "_last": None}

    def summary(self) -> dict[str, float]:
        """What was done to the last batch, for any logger: `Plan.describe`, as "mix/lam" and so on.

        A MixError before the first batch, as where workers hold copies of the mixer.
        """
        if self._last is None:
            raise mix_error(
                "Mixer.summary()", "this mixer has mixed no batch.",
                "It tells of the last batch; workers and compiled functions mix with copies.",
                "Call it after the mixer, or describe a plan: mixer.draw(batch).describe().",
            )  # fmt: skip
        return summary_of(self._last, self.policy)

    def __repr__(self) -> str:
        return f"Mixer({self.policy}, {self.fields}, pairing={self.pairing}, {self.state_dict()})"

    _repr_html_ = mixer_as_html

    def state_dict(self) -> dict[str, int]:
        """Where the mixer is in its stream: seed, epoch, step, and `told` where nobody told it.

        The rank is the process's own and not in it.
        """
        told = {"told": False} if isinstance(self.epoch, Untold) else {}
        return {"seed": int(self.seed), "epoch": int(self.epoch), "step": self.step} | told

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from where `state_dict` was called.

        Raises:
          MixError: a state of another kind, or of another seed than the one that was given.
        """
        numbers = checked_state("Mixer.load_state_dict()", state, self.seed)
        self.seed, self.epoch, self.step = (numbers[n] for n in ("seed", "epoch", "step"))
