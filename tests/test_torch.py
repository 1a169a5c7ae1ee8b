"""What only PyTorch has: memory formats, gradients, compiled steps, devices."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import batchmix as bm
from batchmix._mix import mix_ids
from batchmix.backends import _loop
from batchmix.policies import CutMix, MixUp
from checks import SWITCH, assert_mixed

HW = {"H": 6, "W": 7}
MASKED = bm.Plan(
    [1, 2, 3, 0], [[[1, 6], [0, 5]]] * 4, [0.5, 1, 0.25, 1], "HW", (6, 7),
    mask=np.random.default_rng(0).random((4, 6, 7)), source=[[[0, 6], [0, 7]]] * 4,
)  # fmt: skip


def plan_of(step=0, batch=4, size=HW, policy=SWITCH):
    """A drawn plan."""
    return bm.draw(policy, bm.Key(0, 0, step), batch, size)


@pytest.mark.parametrize("small", [0, 10**9])
def test_channels_last_is_kept(monkeypatch, small):
    monkeypatch.setattr(_loop, "SMALL", small)
    x = torch.randn(4, 3, 6, 7).to(memory_format=torch.channels_last)
    got = bm.mix(x, plan_of(), "NCHW")
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got, bm.mix(x.contiguous(), plan_of(), "NCHW"))
    volume = torch.randn(4, 3, 2, 6, 7).to(memory_format=torch.channels_last_3d)
    mixed = bm.mix(volume, plan_of(), "NCTHW")
    assert mixed.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("small", [0, 10**9])
def test_views_and_expanded_tensors(monkeypatch, small):
    monkeypatch.setattr(_loop, "SMALL", small)
    x = torch.randn(8, 3, 12, 7)
    for view in (x[::2, :, 3:9], x[:4, :1, :6].expand(4, 3, 6, 7), x[4:, :, 6:].flip(0)):
        got = bm.mix(view, plan_of(), "NCHW")
        assert_mixed(got.double().numpy(), view.numpy(), plan_of(), "NCHW", "float32")


@pytest.mark.parametrize("plan", [plan_of(), MASKED])
def test_gradients_flow_to_both_rows(plan):
    """Feature-level mixing: the derivative is the weight each input has."""
    x = torch.randn(4, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bm.mix(x, plan, "NCHW"), x, fast_mode=True)
    other = torch.randn(4, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    own = x.detach()
    assert torch.autograd.gradcheck(
        lambda other: bm.mix(own, plan, "NCHW", other=other), other, fast_mode=True
    )
    y = torch.rand(4, 3, requires_grad=True)
    bm.mix_labels(y, plan).sum().backward()
    torch.testing.assert_close(y.grad.sum(), torch.tensor(12.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.uint8])
def test_a_compiled_step_is_one_graph_for_all_plans(dtype):
    """fullgraph, one compilation, and the results of the eager step."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    x = (torch.rand(4, 3, 6, 7) * 200).to(dtype)
    y = torch.tensor([0, 4, 2, 2])

    def mixing(x, y, plan):
        soft = bm.mix_labels(y, plan, 5, smoothing=0.1)
        return bm.mix(x, plan, "NCHW"), soft, bm.pairs(y, plan), mix_ids(x, plan, "NCHW")

    compiled = torch.compile(mixing, backend=counter, fullgraph=True)
    for k in range(6):
        torch.testing.assert_close(compiled(x, y, plan_of(k)), mixing(x, y, plan_of(k)))
    assert counter.frame_count == 1
    torch.testing.assert_close(compiled(x, y, MASKED), mixing(x, y, MASKED))


def test_the_default_compiler_gives_the_same():
    torch._dynamo.reset()
    x, y = torch.rand(4, 3, 6, 7), torch.tensor([0, 4, 2, 2])

    def mixing(x, y, plan):
        return bm.mix(x, plan, "NCHW"), bm.mix_labels(y, plan, 5)

    compiled = torch.compile(mixing, fullgraph=True)
    for plan in (plan_of(), plan_of(1)):
        torch.testing.assert_close(compiled(x, y, plan), mixing(x, y, plan))


