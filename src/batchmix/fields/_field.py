"""What a field is, and the one that does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from batchmix._plan import Plan


class Field(Protocol):
    """Anything with this method is a field.

    What policies and pairings may read has a `hint`, the name that they read it by, and may say
    with ``read(value, size, name, rows)`` what they are handed. One that lies on a grid also has
    a `layout`. One that can write into the batch has an argument `out`, and
    ``check(value, plan, other)``, which raises what the call with ``out=value`` would raise.
    """

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        """What becomes of `value`; `other` is the same part of the batch of partners."""
        ...


@dataclass(frozen=True)
class Keep:
    """Stays as it is, and says so where a reader might wonder: names, paths, the original label.

    Example:
      >>> import batchmix as bm
      >>> Keep()(["a.jpg", "b.jpg"], bm.Plan.identity(2))
      ['a.jpg', 'b.jpg']
    """

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return value
