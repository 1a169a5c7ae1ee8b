"""What a policy is asked, and what it answers: all of a plan but who is whose partner."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import absent
from batchmix._errors import mix_error
from batchmix._plan import Key


class Request(NamedTuple):
    """What a policy draws for.

    Args:
      rng: the only source of randomness; its stream is frozen across NumPy versions.
      key: address of the draw, for policies that follow a schedule.
      partner: int32 [B], who is whose partner; B is its length. Only `PerPair` reads the values.
      size: cells per axis, such as {"H": 224, "W": 224}.
    """

    rng: np.random.RandomState
    key: Key
    partner: NDArray[np.int32]
    size: Mapping[str, int]


@dataclass(frozen=True)
class Paste:
    """What is pasted on each row; the fields are those of `Plan`, one entry per row."""

    box: NDArray[Any]
    opacity: NDArray[Any]
    kind: NDArray[Any]
    mask: NDArray[Any] | None = None
    source: NDArray[Any] | None = None
    label_lam: NDArray[Any] | None = None

    def take(self, rows: NDArray[Any]) -> Paste:
        """The entries of `rows`, in that order, repeats allowed."""
        return Paste(**{name: v.take(rows, 0) for name, v in vars(self).items() if v is not None})


class Policy(Protocol):
    """How much is pasted, and where. A policy is an immutable value with this one method.

    It never sees the batch's arrays, and it is drawn on the host with NumPy. Anything with this
    method is a policy: there is nothing to register or to inherit from.
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


def drawn_by(pick: NDArray[Any], policies: Sequence[Policy | None], request: Request) -> Paste:
    """Row i as ``policies[pick[i]]`` draws it; None leaves a row alone.

    Each policy draws its own rows alone, in the order of the policies. A part that only some of
    them have is filled in.
    """
    rng, key, partner, size = request
    pastes = []
    for policy, count in zip(policies, np.bincount(pick).tolist()):
        if count:
            # partners are not among these rows: PerPair is to see that it cannot pair them
            own = Request(rng, key, _nobody(len(partner))[:count], size)
            pastes.append(nothing(own) if policy is None else policy.sample(own))
    if len(pastes) < 2:
        return pastes[0] if pastes else nothing(request)
    at = np.empty(len(pick), np.intp)  # where row i is in the draws, one after the other
    at[pick.argsort(kind="stable")] = np.arange(len(pick))
    columns = {}
    for name in vars(pastes[0]):
        values = [vars(paste)[name] for paste in pastes]
        absences = [value is None for value in values]
        if all(absences):
            continue
        if any(absences):
            cells = tuple(size.values())
            values = [
                absent(name, p.box, cells) if v is None else v for v, p in zip(values, pastes)
            ]
        columns[name] = np.concatenate(values).take(at, 0)
    return Paste(**columns)


@functools.lru_cache(64)
def _nobody(batch: int) -> NDArray[np.int32]:
    return np.full(batch, -1, np.int32)
