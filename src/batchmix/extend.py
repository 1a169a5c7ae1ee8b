"""For adapters of your own: what they need beyond the public names, and nothing of the inside.

A framework that a Mixer is to be at home in needs an adapter: code that finds the batch, its number
and its epoch, and hands them over. Ours use this module and the public names only.

Of the public names it needs `bm.Mixer`, `bm.Plan`, `bm.Key` and `bm.MixError`; a policy of your own
gets a `batchmix.policies.Request` and gives a `batchmix.policies.Paste`.

- `mixer_of(where, given, ...)`: the Mixer that an adapter is to use.
- `Untold(n)`: the epoch of a pass, where nobody told the adapter which it is.
- `checked_epoch(epoch, where)` and `checked_state(where, state, seed, ...)`: what an adapter that
  counts is told.
- `process_rank()`: what a Mixer of ``rank=None`` asks; an adapter that knows better says so.
- `mix_error(where, got, rule, fix)`: the one way in which messages are built.
- `COLUMNS`, `Plan.columns()` and `Plan.unchecked()`: the arrays of a plan, to move it row by row or
  to rebuild it from a framework's own arrays.
- `get_at(batch, path)`, `replaced_at(batch, path, value)`, `path_of(place)`: the parts of a batch.
- `backend_of(x, where)`: the functions of the framework that an array is of, for code that is to
  run in all of them.
- `called_as_is`: marks a function that TensorFlow's AutoGraph is not to convert.
"""

from typing import Any

from batchmix._address import checked_epoch, checked_state
from batchmix._columns import COLUMNS, Column
from batchmix._errors import mix_error
from batchmix._key import Untold
from batchmix._mixer import Mixer
from batchmix._tree import get_at, path_of, replaced_at
from batchmix.backends import backend_of, called_as_is
from batchmix.backends._process import process_rank
from batchmix.policies._paste import check_policy

__all__ = [
    "COLUMNS",
    "Column",
    "Untold",
    "backend_of",
    "called_as_is",
    "checked_epoch",
    "checked_state",
    "get_at",
    "mix_error",
    "mixer_of",
    "path_of",
    "process_rank",
    "replaced_at",
]


def mixer_of(where: str, given: Any, *, names: str = "", **options: Any) -> tuple[Mixer, bool]:
    """The mixer of an adapter, and whether its fields say what is mixed.

    Args:
      where: name of the adapter, for messages.
      given: a Mixer. Where the host itself names the parts of a batch, a policy will do.
      names: the host's own names, for the message; empty where it has none.
      options: for the Mixer that is made of a policy: `pairing`, `seed`, `rank`, `axes`.

    Returns:
      (mixer, named). Without `named` its fields are empty, and the adapter says what they are:
      ``mixer.but(fields=...)``.

    Raises:
      MixError: no Mixer where one is needed, options beside a Mixer, or no policy.

    Example:
      >>> import batchmix as bm
      >>> mixer, named = mixer_of("MixCallback", bm.policies.MixUp(), names="xb and yb", seed=7)
      >>> mixer.seed, named
      (7, False)
    """
    if isinstance(given, Mixer):
        if options:
            raise mix_error(
                where, f"got a Mixer and {', '.join(sorted(options))}.",
                "A Mixer has options of its own.", "Give them to the Mixer.",
            )  # fmt: skip
        if names or given.fields:
            return given, bool(given.fields)
    if not names:
        raise mix_error(
            where, "its Mixer has no fields." if isinstance(given, Mixer) else f"got {given!r}.",
            "It mixes what a Mixer says.",
            "Pass for example Mixer(CutMix(), {0: Image('NCHW'), 1: Labels(10)}, seed=0).",
        )  # fmt: skip
    if given is not None:
        check_policy(where, given)
    return Mixer(given, {}, **options), False
