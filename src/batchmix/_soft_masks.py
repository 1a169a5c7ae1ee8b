"""Applying a plan to segmentations: how much of each class is seen in each cell."""

from __future__ import annotations

from typing import Any

from batchmix._batch import dtype_of, shape_of
from batchmix._errors import MixError, mix_error
from batchmix._labels import _one_hot
from batchmix._mix import checked, mix
from batchmix._numbers import is_whole
from batchmix._plan import Plan
from batchmix.backends import Backend, called_as_is

_WHERE = "SoftMask()"
_WIDE = ("int32", "int64", "uint32", "uint64")


@called_as_is
def mix_soft_masks(
    x: Any, plan: Plan, layout: str, classes: int, ignore: int | None = None, *, other: Any = None
) -> Any:
    """The verb of `fields.SoftMask`, where it is described; arguments as for `mix`."""
    b = checked(_WHERE, x, plan, layout, other, None)
    own = _weights(b, x, plan, layout, classes, ignore)
    theirs = None if other is None else _weights(b, other, plan, layout, classes, ignore)
    # on the host memory that was made here is written to: half of what a new array would take
    here = b.on_host(own) is not None and b.writable(own)
    made = here and b.overlap(own, x) == "none"
    last = layout.replace("C", "") + "C"
    mixed = mix(own, plan, last, other=theirs, out=own if made else None)
    place, end = layout.find("C") if "C" in layout else 1, len(last) - 1
    return b.transpose(mixed, [*range(place), end, *range(place, end)])


def _weights(b: Backend, x: Any, plan: Plan, layout: str, classes: int, ignore: int | None) -> Any:
    """float32 [B, *grid, C]: what each cell holds of each class."""
    axis = layout.find("C")
    if axis >= 0:
        x = b.transpose(x, [k for k in range(len(layout)) if k != axis] + [axis])
        if x.shape[-1] == classes:
            return _given(b, x)
        if x.shape[-1] == 1:
            x, axis = x[..., 0], -1
    if axis >= 0 or not b.is_integer(x):
        raise _no_mask(x, layout, classes)
    wide = x if dtype_of(x) in _WIDE else b.cast(x, "int32")
    known = None if ignore is None else wide != ignore
    ids = wide if known is None else b.where(known, wide, 0 * wide)
    _check_ids(b.on_host(ids), classes, ignore)
    hot = _one_hot(b, b.reshape(ids, (-1,)), plan, classes)
    hot = b.reshape(hot, [-1 if n is None else n for n in (*shape_of(x, _WHERE), classes)])
    return hot if known is None else hot * b.cast(known, "float32")[..., None]


def _given(b: Backend, x: Any) -> Any:
    """Weights of classes, as they are; integers among them are one-hot, and not several ids."""
    values = b.on_host(x) if b.is_integer(x) else None
    if values is not None and not ((values == 0) | (values == 1)).all():
        raise mix_error(
            _WHERE, "integers with a channel for each class are not all 0 or 1.",
            "They say which class a cell has: one-hot.",
            "Pass ids without channels, or with one.",
        )  # fmt: skip
    if not (b.is_integer(x) or b.blendable(x)):
        raise mix_error(
            _WHERE, f"weights of classes have dtype {x.dtype}.", "They are blended.",
            "Pass floats, or booleans or integers that are one-hot.",
        )  # fmt: skip
    return b.cast(x, "float32")


def _no_mask(x: Any, layout: str, classes: int) -> MixError:
    return mix_error(
        _WHERE, f"masks of layout {layout!r} have shape {tuple(x.shape)} and dtype {x.dtype} (the "
        "channels last).",
        "They are integer ids, without channels or with one; or weights, with one for each class.",
        f"Pass such masks; here classes={classes}. Ids that were loaded as floats: masks.long().",
    )  # fmt: skip


def _check_ids(seen: Any, classes: int, ignore: int | None) -> None:
    """Each is a class, as far as the host sees them."""
    if seen is not None and seen.size and not (seen.min() >= 0 and seen.max() < classes):
        raise mix_error(
            _WHERE, f"got the id {int(seen[(seen < 0) | (seen >= classes)].flat[0])} with "
            f"classes={classes} and ignore={ignore}.", f"Ids are 0..{classes - 1}, or ignored.",
            "Raise `classes`, or name the id that is no class, such as ignore=255.",
        )  # fmt: skip


def check_mask_options(where: str, classes: Any, ignore: Any) -> None:
    """A number of classes, and an id that is none of them, or None."""
    if not (is_whole(classes) and 0 < classes < 2**31):
        raise mix_error(
            where, f"got classes={classes!r}.", "It counts classes, from 1.",
            "Pass an integer such as 21.",
        )  # fmt: skip
    if ignore is not None and not (is_whole(ignore) and -(2**31) <= ignore < 2**31):
        raise mix_error(
            where, f"got ignore={ignore!r}.", "It is an id that is no class, of 32 bits.",
            "Pass for example ignore=255, or None.",
        )  # fmt: skip
