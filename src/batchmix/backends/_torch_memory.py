"""When the memory of a PyTorch tensor may be read and written directly, and where it lies."""

from __future__ import annotations

import sys
import threading
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd import forward_ad

from batchmix._errors import MixError, mix_error
from batchmix.backends._host import lie_apart
from batchmix.backends._memory import Memory

# dtypes with few operations, as integers of the same size: to choose rows their bits are enough
BITS = {
    getattr(torch, name): bits
    for name, bits in [
        ("uint16", torch.int16), ("uint32", torch.int32), ("uint64", torch.int64),
        ("float8_e4m3fn", torch.uint8), ("float8_e5m2", torch.uint8), ("complex32", torch.int32),
    ]
    if hasattr(torch, name)
}  # fmt: skip


# The kind of tensor and the modes that are active, as torch's dispatcher tells them. Compared with
# those of dense tensors on the host in no mode, so that what is unknown here is not addressable:
# conjugate views, FakeTensor, functorch, tracers, and what there will be.
_named: Any = getattr(torch._C.DispatchKeySet, "raw_repr", repr)  # PyTorch 2.4 tells names only


def _kind(x: Any) -> int | str:
    return _named(torch._C._dispatch_keys(x))  # type: ignore[no-any-return]


def _modes() -> int | str:
    return _named(torch._C._dispatch_tls_local_include_set())  # type: ignore[no-any-return]


_KINDS: dict[str, set[int | str]] = {}  # by the type of the device
_MODES: set[int | str] = set()


def _learn(device: str) -> None:
    kinds = _KINDS.setdefault(device, set())
    for inference in (False, True):
        with torch.inference_mode(inference):
            kinds.add(_kind(torch.empty(0, device=device)))
            _MODES.add(_modes())


def _kinds(device: str) -> set[int | str]:
    if device not in _KINDS:
        # in a thread of its own: modes are those of a thread, and the first use may be in one
        learner = threading.Thread(target=_learn, args=(device,))
        learner.start()
        learner.join()
    return _KINDS[device]


_kinds("cpu")


def no_mode() -> bool:
    """Whether torch does what it is told, and nobody looks on."""
    return _modes() in _MODES


def is_dense(x: Any) -> bool:
    """Whether `x` lies on the host, cell by cell."""
    return _kind(x) in _KINDS["cpu"]


def addressable(*tensors: Any) -> bool:
    """Whether the memory of CPU tensors may be read directly: nothing else says what they hold."""
    return plain("cpu", tensors) and not differentiated(*tensors)


