"""A plan says, for every row of a batch, what is pasted where and how strongly. NumPy only."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import COLUMNS, check, checked_grid, entry_shape, executed, owned
from batchmix._errors import mix_error
from batchmix._npz import Arrays, open_npz

_ABSENT = dict.fromkeys(COLUMNS)
FORMAT = 1  # of saved plans; a change in what a column means is a new number
_MOST_AXES = 1000  # of a saved plan


class Key(NamedTuple):
    """The address of a plan: equal keys give equal plans, on every machine and framework.

    Args:
      seed: the run.
      epoch: pass over the data, from 0.
      step: batch within the epoch, from 0.
      rank: process, so that two ranks never draw the same mixes.

    All four are integers >= 0, all but the seed below 2^64 (checked by `draw`).

    Example:
      >>> Key(seed=0, epoch=3, step=17)
      Key(seed=0, epoch=3, step=17, rank=0)
    """

    seed: int
    epoch: int = 0
    step: int = 0
    rank: int = 0


class Untold(int):
    """A number that stands in for one that nobody told.

    As the epoch of a key it tells passes over the data apart, and a policy that looks at it is
    refused (see `draw`). As a seed it gives way to that of a state.
    """


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
      mask: floats [B, *size] in 0..1, multiplies opacity.
      source: integers [B, A, 2], region of the partner that is stretched over the box (nearest
        cell). Without it the partner's own box is pasted.
      kind: integers [B], which policy drew the row: its index in the outermost `Switch`, -1 for a
        row left alone. For logs and figures, never read when mixing.
      label_lam: floats [B] in 0..1, only where a method defines labels other than by area; NaN
        stands for `lam`.

    One more array is derived, not given: `lam`, float32 [B], the weight of the row's OWN content,
    ``1 - mean(opacity * mask inside the box)``.

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
    mask: NDArray[np.float32] | None = None
    source: NDArray[np.int32] | None = None
    kind: NDArray[np.int8] | None = None
    label_lam: NDArray[np.float32] | None = None
    lam: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        """Bring every array to its dtype, check all of them, and derive the rest."""
        size = checked_grid(self.axes, self.size)
        given = {name: getattr(self, name) for name in ("partner", "box", "opacity")}
        columns = {name: owned(name, value) for name, value in (given | self.columns()).items()}
        if not size and not columns["box"].size:  # no axes: any way to write "no box" will do
            columns["box"] = columns["box"].reshape(*columns["partner"].shape[:1], 0, 2)
        check(columns, self.axes, size)
        # lam is counted now: a lazy property could be evaluated first inside a traced function
        self.__dict__.update(columns | executed(columns, size), size=size)

    @staticmethod
    def identity(batch: int, axes: str = "", size: tuple[int, ...] = ()) -> Plan:
        """The plan that leaves all of `batch` rows as they are.

        Example:
          >>> Plan.identity(3).lam
          array([1., 1., 1.], dtype=float32)
        """
        if not isinstance(batch, int | np.integer) or batch < 0:
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

        Example:
          >>> list(Plan([1, 0], [[[0, 2]]] * 2, [0.75, 0.5], axes="T", size=(2,)).columns())
          ['partner', 'box', 'opacity', 'lam']
        """
        return {name: value for name in COLUMNS if (value := getattr(self, name, None)) is not None}

    @classmethod
    def unchecked(cls, *, axes: str, size: tuple[int, ...], **columns: Any) -> Plan:
        """A plan of columns that were checked before, or hold no values yet (traced, stacked).

        For adapters. No value is checked or derived: give every column that `columns()` has.
        """
        if not columns.keys() <= _ABSENT.keys():
            raise mix_error(
                "Plan.unchecked()", f"got the columns {sorted(columns.keys() - _ABSENT.keys())}.",
                f"A plan has {', '.join(COLUMNS)}.", "Pass those that plan.columns() gives.",
            )  # fmt: skip
        plan = object.__new__(cls)
        plan.__dict__.update(_ABSENT, axes=axes, size=size, **columns)
        return plan

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
        if not len(self) or not isinstance(self.lam, np.ndarray):  # traced: no values to show
            return f"{head})"
        low, high, mean = self.lam.min(), self.lam.max(), self.lam.mean()
        mixed = int((self.lam < 1).sum())
        return f"{head}, {mixed} mixed, lam {low:.2f}..{high:.2f} mean {mean:.2f})"

    def save(self, path: str | Path) -> None:
        """Write the plan to `path` as npz, without pickle; `Plan.load` gives it back.

        Example:
          >>> import tempfile; file = tempfile.NamedTemporaryFile(suffix=".npz")
          >>> Plan.identity(2, "T", (8,)).save(file.name); Plan.load(file.name).size
          (8,)
        """
        given = {k: v for k, v in self.columns().items() if not COLUMNS[k].derived}
        given |= {"format": FORMAT, "axes": self.axes, "size": np.asarray(self.size, int)}
        with Path(path).open("wb") as file:  # given a name, savez would append ".npz" to it
            np.savez(file, **given)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote; it is checked like any other.

        Whoever wrote it: memory is at most 8 bytes for each byte of the file, and 64 MB.

        Raises:
          MixError: the file is not a saved plan, or of a newer format.
          FileNotFoundError: there is no such file.
        """
        try:
            with open_npz(path) as file:
                return cls(**_read(file))
        except FileNotFoundError:
            raise
        except Exception as problem:  # zip, value and memory errors all mean the same thing
            said = " ".join(str(problem).partition("\n")[0].split())[:200]
            said = said if said.isprintable() else ascii(said)
            raise mix_error(
                "Plan.load()", f"cannot read {str(path)!r} as a plan ({said.rstrip('.')}).",
                f"A plan is an npz file of format {FORMAT}, without pickled objects.",
                "Write it with plan.save(path), by a version of batchmix no newer than this one.",
            ) from None  # fmt: skip


def _read(file: Arrays) -> dict[str, Any]:
    """The arguments of a saved plan; shapes and dtypes are those that its size asks for."""
    version = file.read("format", "i", ()).item()
    if version != FORMAT:
        raise ValueError(f"format {version}")
    given = {name: column for name, column in COLUMNS.items() if not column.derived}
    foreign = set(file.names) - {"format", "axes", "size", *given}
    if foreign:
        raise ValueError(f"it has a foreign array {min(foreign)[:80]!r}")
    axes = str(file.read("axes", "U", ()))
    if len(axes) > _MOST_AXES:
        raise ValueError(f"it has {len(axes)} axes")
    size = checked_grid(axes, file.read("size", "i", (len(axes),)).tolist())
    found: dict[str, Any] = {"axes": axes, "size": size}
    rows = None
    for name, column in given.items():
        if name in file.names or name in ("partner", "box", "opacity"):
            shape = (rows, *entry_shape(name, size))
            found[name] = file.read(name, np.dtype(column.dtype).str[1:], shape)
            rows = len(found["partner"])
    return found
