"""One module per framework, all with the same functions: the contract is `Backend`."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, TypeVar, cast

from batchmix._errors import MixError, mix_error

# class of an array, by its top-level package -> module here
_ARRAYS = {
    "numpy.ndarray": "numpy", "torch.Tensor": "torch", "tensorflow.Tensor": "tensorflow",
    "jaxlib.ArrayImpl": "jax", "jax.Tracer": "jax",
}  # fmt: skip
_BY_TYPE: dict[type, Backend] = {}
_Callable = TypeVar("_Callable", bound=Any)


class Backend(Protocol):
    """What a framework has to supply. `x` and `y` are its arrays; the rest is host values."""

    def paste(self, x: Any, other: Any, plan: Any, layout: str, out: Any) -> Any:
        """The kernel: `plan` executed on `x`, partners taken from `other`, into `out` or anew."""

    def mix_rows(self, rows: Any, plan: Any, layout: str, out: Any) -> Any:
        """`plan` executed on rows that lie apart, stacked into `out` or anew."""

    def widen(self, rows: Any, plan: Any, mean: Any, std: Any, dtype: str, out: Any) -> Any:
        """uint8 rows [H, W, C], mixed and normalised, as [B, C, H, W]."""

    def overlap(self, out: Any, x: Any) -> str:
        """How the memory of `out` meets that of `x`: "same", "none" or "partial"."""

    def writable(self, out: Any) -> bool:
        """Whether `out` may be written to, each element by itself."""

    def blendable(self, x: Any) -> bool:
        """Whether the dtype can be averaged (ids and booleans cannot)."""

    def is_integer(self, y: Any) -> bool:
        """Whether the dtype is an integer or boolean one."""

    def on_host(self, y: Any) -> Any:
        """`y` as a NumPy array where that costs nothing, else None (device, traced)."""

    def to_numpy(self, x: Any) -> Any:
        """A NumPy array, float64 or integer, whatever it costs."""

    def array(self, value: Any, like: Any) -> Any:
        """A small host array as an array of the framework, on the device of `like`."""

    def cast(self, x: Any, dtype: str) -> Any:
        """`x` in another dtype, given by name."""

    def take(self, x: Any, index: Any) -> Any:
        """Rows of x."""

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Elementwise choice."""

    def soft(self, ids: Any, partners: Any, lam: Any, classes: int, off: float, on: float) -> Any:
        """float32 [B, classes]: `off`, plus lam * on at ids, plus (1 - lam) * on at partners."""

    def log_softmax(self, logits: Any) -> Any:
        """Over the last axis."""

    def log_sigmoid(self, logits: Any) -> Any:
        """Elementwise."""

    def calibration_error(self, probabilities: Any, y: Any, bins: int) -> float:
        """Expected calibration error with bins of equal width."""

    # further functions, of frameworks whose functions are traced once and then run many times:
    #   traced(x)                       whether `x` has no values yet
    #   drawn(make, numbers, rows, x)   the plan of make(*numbers, rows), drawn whenever that runs
    # and of those whose arrays lack the methods of NumPy's, or are never converted when two meet:
    #   total(x)  mean(x)               sum over the last axis; mean over everything
    #   promoted(x, y)                  both in one dtype


def backend_of(x: Any, where: str) -> Backend:
    """The backend of an array, by its type; `where` names the caller in the error."""
    _load(type(x), where)
    return _BY_TYPE[type(x)]


def plain(function: _Callable) -> _Callable:
    """The same, marked as Python that TensorFlow's AutoGraph calls as it is, without rewriting."""
    function.autograph_info__ = {}
    return function


def is_traced(x: Any) -> bool:
    """Whether `x` is an array without values yet; what Python reads of it now, it reads once."""
    if isinstance(x, int | float):
        return False
    try:
        traced = getattr(backend_of(x, "is_traced()"), "traced", None)
    except MixError:  # what is no array
        return False
    return traced is not None and bool(traced(x))


def _load(cls: type, where: str) -> None:
    """Look a type up by its own name or that of a base of it; import only that backend."""
    if cls in _BY_TYPE:
        return
    for base in cls.__mro__:
        name = _ARRAYS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if name:
            backend = importlib.import_module(f"{__name__}.{name}")
            _BY_TYPE[cls] = cast(Backend, backend)
            return
    raise mix_error(
        where,
        f"got a {cls.__module__}.{cls.__qualname__}.",
        f"It works on the arrays of {', '.join(_ARRAYS)}.",
        "Convert first, for example with numpy.asarray.",
    )


# torch.compile reads this mark: it calls _load while tracing and keeps only that it returned None,
# so that a first call inside a compiled step does not break the graph at the import
_load._dynamo_marked_constant = True  # type: ignore[attr-defined]
