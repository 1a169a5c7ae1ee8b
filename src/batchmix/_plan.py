"""A plan says, for every row of a batch, what is pasted where and how strongly. NumPy only."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchmix import _describe, _drawn, _layers, _regrid
from batchmix._columns import COLUMNS, check, check_form, checked_grid, owned
from batchmix._errors import mix_error
from batchmix._numbers import is_whole
from batchmix._saved import read, write
from batchmix._weights import executed

_ABSENT: dict[str, Any] = dict.fromkeys(COLUMNS)
_FORM = ("axes", "size", "resample", "others")
Resample = Literal["nearest", "bilinear"]


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What happens to each row: paste `source` of row `partner` over `box` at `opacity`.

    .. math:: x'_i = (1 - a_i) x_i + a_i x_{p(i)}, \\quad
              a_i = opacity_i \\cdot mask_i \\text{ inside } box_i, \\text{ else } 0

    `lam`, the weight of a row's own content, is derived from these arrays, so that labels cannot
    disagree with pixels. Arrays are copied (but for a mask) and checked once, here; do not
    write to them afterwards.

    Args:
      partner: integers [B] in 0..B-1. `partner[i] == i` leaves row i byte-identical.
      box: integers [B, A, 2], half-open cells [lo, hi) per axis of `axes`. An empty box leaves the
        row byte-identical.
      opacity: floats [B] in 0..1. 1 is an exact copy of the partner, 0 leaves the row as it is. It
        is kept as executed: 0 where the row is its own partner or the box is empty.
      axes: one capital letter per spatial axis but N, such as "HW", "T", "THW", or "" for a table.
      size: cells per axis, in the order of `axes`.
      mask: floats [B, *size] in 0..1, multiplies opacity; or uint8, where 255 is 1. On a smaller
        grid, cell k of n takes the nearest of g, ``(2 k + 1) g // (2 n)``.
      source: integers [B, A, 2], region of the partner that is stretched over the box. Without it
        the partner's own box is pasted.
      kind: integers [B], which policy drew the row: its index in the outermost `Switch`, -1 for a
        row left alone. For logs and figures, never read when mixing.
      label_lam: floats [B] in 0..1, only where a method defines labels other than by area; NaN
        stands for `lam`.
      resample: how a source is stretched: "nearest" cell, or "bilinear" (weights are multiples of
        1/256 on two axes, and the result is rounded to the dtype before it is pasted).
      above: further pastes over this one, as `then` adds them.
      others: rows of the batch that partners are taken from, where that is another one
        (``other=``); `partner` then lies in 0..others-1, and no row is its own.

    One more array is derived, not given: `lam`, float32 [B], the weight of the row's OWN content,
    ``1 - mean(opacity * mask inside the box)``; with layers what of it still shows.

    Raises:
      MixError: any of the above does not hold.

    Example:
      >>> Plan(partner=[1, 0], box=[[[0, 2], [0, 4]]] * 2, opacity=[1, 0.5], axes="HW", size=(4, 4))
      Plan(2 rows, HW=4x4, 2 mixed, lam 0.50..0.75 mean 0.62)

    Differs from: no other library keeps what it drew. Keras and Datarax store a second random
    number beside the box, and label and pixels disagree by up to 0.06.
    """

    partner: NDArray[np.int32]
    box: NDArray[np.int32]
    opacity: NDArray[np.float32]
    axes: str
    size: tuple[int, ...]
    mask: NDArray[np.float32] | NDArray[np.uint8] | None = None
    source: NDArray[np.int32] | None = None
    kind: NDArray[np.int8] | None = None
    label_lam: NDArray[np.float32] | None = None
    resample: Resample = "nearest"
    others: int | None = None
    lam: NDArray[np.float32] = field(init=False)
    seen: NDArray[np.float32] | None = field(init=False)
    above: Sequence[Plan] = ()

    def __post_init__(self) -> None:
        """Bring every array to its dtype, check all of them, and derive the rest."""
        size = checked_grid(self.axes, self.size)
        check_form(self.resample, self.others)
        given = {name: vars(self).get(name) for name, c in COLUMNS.items() if not c.derived}
        needed = ("partner", "box", "opacity")
        columns = {
            name: owned(name, v) for name, v in given.items() if v is not None or name in needed
        }
        if not size and not columns["box"].size:  # no axes: any way to write "no box" will do
            columns["box"] = columns["box"].reshape(*columns["partner"].shape[:1], 0, 2)
        check(columns, self.axes, size, self.others)
        # lam is counted now: a lazy property could be evaluated first inside a traced function
        columns |= executed(columns, size, own=self.others is None)
        above = self.above
        self.__dict__.update(columns, size=size, seen=None, above=())
        if above:
            self.__dict__.update(vars(reduce(Plan.then, above, self)))

    @staticmethod
    def identity(batch: int, axes: str = "", size: tuple[int, ...] = ()) -> Plan:
        """The plan that leaves all of `batch` rows as they are.

        Example:
          >>> Plan.identity(3).lam
          array([1., 1., 1.], dtype=float32)
        """
        if not is_whole(batch) or batch < 0:
            raise mix_error(
                "Plan.identity()", f"got batch={batch!r}.", "It counts rows, from 0.",
                "Pass len(x).",
            )  # fmt: skip
        return Plan(
            partner=np.arange(batch, dtype=np.int32),
            box=np.zeros((batch, len(checked_grid(axes, size)), 2), np.int32),
            opacity=np.zeros(batch, np.float32),
            axes=axes,
            size=size,
            kind=np.full(batch, -1, np.int8),
        )

    def __len__(self) -> int:
        return len(self.partner)

    def columns(self) -> dict[str, Any]:
        """The arrays that this plan has, by name, `lam` among them.

        Those of the second layer are named "partner.2" and so on, of the third "partner.3".

        Example:
          >>> list(Plan([1, 0], [[[0, 2]]] * 2, [0.75, 0.5], axes="T", size=(2,)).columns())
          ['partner', 'box', 'opacity', 'lam']
        """
        found: dict[str, Any] = {}
        for k, layer in enumerate((self, *self.above)):
            end = f".{k + 1}" if k else ""
            own = {name + end: vars(layer)[name] for name in COLUMNS}
            found |= {name: value for name, value in own.items() if value is not None}
        return found

    @property
    def form(self) -> dict[str, Any]:
        """What a plan is made of besides its columns: ``Plan.unchecked(**form, **columns)``."""
        return {name: vars(self)[name] for name in _FORM}

    @classmethod
    def unchecked(
        cls, *, axes: str, size: tuple[int, ...], resample: Resample = "nearest",
        others: int | None = None, above: Sequence[Plan] = (), **columns: Any,
    ) -> Plan:  # fmt: skip
        """A plan of columns that were checked before, or hold no values yet (traced, stacked).

        For adapters. No value is checked or derived: give every column that `columns()` has.
        """
        form = {"axes": axes, "size": size, "resample": resample, "others": others}
        if columns.keys() <= _ABSENT.keys():  # of one layer, as it is in almost every step
            return _made(form | {"above": tuple(above)}, columns)
        foreign = sorted(name for name in columns if name.partition(".")[0] not in COLUMNS)
        if foreign:
            raise mix_error(
                "Plan.unchecked()", f"got the columns {foreign}.",
                f"A plan has {', '.join(COLUMNS)}.", "Pass those that plan.columns() gives.",
            )  # fmt: skip
        layers: dict[str, dict[str, Any]] = {"": {}}
        for name, column in columns.items():
            base, _, layer = name.partition(".")
            layers.setdefault(layer, {})[base] = column
        first, *above = (_made(form, own) for own in layers.values())
        first.__dict__["above"] = tuple(above)
        return first

    @property
    def __jax_array__(self) -> Any:
        """For JAX, where it meets a type that it does not know; for others it is not there."""
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("jax."):
            raise AttributeError("a Plan has no __jax_array__")
        raise mix_error(
            "jax", "a Plan is an argument of a JAX transformation, or was taken for an array.",
            "A Plan is a pytree of arrays once JAX knows its class.",
            "Run `import batchmix.adapters.jax` first, once in the program.",
        )  # fmt: skip

    def __repr__(self) -> str:
        size = "x".join(map(str, self.size))
        head = f"Plan({len(self)} rows, {self.axes}={size}" if size else f"Plan({len(self)} rows"
        head += f", {1 + len(self.above)} layers" if self.above else ""
        if not len(self) or not isinstance(self.lam, np.ndarray):  # traced: no values to show
            return f"{head})"
        low, high, mean = self.lam.min(), self.lam.max(), self.lam.mean()
        mixed = int((self.lam < 1).sum())
        return f"{head}, {mixed} mixed, lam {low:.2f}..{high:.2f} mean {mean:.2f})"

    @property
    def layers(self) -> tuple[Plan, ...]:
        """The pastes one by one, each a plan of its own; of a plan without layers itself.

        Example:
          >>> plan = Plan([1, 0], [[[0, 2]]] * 2, [1, 1], axes="T", size=(4,))
          >>> [layer.lam.tolist() for layer in plan.then(plan).layers]
          [[0.5, 0.5], [0.5, 0.5]]
        """
        if not self.above:
            return (self,)
        return tuple(_layers.alone(layer) for layer in (self, *self.above))

    weights = property(_layers.weights)
    label_weights = property(_layers.label_weights)
    then = _layers.then
    at = _regrid.at
    relabel = _layers.relabel
    describe = _describe.describe
    _repr_html_ = _drawn.as_html

    def save(self, path: str | Path) -> None:
        """Write the plan to `path` as npz, without pickle; `Plan.load` gives it back.

        Example:
          >>> import tempfile; file = tempfile.NamedTemporaryFile(suffix=".npz")
          >>> Plan.identity(2, "T", (8,)).save(file.name); Plan.load(file.name).size
          (8,)
        """
        write(path, self.form, self.columns())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote; it is checked like any other.

        Whoever wrote it: memory is at most 8 bytes for each byte of the file, and 64 MB.

        Raises:
          MixError: the file is not a saved plan, or of a newer format.
          FileNotFoundError: there is no such file.
        """
        return read(path, lambda layers: _layers.loaded(cls, layers))


def _made(form: Mapping[str, Any], columns: Mapping[str, Any]) -> Plan:
    """A plan of one layer, unchecked."""
    plan = object.__new__(Plan)
    plan.__dict__.update(_ABSENT | {"above": ()}, **form)
    plan.__dict__.update(columns)
    return plan
