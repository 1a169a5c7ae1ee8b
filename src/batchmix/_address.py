"""Where in its stream a Mixer is: its epoch and step, as told or counted, never assumed."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Mapping
from typing import Any

from batchmix._errors import MixError, mix_error
from batchmix._key import Untold

counting = threading.Lock()  # of every Mixer; held over a fork, so that no child waits for it
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=counting.acquire, after_in_parent=counting.release, after_in_child=counting.release
    )


def traced(got: str) -> MixError:
    """What Python counts or draws in a traced function happens once, and is repeated."""
    return mix_error(
        "Mixer", f"got {got}", "A plan is drawn on the host, by the number of the batch.",
        "Draw outside and pass the plan, mixer.apply(batch, plan), or make both arguments of the "
        "compiled function: mixer(batch, step=step, epoch=epoch). In a pipeline of TensorFlow: "
        "data.apply(batchmix.adapters.tensorflow.MixBatches(mixer)).",
    )  # fmt: skip


def checked_epoch(epoch: Any, where: str = "Mixer") -> int:
    """The number of a pass as Python's integer."""
    number = number_of(epoch)
    if not isinstance(number, int) or number < 0:
        raise mix_error(
            where, f"got epoch={epoch!r}.", "It is the number of the pass over the data, from 0.",
            "Pass an integer.",
        )  # fmt: skip
    return number


def number_of(n: Any) -> Any:
    """An integer of any framework as Python's; what is none is left for `draw` to refuse."""
    try:
        return n if isinstance(n, Untold) else operator.index(n)
    except TypeError:
        return n


def copied() -> MixError:
    """A count in one of several copies of the program."""
    return mix_error(
        "Mixer", "it is to count batches in a worker of a DataLoader.",
        "Each worker has a copy, which would count alone and repeat the mixes of the others.",
        "Use MixLoader(dataset, mixer) or collate_fn=MixCollate(mixer) of batchmix.adapters.torch, "
        "or mix what the loader gives.",
    )  # fmt: skip


def checked_state(where: str, state: Mapping[str, Any], seed: int, **alike: int) -> dict[str, int]:
    """The seed, epoch and step of a state; a seed that was given here is that of the state.

    `alike` are more entries, which have to be these where the state is in the middle of an epoch.
    """
    names = ["seed", "epoch", "step", *alike]
    if not isinstance(state, Mapping) or {*state} - {"told"} != {*names}:
        raise mix_error(
            where, f"got {state!r}.",
            f"The state has {', '.join(names[:-1])} and {names[-1]}.",
            "Pass what state_dict() returned.",
        )  # fmt: skip
    numbers = {name: number_of(value) for name, value in state.items()}
    if not all(isinstance(n, int) and n >= 0 for n in numbers.values()):
        raise mix_error(
            where, f"got {dict(state)}.", "Each entry is an integer >= 0.",
            "Pass what state_dict() returned.",
        )  # fmt: skip
    if numbers["seed"] != seed and not isinstance(seed, Untold):
        raise mix_error(
            where, f"got a state of seed={numbers['seed']}; seed={seed} is set here.",
            "Mixes belong to a seed.", "Make it with the seed of the state, or do not load it.",
        )  # fmt: skip
    other = {name: numbers[name] for name, here in alike.items() if numbers[name] != here}
    if numbers["step"] and other:
        raise mix_error(
            where, f"got a state of {other} in the middle of an epoch; here it is {alike}.",
            "Steps count batches, which would be others.",
            "Make it as it was, or load a state of the end of an epoch.",
        )  # fmt: skip
    if not numbers.pop("told", True):
        numbers["epoch"] = Untold(numbers["epoch"])
    return numbers
