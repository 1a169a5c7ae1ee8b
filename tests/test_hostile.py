"""Everything that Python can pass: each verb answers rightly, or refuses with a MixError."""

import functools
import itertools
import tempfile
import warnings

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

import batchmix as bm
from batchmix import losses, metrics
from batchmix._boxes import mix_boxes
from batchmix._mix import mix_ids
from batchmix.backends import _loop
from checks import ROUTES, taken

B, C = 4, 5
RNG = np.random.default_rng(0)
PLAN = bm.Plan(
    [1, 2, 0, 3], [[[1, 6], [0, 5]], [[0, 6], [0, 7]], [[2, 4], [3, 6]], [[0, 6], [0, 7]]],
    [1, 0.25, 0.75, 1], "HW", (6, 7),
)  # fmt: skip
PIXELS = RNG.standard_normal((B, 2, 6, 7)).astype(np.float32)
BYTES = RNG.integers(0, 256, (B, 6, 7, 3), np.uint8)
MASKS = RNG.integers(-9, 2**40, (B, 6, 7))
IDS = np.array([0, 4, 2, 2])
SOFT = RNG.random((B, C), np.float32)
BOXES = np.float32([[[1, 2, 5, 6]]] * B)
PAIRS = bm.pairs(IDS, PLAN)
# verb -> what it does, and the arrays that it is given
VERBS = {
    "mix": (lambda x: bm.mix(x, PLAN, "NCHW"), PIXELS),
    "mix bytes": (lambda x: bm.mix(x, PLAN, "NHWC"), BYTES),
    "mix out": (lambda x: bm.mix(x, PLAN, "NCHW", out=x), PIXELS),
    "mix other": (lambda x, y: bm.mix(x, PLAN, "NCHW", other=y), PIXELS, PIXELS[::-1]),
    "ids": (lambda x: mix_ids(x, PLAN, "NHW"), MASKS),
    "labels": (lambda y: bm.mix_labels(y, PLAN, C, smoothing=0.1), IDS),
    "soft labels": (lambda y: bm.mix_labels(y, PLAN), SOFT),
    "pairs": (lambda y: bm.pairs(y, PLAN)[1], IDS),
    "stack": (lambda x: bm.mix_stack(x, PLAN, "NCHW"), PIXELS),
    "normalize": (lambda x: bm.mix_normalize(x, PLAN, [9] * 3, [2] * 3), BYTES),
    "boxes": (lambda x: mix_boxes(x, PLAN), BOXES),
    "soft loss": (losses.soft_cross_entropy, SOFT, SOFT),
    "binary loss": (losses.soft_binary_cross_entropy, SOFT, SOFT),
    "accuracy": (metrics.accuracy, SOFT, IDS),
    "nll": (metrics.nll, SOFT, IDS),
    "ece": (metrics.ece, SOFT, IDS),
}


def strided(a):
    """The same values in memory with gaps, backwards, in another order of axes."""
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(wide[..., 0], 0, -1)), -1, 0)[::-1][::-1]


def unaligned(a):
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def mapped(a, mode):
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  it lives as long as the memory
    a.tofile(file.name)
    return np.memmap(file.name, a.dtype, mode, shape=a.shape)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class Named(np.ndarray):
    """A subclass that adds nothing."""


NUMPY = {
    "memory with gaps": strided,
    "by columns": np.asfortranarray,
    "unaligned": unaligned,
    "of the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "mapped": lambda a: mapped(a, "r+"),
    "mapped read-only": lambda a: mapped(a, "r"),
    "zero strides": lambda a: np.broadcast_to(a[:1], a.shape),
    "a subclass": lambda a: a.view(Named),
    "masked": lambda a: np.ma.array(a, mask=a == a.flat[0]),
    "a matrix": lambda a: np.matrix(a.reshape(a.shape[0], -1)),
    "objects": lambda a: a.astype(object),
    "complex": lambda a: a.astype(np.complex64),
    "records": lambda a: np.rec.fromarrays([a, a], names="a,b"),
    "wide floats": lambda a: a.astype(np.longdouble),
    "strings": lambda a: a.astype(str),
    "a list": lambda a: a.tolist(),
    "nothing": lambda a: None,
    "a number": lambda a: a.flat[0],
}


