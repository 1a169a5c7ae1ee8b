"""For adapters of your own: what they need beyond the public names, and nothing of the inside.

A framework that a Mixer is to be at home in needs an adapter: code that finds the batch, its number
and its epoch, and hands them over. Ours use this module and the public names only.

Of the public names it needs `bm.Plan`, `bm.Key`, `bm.draw` and `bm.MixError`; a policy of your own
gets a `batchmix.policies.Request` and gives a `batchmix.policies.Paste`.

- `mix_error(where, got, rule, fix)`: the one way in which messages are built.
- `COLUMNS`, `Plan.columns()` and `Plan.unchecked()`: the arrays of a plan, to move it row by row or
  to rebuild it from a framework's own arrays.
- `get_at(batch, path)`, `replaced_at(batch, path, value)`, `path_of(place)`: the parts of a batch.
- `backend_of(x, where)`: the functions of the framework that an array is of, for code that is to
  run in all of them.
- `called_as_is`: marks a function that TensorFlow's AutoGraph is not to convert.
"""

from batchmix._columns import COLUMNS, Column
from batchmix._errors import mix_error
from batchmix._tree import get_at, path_of, replaced_at
from batchmix.backends import backend_of, called_as_is

__all__ = [
    "COLUMNS",
    "Column",
    "backend_of",
    "called_as_is",
    "get_at",
    "mix_error",
    "path_of",
    "replaced_at",
]
