"""What a framework has to supply, by who asks for it. A module that does is a backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from batchmix._plan import Plan

# dtype -> the one that it is blended in; what is not here can be chosen from, but not averaged
COMPUTE = {
    "float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32",
    "uint8": "float32", "int8": "float32", "int16": "float32", "uint16": "float32",
}  # fmt: skip


class Kernel(Protocol):
    """Executes plans. Asked by `_mix` and `_stack`, which have checked all arguments."""

    def paste(self, x: Any, other: Any, plan: Plan, layout: str, out: Any) -> Any:
        """`plan` executed on `x`, partners taken from `other`, into `out` or anew."""

    def mix_stack(self, rows: Any, plan: Plan, layout: str, out: Any) -> Any:
        """`plan` executed on rows that lie apart, stacked into `out` or anew."""

    def mix_normalize(
        self, rows: Any, plan: Plan, mean: Any, std: Any, dtype: str, out: Any
    ) -> Any:
        """uint8 rows [H, W, C], mixed and normalised, as [B, C, H, W]."""

    def overlap(self, out: Any, x: Any) -> Literal["same", "none", "partial"]:
        """How the memory of `out` meets that of `x`."""

    def writable(self, out: Any) -> bool:
        """Whether `out` may be written to, each element by itself."""

    def blendable(self, x: Any) -> bool:
        """Whether the dtype can be averaged (ids and booleans cannot)."""


class Arrays(Protocol):
    """Operations on arrays. Asked by `_formula`, and by all that looks at what it was given."""

    def dense(self, x: Any) -> bool:
        """Whether every element has a place of its own: not sparse, nested or quantised."""

    def allocated(self, x: Any) -> bool:
        """Whether there is memory for every element: not freed, deleted or still to be made."""

    def together(self, x: Any, y: Any) -> bool:
        """Whether one operation can read both, as they lie on one device."""

    def array(self, value: Any, like: Any) -> Any:
        """A small host array, of which the memory may be shared, on the device of `like`."""

    def cast(self, x: Any, dtype: str) -> Any:
        """`x` in another dtype, given by name."""

    def rounded(self, x: Any, like: Any) -> Any:
        """`x` in the dtype of `like`; to integers half to even."""

    def take(self, x: Any, index: Any) -> Any:
        """Rows of x."""

    def take_along(self, x: Any, index: Any, axis: int) -> Any:
        """x at index[row, ..., cell, ...] on one axis; `index` is 1 on the others."""

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Elementwise choice."""

    def arange(self, n: int, like: Any) -> Any:
        """0 .. n-1, on the device of `like`."""

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """`x` in another shape; one size may be -1."""

    def transpose(self, x: Any, axes: Sequence[int]) -> Any:
        """`x` with its axes in another order."""

    def stack(self, rows: Any) -> Any:
        """Rows of one shape as a batch."""

    def is_integer(self, x: Any) -> bool:
        """Whether the dtype is an integer or boolean one."""

    def on_host(self, x: Any) -> NDArray[Any] | None:
        """`x` as a NumPy array where that costs nothing, else None (device, traced)."""

    def to_numpy(self, x: Any) -> NDArray[Any] | None:
        """float64 or integers, whatever it costs; None where there are no values (traced)."""


class Targets(Protocol):
    """Labels and what is computed with them. Asked by `_labels` and `losses`."""

    def soft(
        self, ids: Any, other: Any, partner: Any, lam: Any, classes: int, off: float, on: float
    ) -> Any:
        """float32 [B, classes]: `off`, plus lam * on at ids, plus (1 - lam) * on at other[partner].

        None where the host can see an id that is no class.
        """

    def log_softmax(self, logits: Any) -> Any:
        """Over the last axis."""

    def log_sigmoid(self, logits: Any) -> Any:
        """Elementwise."""

    def sum(self, x: Any) -> Any:
        """Over the last axis."""

    def mean(self, x: Any) -> Any:
        """Over everything."""

    def promoted(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Both in one dtype of floats that holds either."""


class Traced(Protocol):
    """For functions that are traced once and run many times. Asked by `_mixer`."""

    def traced(self, x: Any) -> bool:
        """Whether `x` has no values yet; what Python reads of it now, it reads once."""

    def drawn(
        self, make: Callable[..., Plan], numbers: Sequence[Any], rows: int | None, x: Any
    ) -> Plan:
        """The plan of ``make(*numbers, rows)``; where one is traced, drawn whenever that runs."""


class Backend(Kernel, Arrays, Targets, Traced, Protocol):
    """All of it."""
