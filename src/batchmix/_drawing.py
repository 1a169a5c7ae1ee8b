"""What a Mixer asks for: the plan of a batch, by its sizes and by what the policy reads of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchmix._address import number_of, traced
from batchmix._batch import dtype_of, shape_of
from batchmix._draw import draw
from batchmix._errors import MixError, mix_error
from batchmix._key import Key
from batchmix._parts import Part, parts_of, sizes_of
from batchmix._plan import Plan
from batchmix._tree import get_at, path_of
from batchmix.backends import backend_of, is_traced
from batchmix.backends._process import process_rank
from batchmix.pairing import Other


def drawing_of(mixer: Any, batch: Any, parts: list[Part], other: Any) -> tuple[Any, Any]:
    """What draws the plan of a step and an epoch, and an array of the batch."""
    rows, size, x = sizes_of(parts, mixer.axes)
    reads = mixer.reads
    own = hints_of(parts, batch, reads, mixer.hints, size, rows) if reads else {}
    pool, theirs, counted = None, dict[str, Any](), list[Any]()
    if other is not None:
        pooled = parts_of(other, mixer.fields)
        pool, counted = rows_of(pooled)
        theirs = hints_of(pooled, other, reads, mixer.hints, size, pool) if reads else {}

    def make(epoch: int, step: int, *given: Any) -> Plan:
        rank = process_rank() if mixer.rank is None else mixer.rank
        key = Key(number_of(mixer.seed), epoch, step, rank)
        cells = {axis: number_of(n) for axis, n in size.items()}  # torch traces sizes, too
        *hints, rows = given
        read, others = dict(zip(own, hints)), None
        if other is not None:
            count = len(hints[-1]) if counted else number_of(pool)
            others = Other(count, dict(zip(theirs, hints[len(own) :])))
        return draw(
            mixer.policy, key, number_of(rows), cells, pairing=mixer.pairing, hints=read,
            other=others,
        )  # fmt: skip

    def drawn(step: Any, epoch: Any) -> Plan:
        numbers = [epoch, step, *own.values(), *theirs.values(), *counted]
        try:
            b = backend_of(x, "Mixer")
        except MixError:  # a shape alone: rows that are stacked while they are mixed, a spec
            return make(*numbers, rows or 0)
        if any(is_traced(n) and backend_of(n, "Mixer") is not b for n in (epoch, step)):
            raise traced(f"step={step!r}, which has no value yet.")
        return b.drawn(make, numbers, rows, x)

    return drawn, x


def checked_hints(hints: Any, reads: tuple[str, ...]) -> dict[str, Any]:
    """Places by the name of what is read; a name that nobody reads is a mistake."""
    if hints is not None and not isinstance(hints, Mapping):
        raise mix_error(
            "Mixer", f"got hints={hints!r}.", "They say where in a batch there is what is read.",
            "Pass for example hints={'label': 1}.",
        )  # fmt: skip
    unread = sorted(map(str, (hints or {}).keys() - set(reads)))
    if unread and reads:
        raise mix_error(
            "Mixer", f"got hints for {', '.join(unread)}.",
            f"The policy and the pairing read {', '.join(reads)}.", "Correct the name.",
        )  # fmt: skip
    return dict(hints or {})


def rows_of(parts: list[Part]) -> tuple[int | None, list[Any]]:
    """Of a second batch; where a graph does not know, None, and an array [rows] of what it has."""
    arrays = (part.value for part in parts if hasattr(part.value, "shape"))
    x = next((array for array in arrays if shape_of(array, "Mixer")), None)
    if x is None:
        raise mix_error(
            "Mixer", "none of the fields of `other` is an array.",
            "The number of its rows is read from them.", "Pass a batch like the first one.",
        )  # fmt: skip
    rows = shape_of(x, "Mixer")[0]
    return rows, [] if rows is not None else [x[(slice(None), *[0] * (len(x.shape) - 1))]]


def hints_of(
    parts: list[Part],
    batch: Any,
    reads: tuple[str, ...],
    told: Mapping[str, Any],
    size: Mapping[str, Any],
    rows: int | None,
) -> dict[str, Any]:
    """What policies and pairings read, by name: on the host, as `draw` describes it.

    The one part whose field has this hint, or the one at the place that is told. A field may say
    with ``read(value, size, name, rows)`` what is read of it.
    """
    found = {}
    for name in reads:
        named = [part for part in parts if getattr(part.field, "hint", None) == name]
        named = named or [p for p in parts if name in getattr(p.field, "also", ())]
        if name in told:
            path = path_of(told[name])
            named = [part for part in parts if part.path == path]
            named = named or [Part(told[name], path, None, get_at(batch, path))]
        if len(named) != 1:
            raise mix_error(
                "Mixer", f"the policy or the pairing reads {name!r}; of the fields "
                f"{len(named) or 'none'} {'are' if named else 'is'} such a part.",
                "It is handed what it looks at: the one Labels is 'label', the one Image 'image', "
                "the one Mask or Ids 'mask', the one Targets 'target', the one BoundingBoxes "
                "'boxes', the one Instances 'instances', the one PaddingMask 'padding', and the "
                "one Audio of N, C and T alone 'audio': a waveform, no spectrogram.",
                f"Pass hints={{{name!r}: place in the batch}}.",
            )  # fmt: skip
        part = named[0]
        if hasattr(part.field, "read"):
            cells = {axis: number_of(n) for axis, n in size.items()}
            found[name] = part.field.read(part.value, cells, name, rows)
            continue
        layout = getattr(part.field, "layout", None)
        found[name] = _in_order(on_host(part.value), layout, "".join(size), name)
    return found


def on_host(x: Any) -> Any:
    """As NumPy's, without a copy where there need be none; what is traced stays as it is."""
    try:
        b = backend_of(x, "Mixer")
    except MixError:  # rows that are still to be stacked
        return np.asarray(x)
    if b.traced(x):
        return x
    plain = b.is_integer(x) or dtype_of(x) in ("float32", "float64", "float16")
    found = b.on_host(x) if plain else None
    return b.to_numpy(x) if found is None else found


def _in_order(x: Any, layout: str | None, axes: str, name: str) -> Any:
    """[B, *size, ...]: rows, the axes that boxes lie on, and what else there is."""
    if layout is None or len(layout) != len(x.shape):
        return x
    at = layout.find("C")
    if name in ("mask", "instances") and at > 0 and x.shape[at] == 1 and "C" not in axes:
        x, layout = x[(slice(None),) * at + (0,)], layout.replace("C", "")  # as MONAI has masks
    rest = [layout.index(letter) for letter in layout[1:] if letter not in axes]
    grid = [layout.index(a) for a in axes if a in layout]
    order = [0, *rest, *grid] if name == "instances" else [0, *grid, *rest]
    if order != sorted(order):
        x = backend_of(x, "Mixer").transpose(x, order)
    return x
