"""Mix the rows of a training batch: MixUp, CutMix and their relatives.

A plan says, for each row: paste `source` of row `partner` over `box` at `opacity`, through
`mask`. Drawing a plan needs NumPy and a key. Applying one needs no randomness. Everything else is
an adapter.
"""

from batchmix import fields, losses, pairing, policies, recipes
from batchmix import metrics as metrics  # a module of many names, beside those of the first page
from batchmix._audit import audit
from batchmix._draw import draw
from batchmix._errors import MixError
from batchmix._key import Key
from batchmix._labels import mix_labels, pairs, parts
from batchmix._mix import mix
from batchmix._mixer import Mixer
from batchmix._plan import Plan
from batchmix._stack import mix_normalize, mix_stack
from batchmix._stats import stats

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
