"""What a policy is asked, and what it answers: all of a plan but who is whose partner."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import mix_error
from batchmix._key import Key

Hints = Mapping[str, NDArray[Any]]
_NONE: Hints = MappingProxyType({})


class Request(NamedTuple):
    """What a policy draws for.

    Args:
      rng: the only source of randomness; its stream is frozen across NumPy versions.
      key: address of the draw, for policies that follow a schedule.
      partner: int32 [B], who is whose partner; B is its length. Only `PerPair`, and policies that
        read hints, look at the values.
      size: cells per axis, such as {"H": 224, "W": 224}.
      row: int32 [B], which rows of the batch these are; None for all of them, in order.
      hints: what the policy `reads` of these rows, by name: arrays [B, ...].
      theirs: the same of the batch that `partner` points into.
      later: partners for the layers after the first, where the policy has some.
    """

    rng: np.random.RandomState
    key: Key
    partner: NDArray[np.int32]
    size: Mapping[str, int]
    row: NDArray[Any] | None = None
    hints: Hints = _NONE
    theirs: Hints = _NONE
    later: tuple[NDArray[np.int32], ...] = ()

    def of(self, rows: NDArray[Any]) -> Request:
        """The request for some of its rows alone; they see the partners that they have here."""
        return self._replace(
            partner=self.partner[rows],
            row=rows if self.row is None else self.row[rows],
            hints={name: hint[rows] for name, hint in self.hints.items()},
            later=tuple(partner[rows] for partner in self.later),
        )


@dataclass(frozen=True)
class Paste:
    """What is pasted on each row; the fields are those of `Plan`, one entry per row.

    `resample` is None where each source is as large as its box: it is copied, whatever the others
    do. `above`: what is pasted over that, layer by layer, from rows ``request.later`` of the batch.
    """

    box: NDArray[Any]
    opacity: NDArray[Any]
    kind: NDArray[Any]
    mask: NDArray[Any] | None = None
    source: NDArray[Any] | None = None
    label_lam: NDArray[Any] | None = None
    resample: Literal["nearest", "bilinear"] | None = "nearest"
    above: tuple[Paste, ...] = ()

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays of this layer, by name."""
        columns = {name: vars(self)[name] for name in COLUMNS}
        return {name: column for name, column in columns.items() if column is not None}

    def take(self, rows: NDArray[Any]) -> Paste:
        """The entries of `rows`, in that order, repeats allowed."""
        columns = {name: column.take(rows, 0) for name, column in self.columns().items()}
        above = tuple(paste.take(rows) for paste in self.above)
        return Paste(**columns, resample=self.resample, above=above)


COLUMNS = ("box", "opacity", "kind", "mask", "source", "label_lam")


class Policy(Protocol):
    """How much is pasted, and where. A policy is an immutable value with this one method.

    It is drawn on the host with NumPy, and sees of the batch's arrays only those that it `reads`, a
    tuple of names such as ("label", "image"). One that pastes several times says how often, in
    `layers`.
    Anything with this method is a policy: there is nothing to register or to inherit from.
    """

    def sample(self, request: Request) -> Paste:
        """Draw for `len(request.partner)` rows, in a fixed number of calls to `request.rng`."""
        ...


def check_policy(where: str, policy: Any) -> None:
    """A policy is a value with `sample`, not the class of one."""
    if isinstance(policy, type) or not callable(getattr(policy, "sample", None)):
        raise mix_error(
            where,
            f"got the policy {policy!r}.",
            "A policy is a value with a method `sample`.",
            "Pass for example MixUp(0.2), with its parentheses.",
        )


def reads_of(*values: Any) -> tuple[str, ...]:
    """The hints that policies and pairings read, each once."""
    names = [name for value in values for name in getattr(value, "reads", ())]
    return tuple(dict.fromkeys(names))


def layers_of(*policies: Any) -> int:
    """How often policies paste on a row, at most."""
    return max((int(getattr(policy, "layers", 1)) for policy in policies), default=1)


def check_layers(where: str, paste: Paste, later: int) -> None:
    """No more pastes than the policy said: each has partners of its own."""
    if len(paste.above) > later:
        raise mix_error(
            where, f"a policy that has {1 + later} layers answered with {1 + len(paste.above)}.",
            "Partners are drawn for as many layers as a policy has.", "Give it `layers`, how many.",
        )  # fmt: skip


def checked_policies(where: str, given: Any) -> tuple[Policy, ...]:
    """A list of policies as a tuple, none of what is no list; a batch is stretched in one way."""
    policies = tuple(given) if isinstance(given, Sequence) else ()
    for policy in policies:
        check_policy(where, policy)
    ways = {str(policy.resample) for policy in policies if hasattr(policy, "resample")}
    if len(ways) > 1:
        raise mix_error(
            where, f"one policy stretches {' and another '.join(sorted(ways))}.",
            "A plan stretches in one way.", "Give all of them the same `resample`.",
        )  # fmt: skip
    return policies


def whole(request: Request) -> NDArray[np.int32]:
    """int32 [B, A, 2], read-only: for each row the box that covers the grid."""
    return _boxes(len(request.partner), *request.size.values())


def alike(request: Request, opacity: float, kind: int) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """The columns `opacity` and `kind` of rows that have the same; read-only."""
    return _numbers(len(request.partner), opacity, kind)


def nothing(request: Request) -> Paste:
    """What leaves every row as it is: an empty box at opacity 0."""
    boxes = _boxes(len(request.partner), *[0] * len(request.size))
    return Paste(boxes, *alike(request, 0, -1))


# Read-only, and the same from step to step: a plan copies what it keeps.
@functools.lru_cache(64)
def _boxes(batch: int, *ends: int) -> NDArray[np.int32]:
    boxes = np.zeros((batch, len(ends), 2), np.int32)
    boxes[..., 1] = ends
    boxes.flags.writeable = False
    return boxes


@functools.lru_cache(64)
def _numbers(batch: int, opacity: float, kind: int) -> tuple[NDArray[Any], NDArray[np.int8]]:
    columns = np.full(batch, opacity, np.float64), np.full(batch, kind, np.int8)
    for column in columns:
        column.flags.writeable = False
    return columns
