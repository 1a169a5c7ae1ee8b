"""What backends share whose arrays cannot be written to and whose steps are compiled: JAX, TF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from batchmix._columns import PIXELS
from batchmix._errors import mix_error
from batchmix._plan import Plan


def columns_read(plan: Plan) -> list[dict[str, Any]]:
    """Those that each layer has, and not the plan itself, which a compiler need not know."""
    layers = ({name: getattr(one, name) for name in PIXELS} for one in (plan, *plan.above))
    return [{name: v for name, v in columns.items() if v is not None} for columns in layers]


def overlap(out: Any, x: Any) -> Literal["same", "none", "partial"]:
    return "same" if out is x else "none"


def writable(out: Any) -> bool:
    return False


def drawing(
    make: Callable[..., Plan], numbers: Sequence[Any], later: Callable[[Any], bool]
) -> tuple[Plan, Callable[..., dict[str, Any]]]:
    """A plan like all that ``make(*numbers)`` draws, and what draws the columns of another.

    That takes the numbers that are known `later` only, arrays among them; in the plan they are 0.
    """
    # which columns a policy fills does not depend on the key: a program has room for these alone
    known = [_stand_in(n) if later(n) else n for n in numbers]
    first = make(*known)
    form = _form(first)

    def draw(*values: Any) -> dict[str, Any]:
        given = iter(values)
        now = [_number(next(given)) if later(n) else n for n in numbers]
        plan = make(*now)
        found = plan.columns()
        if _form(plan) != form:
            raise mix_error(
                "draw() in a compiled step",
                f"a plan has {_form(plan)}; the first one had {form}.",
                "A compiled program has room for one kind of plan.",
                "Draw with batchmix.draw outside of it, and pass the plan to the step.",
            )
        return found

    return first, draw


def _form(plan: Plan) -> str:
    """What does not change from run to run: names, cells of a row, and how sources stretch."""
    columns = (f"{name}{list(v.shape[1:])}" for name, v in plan.columns().items())
    return ", ".join([*columns, plan.resample])


def _number(value: Any) -> Any:
    """A number of Python, or an array."""
    array = np.asarray(value)
    return array if array.ndim else int(array)


def _stand_in(x: Any) -> Any:
    """Zeros of the form of an array; none of a size that a graph does not know."""
    shape = [n or 0 for n in x.shape]
    return _number(np.zeros(shape, getattr(x.dtype, "as_numpy_dtype", x.dtype)))
