"""Mix the rows of a training batch: MixUp, CutMix and their relatives.

A plan says, for each row: paste `source` of row `partner` over `box` at `opacity`, through
`mask`. Drawing a plan needs NumPy and a key. Applying one needs no randomness. Everything else is
an adapter.
"""

import typing as _typing

from batchmix import fields, losses, pairing, policies, recipes
from batchmix import metrics as metrics  # a module of many names, beside those of the first page
from batchmix._audit import audit
from batchmix._draw import draw
from batchmix._errors import MixError
from batchmix._key import Key
from batchmix._labels import mix_labels
from batchmix._mix import mix
from batchmix._mixer import Mixer
from batchmix._pairs import pairs, parts
from batchmix._plan import Plan
from batchmix._stack import mix_normalize, mix_stack
from batchmix._stats import stats

if _typing.TYPE_CHECKING:
    from batchmix._show import show as show

__version__ = "0.1.0"

__all__ = [
    "Key",
    "MixError",
    "Mixer",
    "Plan",
    "audit",
    "draw",
    "fields",
    "losses",
    "mix",
    "mix_labels",
    "mix_normalize",
    "mix_stack",
    "pairing",
    "pairs",
    "parts",
    "policies",
    "recipes",
    "stats",
]


if not _typing.TYPE_CHECKING:  # or any name would be taken for one of the package

    def __getattr__(name):
        """`show`, which nobody pays for who does not look."""
        if name != "show":
            raise AttributeError(f"module 'batchmix' has no attribute {name!r}")
        from batchmix._show import show

        return show


def __dir__() -> list[str]:
    return sorted([*globals(), "show"])
