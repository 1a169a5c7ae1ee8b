"""How many processes a run has, by --devices or by the launcher that started this one."""

from __future__ import annotations

import os
from typing import NamedTuple

from batchmix._errors import mix_error


class Processes(NamedTuple):
    """Processes of a run: on each machine, machines, and which of all this one is."""

    devices: int
    nodes: int
    rank: int


def processes(devices: int | None) -> Processes:
    """What torchrun and its like say in the environment counts; --devices may only repeat it."""
    launched = "RANK" in os.environ or "LOCAL_RANK" in os.environ
    world = _number("WORLD_SIZE", 1) if launched else 1
    rank = _number("RANK", _number("LOCAL_RANK", 0)) if launched else 0
    if max(world, devices or 1) > 1:  # torch's own lines about a lost process, beside ours
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    if world == 1:
        return Processes(devices or 1, 1, rank)
    here = _number("LOCAL_WORLD_SIZE", devices or world)
    if world % here or not 0 <= rank < world or (devices or here) != here:
        raise mix_error(
            "--devices",
            f"got {devices}; the launcher says WORLD_SIZE={world}, LOCAL_WORLD_SIZE={here} and "
            f"RANK={rank}.",
            "The launcher has started the processes of this run.",
            "Leave --devices out, or start batchmix without the launcher.",
        )
    return Processes(here, world // here, rank)


def _number(name: str, default: int) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdecimal() else default