class Marked(torch.Tensor):
    """A subclass that adds nothing."""


class Own(torch.Tensor):
    """A subclass that sees every function, and answers with its own kind."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})


def distributed(t):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    if not dist.is_initialized():
        from torch.testing._internal.distributed.fake_pg import FakeStore

        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    return distribute_tensor(t, init_device_mesh("cpu", (1,)), [Shard(0)])


def named(t):
    from torchvision import tv_tensors

    return tv_tensors.Image(t)


def in_inference(t):
    with torch.inference_mode():
        return t.clone()


def quantised(t):
    return torch.quantize_per_tensor(t, 0.1, 0, torch.quint8) if t.is_floating_point() else None


FAKE = FakeTensorMode()
TENSORS = {
    "a tensor": lambda t: t,
    "memory with gaps": lambda t: torch.stack([t, t], -1)[..., 0],
    "channels last": lambda t: t.to(memory_format=torch.channels_last) if t.dim() == 4 else None,
    "a parameter": lambda t: torch.nn.Parameter(t) if t.is_floating_point() else None,
    "with gradients": lambda t: t.requires_grad_() * 1 if t.is_floating_point() else None,
    "a view of a leaf": lambda t: t.requires_grad_()[:] if t.is_floating_point() else None,
    "a subclass": lambda t: t.as_subclass(Marked),
    "a subclass of its own": lambda t: t.as_subclass(Own),
    "of torchvision": named,
    "two tensors": lambda t: TwoTensor(t, t.clone()),
    "distributed": distributed,
    "made in inference mode": in_inference,
    "conjugate": lambda t: torch.complex(t, t).conj() if t.dtype == torch.float32 else None,
    "negative": lambda t: torch._neg_view(-t) if t.is_signed() else None,
    "zero": lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype),
    "functional": torch._to_functional_tensor,
    "expanded": lambda t: t[:1].expand(t.shape),
    "sparse": lambda t: t.to_sparse(),
    "sparse rows": lambda t: t.to_sparse_csr() if t.dim() == 2 else None,
    "nested": lambda t: torch.nested.nested_tensor(list(t)) if t.dim() > 1 else None,
    "jagged": lambda t: (
        torch.nested.nested_tensor(list(t), layout=torch.jagged) if t.dim() > 1 else None
    ),
    "quantised": quantised,
    "of mkldnn": lambda t: t.to_mkldnn() if t.dtype == torch.float32 else None,
    "unsigned": lambda t: t.to(torch.uint16) if t.dtype in (torch.int64, torch.uint8) else None,
    "meta": lambda t: t.to("meta"),
    "fake": FAKE.from_tensor,
}


def mapped_over(verb, *given):
    """`verb` over a leading axis of two, and the first of both."""
    return torch.vmap(verb)(*(torch.stack([t, t + 1]) for t in given))[0]


def dual(verb, *given):
    with forward_ad.dual_level():
        return verb(*(forward_ad.make_dual(t, t) for t in given))


def under(context):
    def run(verb, *given):
        with context():
            return verb(*given)

    return run


# ways to call a verb, each with tensors of other values first where it is recorded
WAYS = {
    "vmap": mapped_over,
    "functionalize": lambda verb, *given: torch.func.functionalize(verb)(*given),
    "jvp": lambda verb, *given: torch.func.jvp(verb, given, given)[0],
    "dual numbers": dual,
    "jit.trace": lambda verb, *given: torch.jit.trace(
        verb, tuple(torch.zeros_like(t) for t in given), check_trace=False
    )(*given),
    "make_fx": lambda verb, *given: make_fx(verb)(*(torch.zeros_like(t) for t in given))(*given),
    "a mode": under(lambda: FlopCounterMode(display=False)),
    "inference mode": under(torch.inference_mode),
    "no gradients": under(torch.no_grad),
    "a default device": under(lambda: torch.device("meta")),
    "autocast": under(lambda: torch.autocast("cpu")),
    "fake mode": under(lambda: FAKE),
    "compiled": lambda verb, *given: torch.compile(verb, backend="eager")(*given),
}
