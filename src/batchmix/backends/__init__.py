"""One module per framework. Each has the functions that `_contract` declares, and a test checks it.

A framework more is one module here and one line in `_ARRAYS`. What a module need not write itself:

- `_native`: the compiled kernel, by addresses and strides, for arrays on the host;
- `_loop`: the same in Python, row by row, where it was not built;
- `_formula`: the same in whole-batch operations of the contract, for devices and traced arrays;
- `_compiled`: what frameworks share whose arrays cannot be written to and whose steps are compiled.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from batchmix._errors import MixError, mix_error
from batchmix.backends._contract import Backend
from batchmix.backends._native import kernels, set_threads

if TYPE_CHECKING:  # mypy holds every module against the contract here
    from batchmix.backends import jax, numpy, tensorflow, torch

    _modules: tuple[Backend, ...] = (jax, numpy, tensorflow, torch)

__all__ = ["Backend", "backend_of", "called_as_is", "is_traced", "kernels", "set_threads"]

# class of an array, by its top-level package -> module here; None: an array in name only
_ARRAYS = {
    "numpy.MaskedArray": None, "numpy.matrix": None, "numpy.ndarray": "numpy",
    "torch.Tensor": "torch", "tensorflow.Tensor": "tensorflow",
    "jaxlib.ArrayImpl": "jax", "jax.Tracer": "jax",
}  # fmt: skip
_BY_TYPE: dict[type, Backend] = {}
_Callable = TypeVar("_Callable", bound=Any)


def backend_of(x: Any, where: str) -> Backend:
    """The backend of an array, by its type; `where` names the caller in the error."""
    _load(type(x), where)
    backend = _BY_TYPE[type(x)]
    if not backend.allocated(x):
        raise mix_error(
            where, f"got a {type(x).__name__} without memory for its elements.",
            "Its storage was freed or shrunk, it was deleted or donated, or it has no shape yet.",
            "Pass it while it is whole: gathered, before it is donated, after it is initialised.",
        )  # fmt: skip
    if not backend.dense(x):
        raise mix_error(
            where, f"got a {type(x).__name__} that is sparse, nested or quantised.",
            "Rows are mixed cell by cell, and each cell has a value of its own.",
            "Convert first, for example with x.to_dense() or x.dequantize().",
        )  # fmt: skip
    return backend


def called_as_is(function: _Callable) -> _Callable:
    """Tell TensorFlow's AutoGraph to call this function without converting it."""
    function.autograph_info__ = {}
    return function


def is_traced(x: Any) -> bool:
    """Whether `x` is an array without values yet; what Python reads of it now, it reads once."""
    if isinstance(x, int | float):
        return False
    try:
        return backend_of(x, "is_traced()").traced(x)
    except MixError:  # what is no array
        return False


def _load(cls: type, where: str) -> None:
    """Look a type up by its own name or that of a base of it; import only that backend."""
    if cls in _BY_TYPE:
        return
    names = [f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in cls.__mro__]
    name = next((_ARRAYS[n] for n in names if n in _ARRAYS), None)
    if name is None:
        raise mix_error(
            where, f"got a {cls.__module__}.{cls.__qualname__}.",
            "It works on the arrays of NumPy, PyTorch, JAX and TensorFlow, without masks.",
            "Convert first, for example with numpy.asarray.",
        )  # fmt: skip
    backend: Any = importlib.import_module(f"{__name__}.{name}")
    _BY_TYPE[cls] = backend


# torch.compile reads this mark: it calls _load while tracing and keeps only that it returned None,
# so that a first call inside a compiled step does not break the graph at the import
_load._dynamo_marked_constant = True  # type: ignore[attr-defined]
