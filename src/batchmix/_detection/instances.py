"""Applying a plan to instance masks [B, K, H, W]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._batch import check_batch
from batchmix._detection.cells import masks_seen
from batchmix._detection.formats import check_plan, grid
from batchmix._detection.rule import check_share, like, on_host
from batchmix._detection.visible import nothing_seen
from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix._plan import Plan
from batchmix.backends import Backend, backend_of

WHERE = "Instances()"


def mix_instances(
    x: Any, plan: Plan, layout: str, min_visible: float, min_area: float, other: Any = None
) -> Any:
    """The verb of `fields.Instances`, where it is described."""
    b = backend_of(x, WHERE)
    check_batch(b, WHERE, "x", x, plan, other)
    check_plan(WHERE, plan)
    own = _masks(b, x, plan, layout)
    others = own if other is None else _masks(b, other, plan, layout)
    count = len(plan.above) + 2
    shown = [nothing_seen(one.shape[:2]) for one in (own, *[others] * (count - 1))]
    found, made = masks_seen(shown, list(own), list(others), plan)
    nothing = np.zeros((len(own), *others.shape[1:]), own.dtype)
    parts = [own.copy(), *(nothing.copy() for _ in range(1, count))]
    for k, (one, rows) in enumerate(zip(found, made)):
        for row, masks in rows.items():
            cells = np.count_nonzero(masks, axis=(1, 2))
            enough = (one.share[row] >= min_visible - 1e-9) & (cells >= min_area)
            masks[~(one.as_was[row] | enough)] = 0
            parts[k][row] = masks
    joined = np.concatenate(parts, 1)
    order = ["NKHW".index(letter) for letter in layout]
    return like(b, np.ascontiguousarray(joined.transpose(order)), x)


def check_instances(where: str, layout: Any, min_visible: float, min_area: float) -> None:
    """Rows, instances, height and width; a share, and a number of cells."""
    if not (isinstance(layout, str) and sorted(layout) == sorted("NKHW") and layout[0] == "N"):
        raise mix_error(
            where, f"got layout={layout!r}.",
            "It has N, K for the instances of a row, H and W, and starts with N.",
            "Pass 'NKHW' or 'NHWK'.",
        )  # fmt: skip
    check_share(where, "min_visible", min_visible)
    if not (is_number(min_area) and 0 <= min_area < np.inf):
        raise mix_error(
            where, f"got min_area={min_area!r}.",
            "It counts the cells of the smallest instance that is kept.", "Pass a number >= 0.",
        )  # fmt: skip


def _masks(b: Backend, x: Any, plan: Plan, layout: str) -> NDArray[Any]:
    """[B, K, H, W] on the host."""
    shape, size = tuple(x.shape), grid(plan)
    sizes = dict(zip(layout, shape))
    if len(shape) != 4 or (sizes["H"], sizes["W"]) != size:
        raise mix_error(
            WHERE, f"masks have shape {shape}, layout={layout!r}, and the plan has size {size}.",
            "Masks lie on the grid of the images.", "Resize them before mixing.",
        )  # fmt: skip
    values = on_host(WHERE, b, x, plan)
    return values.transpose([layout.index(letter) for letter in "NKHW"])
