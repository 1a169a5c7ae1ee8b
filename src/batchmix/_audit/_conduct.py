"""Checks of how the code behaves: what it writes to, draws from, and repeats."""

from __future__ import annotations

import numpy as np

from batchmix._audit._kinds import BatchKind
from batchmix._audit._session import Session
from batchmix._audit._worst import Worst, alike, mixes


def dtypes(session: Session, kind: BatchKind) -> Worst | None:
    """Images keep their dtype."""
    for call, seen in enumerate(session.run(kind).seen):
        if seen.dtypes[0] != seen.dtypes[1]:
            return Worst(np.inf, 0, call, "{} becomes {}".format(*seen.dtypes))
    return Worst(0, 0, 0, "") if session.run(kind).seen else None


def written(session: Session, kind: BatchKind) -> Worst | None:
    """Inputs are not written to."""
    seen = session.run(kind).seen
    for call, one in enumerate(seen):
        if one.written:
            return Worst(np.inf, 0, call, f"{kind.name}: writes to {', '.join(one.written)}")
    return Worst(0, 0, 0, "") if seen else None


def drawn(session: Session, kind: BatchKind) -> Worst | None:
    """Mixes depend on a seed of their own, not on global generators."""
    first, again = (mixes(session.run(kind, turn=turn)) for turn in (0, 1))
    if names := sorted(session.run(kind).generators):
        return Worst(np.inf, 0, 0, f"draws from {', '.join(names)}")
    other = mixes(session.run(kind, seed=1))
    if alike(first, again) and not alike(first, other):
        return Worst(np.inf, 0, 0, "another global seed gives other mixes")
    return Worst(0, 0, 0, "")


def repeated(session: Session, kind: BatchKind) -> Worst | None:
    """Calls give different mixes, and so do epochs where they can be set."""
    given = mixes(session.run(kind))
    if len(given) < 2 or all(alike([m], [np.eye(kind.batch)]) for m in given):
        return None
    if all(alike([m], given[:1]) for m in given[1:]):
        return Worst(np.inf, 0, 1, f"{len(given)} calls give one mix")
    if hasattr(session.fn, "set_epoch"):
        both = mixes(session.run(kind, epochs=(0, 1)))
        if alike(both[: session.calls], both[session.calls :]):
            return Worst(np.inf, 0, 0, "epoch 1 repeats epoch 0")
    return Worst(0, 0, 0, "")