def test_the_first_call_may_be_a_compiled_one():
    """Finding the backend imports a module, which must not break the graph."""
    code = """import batchmix as bm, torch
plan = bm.draw(bm.policies.MixUp(1.0), bm.Key(0), 2, {})
f = torch.compile(lambda x, y: (bm.mix(x, plan, "NC"), bm.mix_labels(y, plan, 2)),
                  fullgraph=True, backend="eager")
f(torch.ones(2, 3), torch.tensor([0, 1]))
print(torch._dynamo.utils.counters["graph_break"])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.stdout == "Counter()\n", done.stderr


class Transfers(TorchDispatchMode):
    """Notes every operation that moves data between host and device, and every wait."""

    def __init__(self):
        super().__init__()
        self.waits, self.copies = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = str(func)
        if "_to_copy" in name and args[0].device != out.device:
            self.copies += 1
            if not kwargs.get("non_blocking"):
                self.waits.append(name)
        if any(
            word in name for word in ("_local_scalar_dense", "nonzero", "equal.default", "item")
        ):
            self.waits.append(name)
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("plan", [plan_of(), MASKED])
def test_nothing_waits_for_a_device(plan, dtype):
    """On a device whose tensors hold no data: reading one would be an error."""
    with Transfers() as seen:
        x = torch.empty(4, 3, 6, 7, dtype=dtype, device="meta")
        y = torch.empty(4, dtype=torch.int64, device="meta")
        mixed = bm.mix(x, plan, "NCHW")
        assert (mixed.device.type, mixed.dtype, mixed.shape) == ("meta", dtype, x.shape)
        assert bm.mix(x, plan, "NCHW", out=x) is x
        bm.mix(x, plan, "NCHW", other=mixed)
        mix_ids(y[:, None, None].expand(4, 6, 7), plan, "NHW")
        soft = bm.mix_labels(y, plan, 5, smoothing=0.1)
        assert soft.device.type == "meta"
        bm.mix_labels(soft, plan)
        lam = bm.pairs(y, plan)[2]
        assert lam.device.type == "meta"
    assert seen.copies > 0
    assert seen.waits == []


def test_a_wait_would_be_seen():
    with Transfers() as seen:
        torch.ones(1).item()
    assert seen.waits


def test_in_place_on_shared_memory_of_numpy():
    """A tensor and the array it was made from."""
    x = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)
    plan = plan_of(size={"H": 64, "W": 64})
    want = bm.mix(x, plan, "NCHW")
    tensor = torch.from_numpy(x)
    bm.mix(tensor, plan, "NCHW", out=tensor)
    np.testing.assert_array_equal(x, want)


def test_inference_mode_and_subclasses():
    class Marked(torch.Tensor):
        pass

    x = torch.randn(4, 3, 6, 7)
    with torch.inference_mode():
        got = bm.mix(x.clone(), plan_of(), "NCHW")
    assert torch.equal(got, bm.mix(x, plan_of(), "NCHW"))
    assert torch.equal(
        bm.mix(x.as_subclass(Marked), plan_of(), "NCHW").as_subclass(torch.Tensor), got
    )
    assert bm.mix(torch.nn.Parameter(x), plan_of(policy=MixUp()), "NCHW").requires_grad


def test_vmap_over_an_extra_axis():
    x = torch.randn(3, 4, 2, 6, 7)
    plan = plan_of(policy=CutMix())
    got = torch.vmap(lambda x: bm.mix(x, plan, "NCHW"))(x)
    want = torch.stack([bm.mix(part, plan, "NCHW") for part in x])
    torch.testing.assert_close(got, want)


def test_a_mixer_inside_a_compiled_function():
    """It draws with NumPy, outside of the graph; the result is the same."""
    fields = {0: bm.fields.Image("NCHW"), 1: bm.fields.Labels(5)}
    one, two = (bm.Mixer(MixUp(1.0), fields, seed=3) for _ in range(2))
    compiled = torch.compile(lambda x, y: one((x, y)), backend="eager")
    for _ in range(2):
        batch = torch.rand(4, 3, 8, 8), torch.arange(4)
        for got, expected in zip(compiled(*batch), two(batch)):
            torch.testing.assert_close(got, expected)


def test_a_write_of_the_kernel_counts_as_one():
    """Else autograd would give a gradient of the mixed values, without a word."""
    weight, x = torch.ones(1, requires_grad=True), torch.randn(4, 3, 6, 7)
    for write in (
        lambda out: bm.mix(out, plan_of(), "NCHW", out=out),
        lambda out: bm.mix_stack(list(x.clone()), plan_of(), "NCHW", out=out),
    ):
        used = x.clone()
        y = used * weight
        write(used)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_no_rows_share_no_memory():
    x, other = torch.empty(0, 3), torch.empty(0, 3)
    plan = bm.Plan.identity(0)
    assert bm.mix(x, plan, "NC", other=other, out=x) is x


def test_a_tv_tensor_stays_one_whatever_the_draw():
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    x = tv_tensors.Image(torch.rand(4, 3, 6, 7))
    for plan in (bm.Plan.identity(4, "HW", (6, 7)), plan_of(), MASKED):
        assert type(bm.mix(x, plan, "NCHW")) is tv_tensors.Image


def test_the_first_use_may_be_inside_a_mode():
    """What is usual for a tensor is not learnt from one that is being watched."""
    from batchmix.backends import _torch_memory

    spec = importlib.util.spec_from_file_location("anew", _torch_memory.__file__)
    anew = importlib.util.module_from_spec(spec)
    with torch.inference_mode(), Transfers(), torch.device("meta"):
        spec.loader.exec_module(anew)
    assert anew._KINDS == _torch_memory._KINDS
    assert anew._MODES == _torch_memory._MODES
