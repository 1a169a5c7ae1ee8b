"""Mixer: a policy and the fields it acts on, as one callable for a training loop."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import operator
from collections.abc import Mapping
from typing import Any

from batchmix._draw import draw
from batchmix._errors import MixError, mix_error
from batchmix._mix import shape_of
from batchmix._plan import Key, Plan
from batchmix.backends import backend_of, called_as_is, is_traced
from batchmix.fields import Field
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy


@called_as_is
class Mixer:
    """Draw a plan for each batch and apply it to the fields that are named.

    Fields that are not named are kept as they are. The plan depends on (seed, epoch, step, rank)
    alone: not on the number of workers, not on any global generator.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {where in the batch: what it is}. Where: an index of a tuple or list, a key of a dict,
        an attribute of a dataclass, or a tuple of these for a nested place.
      pairing: who is whose partner.
      seed: of the run.
      rank: of this process.
      axes: letters of the axes that boxes lie on. Left out: the letters that all fields with a
        layout share, without N and C, and without T where space remains (a box in a video spans
        all of its frames).

    Raises:
      MixError: a field that is missing or does not fit, at the call.

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
        seed: int = 0,
        rank: int = 0,
        axes: str | None = None,
    ) -> None:
        self.policy, self.fields, self.pairing = policy, dict(fields), pairing
        self.seed, self.rank, self.axes = seed, rank, axes
        self.epoch = self.step = 0

    def __call__(
        self, batch: Any, step: int | None = None, epoch: int | None = None, *, other: Any = None
    ) -> Any:
        """A mixed copy of `batch`: same structure, dtypes and devices.

        Args:
          batch: tuple, list, dict, dataclass, nested or not.
          step: number of the batch in its epoch; left out, the mixer counts. In a graph of
            TensorFlow, as in `Dataset.map`, or a jitted function of JAX it may be a traced number:
            each run then draws on the host.
          epoch: number of the pass over the data; left out, the one set last.
          other: a second batch of the same form, to take the partners from.

        Raises:
          MixError: a field that is missing or does not fit; no step in a function that is being
            traced, where the count would be read once and every call would repeat one mix.
        """
        return self.apply(batch, self.draw(batch, step, epoch), other=other)

    @called_as_is
    def draw(self, batch: Any, step: int | None = None, epoch: int | None = None) -> Plan:
        """The plan for `batch`, of which only the sizes are looked at."""
        rows, size, x = self._sizes(batch)
        if step is None:
            if is_traced(x):
                raise _traced("no `step`, in a function that is traced once and run many times.")
            if epoch is not None and epoch != self.epoch:
                self.set_epoch(epoch)
            step, epoch = self.step, self.epoch
            self.step += 1
        at = [_number(self.epoch if epoch is None else epoch), _number(step)]

        def make(epoch: int, step: int, rows: int) -> Plan:
            key = Key(self.seed, epoch, step, self.rank)
            return draw(self.policy, key, rows, size, pairing=self.pairing)

        if rows is not None and not any(map(is_traced, at)):
            return make(at[0], at[1], rows)
        b = backend_of(x, "Mixer")
        if any(is_traced(n) and backend_of(n, "Mixer") is not b for n in at):
            raise _traced(f"step={step!r}, which has no value yet.")
        return b.drawn(make, at, rows, x)

    @called_as_is
    def apply(self, batch: Any, plan: Plan, *, other: Any = None) -> Any:
        """A copy of `batch` with `plan` executed on the fields that are named."""
        mixed = batch
        for place, field in self.fields.items():
            partners = None if other is None else _get(other, place)
            mixed = _replaced(mixed, _path(place), field(_get(batch, place), plan, partners))
        return mixed

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self.epoch, self.step = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Where the mixer is in its stream; the rank is the process's own and not in it."""
        return {"seed": self.seed, "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from where `state_dict` was called."""
        if sorted(state) != ["epoch", "seed", "step"]:
            raise mix_error(
                "Mixer.load_state_dict()",
                f"got the entries {sorted(state)}.",
                "The state has seed, epoch and step.",
                "Pass what state_dict() returned.",
            )
        self.seed, self.epoch, self.step = (int(state[k]) for k in ("seed", "epoch", "step"))

    def _sizes(self, batch: Any) -> tuple[int | None, dict[str, int], Any]:
        """Number of rows (None in a graph that does not know), cells of each axis, an array."""
        first, shared = None, None
        sizes: dict[str, tuple[int, Any]] = {}
        for place, field in self.fields.items():
            value, layout = _get(batch, place), getattr(field, "layout", None)
            shape = shape_of(value, "Mixer") if hasattr(value, "shape") else ()
            if first is None and shape:
                first = value
            if layout is None or len(layout) != len(shape):
                continue  # the field itself says what does not fit
            for axis, n in zip(layout, shape):
                if axis == "C" or n is None:
                    continue
                if sizes.setdefault(axis, (n, place))[0] != n:
                    raise _sizes_differ(axis, place, n, *sizes[axis])
            shared = [a for a in layout if a not in "NC" and (shared is None or a in shared)]
        if first is None:
            raise mix_error(
                "Mixer", f"none of the fields {list(self.fields)} is an array.",
                "The number of rows is read from them.", "Name the images or the labels.",
            )  # fmt: skip
        axes = "".join(shared or ()) if self.axes is None else self.axes
        if self.axes is None and axes != "T":
            axes = axes.replace("T", "")
        missing = [a for a in axes if a not in sizes]
        if missing:
            raise mix_error(
                "Mixer", f"got axes={axes!r}; no field has an axis {missing[0]!r} of known size.",
                "Boxes lie on axes of the batch, in cells that are counted before drawing.",
                f"Choose among {sorted(sizes)}, or resize first.",
            )  # fmt: skip
        return first.shape[0], {axis: sizes[axis][0] for axis in axes}, first


def _traced(got: str) -> MixError:
    """What Python counts or draws in a traced function happens once, and is repeated."""
    return mix_error(
        "Mixer", f"got {got}", "A plan is drawn on the host, by the number of the batch.",
        "Draw outside and pass the plan: mixer.apply(batch, plan). In a data pipeline of "
        "TensorFlow pass its index: data.enumerate().map(lambda i, batch: mixer(batch, step=i)).",
    )  # fmt: skip


def _number(n: Any) -> Any:
    """An integer of any framework as Python's; what is none is left for `draw` to refuse."""
    try:
        return operator.index(n)
    except TypeError:
        return n


def _sizes_differ(axis: str, place: Any, n: int, first: int, at: Any) -> MixError:
    """Two fields of one batch disagree."""
    return mix_error(
        "Mixer", f"field {place!r} has {axis}={n}, field {at!r} has {axis}={first}.",
        "One plan acts on all fields, cell by cell.", "Resize one of them before mixing.",
    )  # fmt: skip


def _path(place: Any) -> tuple[Any, ...]:
    """A place in the batch as a path of one or more steps."""
    return place if isinstance(place, tuple) else (place,)


def _get(batch: Any, place: Any) -> Any:
    """What is at a place."""
    for step in _path(place):
        if dataclasses.is_dataclass(batch):
            names: list[Any] = [f.name for f in dataclasses.fields(batch)]
        else:
            names = list(batch) if isinstance(batch, Mapping) else list(range(len(batch)))
        if step not in names:
            near = difflib.get_close_matches(str(step), [str(n) for n in names], 1)
            raise mix_error(
                "Mixer", f"field {step!r} is not in the batch; it has {names}.",
                "Every named field must be present.",
                f"Did you mean {near[0]!r}?" if near else "Name one of these.",
            )  # fmt: skip
        batch = getattr(batch, step) if dataclasses.is_dataclass(batch) else batch[step]
    return batch


def _replaced(batch: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A shallow copy of `batch` with another value at the end of `path`."""
    if not path:
        return value
    step = path[0]
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(
            batch, **{step: _replaced(getattr(batch, step), path[1:], value)}
        )
    inner = _replaced(batch[step], path[1:], value)
    if isinstance(batch, tuple):
        parts = [inner if k == step else part for k, part in enumerate(batch)]
        return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)
    new = copy.copy(batch)
    new[step] = inner
    return new
