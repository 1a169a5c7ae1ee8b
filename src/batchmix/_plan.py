"""A plan says, for every row of a batch, what is pasted where and how strongly. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix._validate import check, derived, owned, refused

FORMAT = 1  # of saved plans; a change in what a field means is a new number
_DTYPES = {
    "partner": np.int32, "box": np.int32, "opacity": np.float32, "mask": np.float32,
    "source": np.int32, "kind": np.int8, "label_lam": np.float32,
}  # fmt: skip


class Key(NamedTuple):
    """The address of a plan: equal keys give equal plans, on every machine and framework.

    Args:
      seed: the run.
      epoch: pass over the data, from 0.
      step: batch within the epoch, from 0.
      rank: process, so that two ranks never draw the same mixes.

    All four are integers >= 0 (checked by `draw`).

    Example:
      >>> Key(seed=0, epoch=3, step=17)
      Key(seed=0, epoch=3, step=17, rank=0)
    """

    seed: int
    epoch: int = 0
    step: int = 0
    rank: int = 0


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
      opacity: floats [B] in 0..1. 1 is an exact copy of the partner, 0 leaves the row as it is.
      axes: one letter per spatial axis, such as "HW", "T", "THW", or "" for a table.
      size: cells per axis, in the order of `axes`.
      mask: floats [B, *size] in 0..1, multiplies opacity.
      source: integers [B, A, 2], region of the partner that is stretched over the box (nearest
        cell). Without it the partner's own box is pasted.
      kind: integers [B], which policy drew the row: the arm of the outermost `Switch`, -1 for a row
        left alone. For logs and figures, never read when mixing.
      label_lam: floats [B] in 0..1, only where a method defines labels other than by area; NaN
        stands for `lam`.

    Two more arrays are derived, not given: `lam`, float32 [B], the weight of the row's OWN content,
    ``1 - mean(opacity * mask inside the box)``; and `blend`, float32 [B], the opacity that is
    executed: 0 where the row is its own partner or the box is empty.

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
    blend: NDArray[np.float32] = field(init=False)
    lam: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        """Bring every array to its dtype, check all of them, and derive the rest."""
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        if len(set(self.axes)) != len(self.axes) or len(self.axes) != len(self.size):
            raise refused(
                f"got axes={self.axes!r} and size={self.size}.",
                "Each axis has one letter of its own and one size.",
                "Pass for example axes='HW', size=(224, 224).",
            )
        for name, dtype in _DTYPES.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, owned(name, value, dtype))
        if not self.size and not self.box.size:  # no axes: any way to write "no box" will do
            object.__setattr__(self, "box", self.box.reshape(len(self.partner), 0, 2))
        check(self)
        # here and not on demand: a traced step then finds plain arrays, whatever it asks for first
        for name, value in zip(("blend", "lam"), derived(self)):
            object.__setattr__(self, name, value)
        if self.label_lam is not None:
            by_area = np.where(np.isnan(self.label_lam), self.lam, self.label_lam)
            object.__setattr__(self, "label_lam", owned("label_lam", by_area, np.float32))

    @staticmethod
    def identity(batch: int, axes: str = "", size: tuple[int, ...] = ()) -> Plan:
        """The plan that leaves all of `batch` rows as they are.

        Example:
          >>> Plan.identity(3).lam
          array([1., 1., 1.], dtype=float32)
        """
        return Plan(
            partner=np.arange(batch, dtype=np.int32),
            box=np.zeros((batch, len(axes), 2), np.int32),
            opacity=np.zeros(batch, np.float32),
            axes=axes,
            size=size,
            kind=np.full(batch, -1, np.int8),
        )

    def __len__(self) -> int:
        return len(self.partner)

    def hardened(self) -> Plan:
        """The same plan with each cell's opacity rounded to 0 or 1, for ids: the heavier side wins.

        At exactly 0.5 the row keeps its own id. Of a plan whose arrays are a framework's, as in a
        traced step, the result has no `lam` (None): that is counted on the host.

        Example:
          >>> Plan([1, 0], [[[0, 2]]] * 2, [0.75, 0.5], axes="T", size=(2,)).hardened().opacity
          array([1., 0.], dtype=float32)
        """
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        columns |= {"label_lam": None, "lam": None}
        if self.mask is None:
            columns |= {"opacity": _heavier(self.opacity), "blend": _heavier(self.blend)}
        else:
            row = (slice(None), *[None] * len(self.size))
            columns["mask"] = _heavier(self.blend[row] * self.mask)
            columns |= {"opacity": 1 + 0 * self.opacity, "blend": 1 + 0 * self.blend}
        plan = Plan._unchecked(**columns)
        if isinstance(self.partner, np.ndarray):
            plan.__post_init__()
        return plan

    @classmethod
    def _unchecked(cls, **columns: Any) -> Plan:
        """A plan of columns that were checked before, or hold no values yet (traced, stacked)."""
        plan = object.__new__(cls)
        for name in (f.name for f in fields(cls)):
            object.__setattr__(plan, name, columns.get(name))
        return plan

    def _columns(self) -> dict[str, Any]:
        """The arrays that this plan has, by name."""
        names = [f.name for f in fields(self) if f.name not in ("axes", "size")]
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}

    @property
    def __jax_array__(self) -> Any:
        """What JAX asks arguments of a type that it does not know for: how to make a plan known."""
        # not an AttributeError, which would read as "no array" and leave JAX's own message
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
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        arrays = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
        with Path(path).open("wb") as file:  # given a name, savez would append ".npz" to it
            np.savez(cast(BinaryIO, file), format=np.asarray(FORMAT), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote; it is checked like any other.

        Raises:
          MixError: the file is not a saved plan, or of a newer format.
          FileNotFoundError: there is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Any] = dict(file)
            version = int(arrays.pop("format"))
            axes, size = str(arrays.pop("axes")), tuple(arrays.pop("size").tolist())
            if version != FORMAT:
                raise ValueError(f"format {version}")
            return cls(axes=axes, size=size, **arrays)
        except FileNotFoundError:
            raise
        except Exception as problem:  # zip, key, type and pickle errors all mean the same thing
            if isinstance(problem, MixError):
                raise
            raise mix_error(
                "Plan.load()",
                f"cannot read {str(path)!r} as a plan ({problem}).",
                f"A plan is an npz file of format {FORMAT}, without pickled objects.",
                "Write it with plan.save(path), by a version of batchmix no newer than this one.",
            ) from None


def _heavier(weight: Any) -> Any:
    """0 for weights up to one half, 1 above: by operators that arrays of any framework have."""
    return 0 - (0.5 - weight) // 1
