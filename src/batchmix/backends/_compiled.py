"""What backends share whose arrays cannot be written to and whose steps are compiled: JAX, TF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from batchmix._columns import PIXELS
from batchmix._errors import mix_error
from batchmix._plan import Plan


def columns_read(plan: Plan) -> dict[str, Any]:
    """Those that the plan has, and not the plan itself, which a compiler need not know."""
    columns = {name: getattr(plan, name) for name in PIXELS}
    return {name: value for name, value in columns.items() if value is not None}


def overlap(out: Any, x: Any) -> Literal["same", "none", "partial"]:
    return "same" if out is x else "none"


def writable(out: Any) -> bool:
    return False


def drawing(
    make: Callable[..., Plan], numbers: Sequence[Any], later: Callable[[Any], bool]
) -> tuple[Plan, Callable[..., dict[str, Any]]]:
    """A plan like all that ``make(*numbers)`` draws, and what draws the columns of another.

    That takes the numbers that are known `later` only; in the plan they are 0.
    """
    # which columns a policy fills does not depend on the key: a program has room for these alone
    known = [0 if later(n) else n for n in numbers]
    first = make(*known)
    columns = first.columns()

    def draw(*values: Any) -> dict[str, Any]:
        given = iter(values)
        now = [int(next(given)) if later(n) else n for n in numbers]
        found = make(*now).columns()
        if found.keys() != columns.keys():
            raise mix_error(
                "draw() in a compiled step",
                f"the plan at {now} has {', '.join(found)}; that at {known} {', '.join(columns)}.",
                "A compiled program has room for one kind of plan.",
                "Draw with batchmix.draw outside of it, and pass the plan to the step.",
            )
        return found

    return first, draw
