"""Which of the boxes that are still seen a detector is told of, and with which weight."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import dtype_of
from batchmix._detection.formats import check_format
from batchmix._detection.visible import Shown
from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of, is_traced

NO_BOX = -1.0  # fills the places of boxes that are gone
_ROUNDED = 1e-9


class Rule(NamedTuple):
    """The arguments of `fields.BoundingBoxes`, where they are described."""

    format: str = "xyxy"
    min_visible: float = 0.0
    min_size: float = 0.0
    weights: bool = False
    keep: tuple[str, ...] = ()


def check_rule(where: str, rule: Rule) -> None:
    """A known format, a share and a number of cells."""
    check_format(where, rule.format)
    check_share(where, "min_visible", rule.min_visible)
    size = rule.min_size
    if not (is_number(size) and 0 <= size < np.inf):
        raise mix_error(
            where, f"got min_size={size!r}.",
            "It is the shorter side, in cells, of the smallest box that is kept.",
            "Pass a number >= 0, such as 2.",
        )  # fmt: skip
    names = rule.keep if isinstance(rule.keep, list | tuple | set | frozenset) else [None]
    if not all(isinstance(name, str) for name in names):
        raise mix_error(
            where, f"got keep={rule.keep!r}.", "It names entries that belong to a row.",
            "Pass a tuple, such as keep=('camera',).",
        )  # fmt: skip
    if not isinstance(rule.weights, bool | np.bool_):
        raise mix_error(
            where, f"got weights={rule.weights!r}.",
            "It says whether the weight of each box is added.", "Pass True or False.",
        )  # fmt: skip


def check_share(where: str, name: str, value: Any) -> None:
    """A share of what there was."""
    if not (is_number(value) and 0 <= value <= 1):
        raise mix_error(
            where, f"got {name}={value!r}.", "It is a share of the area, 0..1.",
            "Pass for example 0.1.",
        )  # fmt: skip


def kept(shown: Shown, rule: Rule) -> NDArray[np.bool_]:
    """[B, N]: what is seen as it was, and what is large enough of the rest."""
    sides = (shown.corners[..., 2:] - shown.corners[..., :2]).min(-1)
    enough = (shown.share >= rule.min_visible - _ROUNDED) & (sides >= rule.min_size - _ROUNDED)
    found: NDArray[np.bool_] = shown.as_was | ((shown.share > 0) & (sides > 0) & enough)
    return found


def on_host(where: str, b: Backend, x: Any, plan: Plan | None = None) -> NDArray[Any]:
    """As NumPy's; refused in a function that is traced."""
    values = None if plan is not None and is_traced(plan.partner) else b.to_numpy(x)
    if values is None:
        raise mix_error(
            where, "the array or the plan has no values yet, in a function that is traced.",
            "Boxes and points are mixed on the host.", "Call it outside of the compiled function.",
        )  # fmt: skip
    return values


def joined(parts: list[Any], x: Any, dtype: str | None = None) -> Any:
    """Entries one after the other, as a list or an array like `x`."""
    if isinstance(x, list | tuple):
        return type(x)(one for part in parts for one in part)
    b = backend_of(x, "BoundingBoxes()")
    made = np.concatenate(parts)
    if len({part.dtype for part in parts}) > 1 and made.dtype.kind in "iu":
        dtype = dtype or made.dtype.name  # an id of 64 bits stays one beside those of 8
    return like(b, made, x) if dtype is None else b.cast(b.array(made, x), dtype)


def like(b: Backend, made: NDArray[Any], x: Any) -> Any:
    """As an array of the framework, dtype, device and class of `x`."""
    made = np.rint(made) if b.is_integer(x) and made.dtype.kind == "f" else made
    found = b.cast(b.array(made, x), dtype_of(x))
    wrap = getattr(_tv_tensors(x), "wrap", None)
    return found if wrap is None else wrap(found, like=x)


def _tv_tensors(x: Any) -> Any:
    """The module of torchvision that `x` is of, if it is one of its tensors."""
    module = sys.modules.get("torchvision.tv_tensors")
    return module if module is not None and isinstance(x, module.TVTensor) else None


def check_tv(where: str, x: Any, format: str, size: tuple[int, int]) -> None:
    """Boxes that know their format and grid are those that the field says."""
    told, canvas = getattr(x, "format", None), getattr(x, "canvas_size", None)
    if _tv_tensors(x) is None or told is None:
        return
    name = str(getattr(told, "value", told)).lower()
    check_format(where, name)
    if name != format:
        raise mix_error(
            where, f"boxes are {name.upper()}, and the field says format={format!r}.",
            "tv_tensors know their format.", f"Say BoundingBoxes({name!r}), or convert them.",
        )  # fmt: skip
    if tuple(canvas or ()) != size:
        raise mix_error(
            where, f"boxes lie on {canvas}, and the plan on {size}.",
            "Boxes and images are mixed on one grid.", "Resize both before they are mixed.",
        )  # fmt: skip