def differentiated(*tensors: Any) -> bool:
    """Whether autograd is to know what is done."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def plain(device: str, tensors: Any) -> bool:
    """Whether they are dense tensors on a device of that type, in no mode."""
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0 or not no_mode():
        return False
    for x in tensors:
        known = type(x) is torch.Tensor or _only_a_name(type(x))
        if not known or _kind(x) not in _kinds(device):
            return False
    return True


def _only_a_name(cls: type) -> bool:
    """Whether a subclass does nothing but tell what its tensors are."""
    known = "torchvision.tv_tensors.", "monai.data.meta_tensor"
    return cls is torch.nn.Parameter or cls.__module__.startswith(known)


def allocated(x: Any) -> bool:
    """Whether the storage, which FSDP frees and anybody may shrink, covers the tensor."""
    if type(x) is not torch.Tensor and not _only_a_name(type(x)):
        return not isinstance(x, torch.nn.parameter.UninitializedTensorMixin)
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    if x.is_nested or x.layout is not torch.strided:
        return True
    try:
        held = x.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):  # a transformation stands before it
        return True
    return bool(held >= x.storage_offset() * x.element_size() + _bytes(x))


def together(x: Any, y: Any) -> bool:
    return bool(x.device == y.device)


def traced(x: Any) -> bool:
    """Whether operations are recorded now, and Python is not: torch.compile has it run again."""
    if torch.compiler.is_dynamo_compiling():
        return False
    recorder = sys.modules.get("torch.fx.experimental.proxy_tensor")
    # PyTorch 2.4 has the other name
    mode = getattr(recorder, "get_proxy_mode", getattr(recorder, "get_innermost_proxy_mode", None))
    return torch.jit.is_tracing() or bool(mode and mode())


def memory(x: Any) -> Memory:
    item = x.element_size()
    return Memory(x.data_ptr(), tuple(x.shape), tuple([n * item for n in x.stride()]))


def view(x: Any) -> Any:
    """The memory of a tensor, as a NumPy array; of dtypes that NumPy lacks, the bits."""
    x = x.detach()
    known = str(x.dtype).removeprefix("torch.") in np.sctypeDict  # np.bool warns before NumPy 2
    return (x if known else x.view(BITS[x.dtype])).numpy()


def overlap(out: Any, x: Any) -> Literal["same", "none", "partial"]:
    """By the bounds of both; memory without an address, such as that of a trace, is apart."""
    if out is x:
        return "same"
    starts = _start(out), _start(x)
    if not all(starts) or out.device != x.device:
        return "none"
    if starts[0] == starts[1] and out.stride() == x.stride() and out.shape == x.shape:
        return "same"
    ends = [start + _bytes(v) for start, v in zip(starts, (out, x))]
    return "partial" if starts[0] < ends[1] and starts[1] < ends[0] else "none"


def _start(x: Any) -> int:
    """The address of the first byte, 0 where there is none."""
    if torch.compiler.is_compiling():
        return 0
    try:
        return int(x.data_ptr())
    except RuntimeError:  # a FakeTensor, or one that a transformation stands before
        return 0


def _bytes(x: Any) -> int:
    """From the first to the one after the last."""
    if x.is_contiguous() or not x.numel():
        return int(x.nbytes)
    last = sum((n - 1) * s for n, s in zip(x.shape, x.stride()))
    return int((last + 1) * x.element_size())


def writable(out: Any) -> bool:
    """Not where autograd would refuse it, nor where elements share memory."""
    if out.requires_grad and (out.is_leaf or out._is_view()):
        return False
    if out.is_inference() and not torch.is_inference_mode_enabled():
        return False
    return out.is_contiguous() or lie_apart(out.shape, out.stride(), 1)


def counted(out: Any) -> Any:
    """What the kernel wrote to, as far as autograd is concerned."""
    if not out.is_inference():
        torch.autograd.graph.increment_version(out)
    return out


def laid_out(mixed: Any, x: Any) -> Any:
    """In the memory format of `x`: gathering rows loses channels_last."""
    if mixed.stride() == x.stride():
        return mixed
    order = sorted(range(x.dim()), key=lambda k: -x.stride(k))
    back = sorted(range(x.dim()), key=lambda k: order[k])
    return mixed.permute(order).contiguous().permute(back)


def written(out: Any, mixed: Any) -> Any:
    """`out`, where all modes and transformations see that it is written to."""
    try:
        return out.copy_(mixed)
    except RuntimeError as problem:
        raise mix_error(
            "mix", f"PyTorch does not write to this `out` ({str(problem).splitlines()[0]}).",
            "It is written to in place.", "Leave `out` out.",
        ) from problem  # fmt: skip


def named(mixed: Any, x: Any) -> Any:
    """As a tv_tensor of torchvision if `x` is one: its operations answer with plain tensors."""
    kinds = None if type(x) is torch.Tensor else sys.modules.get("torchvision.tv_tensors")
    return kinds.wrap(mixed, like=x) if kinds and isinstance(x, kinds.TVTensor) else mixed


def uploaded(value: NDArray[Any], like: Any) -> Any:
    """A host array on the GPU of `like`, out of pinned memory of its own: nothing waits for it."""
    if torch.cuda.is_current_stream_capturing():
        raise mix_error(
            "mix", "got numbers of the host in a step that is captured as a CUDA graph.",
            "Each replay would repeat them, from memory that is gone by then.",
            "Capture with the `plan` of a batchmix.adapters.torch.PlanBuffer, after a first run.",
        )  # fmt: skip
    dtype = torch.from_numpy(np.empty(0, value.dtype)).dtype
    staged = torch.empty(value.shape, dtype=dtype, pin_memory=True)
    staged.numpy()[...] = value
    return staged.to(like.device, non_blocking=True)


def lie_dense(rows: Any, out: Any) -> bool:
    """Whether rows, which may be one tensor, and `out` can be read and written as they lie."""
    if isinstance(rows, torch.Tensor) and not addressable(rows):  # some do not tell their rows
        return False
    tensors = [*rows, out]
    return addressable(*tensors) and all(x.is_contiguous() for x in tensors)


def addresses(rows: Any) -> Any:
    return np.array([row.data_ptr() for row in rows], np.int64)


def not_indexed(x: Any, problem: Exception) -> MixError:
    """The error for a tensor that answers for itself, and refuses."""
    return mix_error(
        "mix", f"PyTorch cannot index a {type(x).__name__} ({str(problem).splitlines()[0]}).",
        "Rows are gathered by the partners of the plan, a plain tensor.",
        "Of a DTensor mix the local part; use a FakeTensor inside of its mode.",
    )  # fmt: skip
