"""The address of a plan."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """The address of a plan: equal keys give equal plans, on every machine and framework.

    Args:
      seed: the run.
      epoch: pass over the data, from 0.
      step: batch within the epoch, from 0.
      rank: process, so that two ranks never draw the same mixes.

    All four are integers >= 0, all but the seed below 2^64 (checked by `draw`).

    Example:
      >>> Key(seed=0, epoch=3, step=17)
      Key(seed=0, epoch=3, step=17, rank=0)
    """

    seed: int
    epoch: int = 0
    step: int = 0
    rank: int = 0


class Untold(int):
    """A number that stands in for one that nobody told.

    As the epoch of a key it tells passes over the data apart, and a policy that looks at it is
    refused (see `draw`). As a seed it gives way to that of a state.
    """
