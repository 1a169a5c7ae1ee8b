"""On a GPU alone: nothing waits, steps are captured, and large batches are right."""

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.adapters.torch import PlanBuffer
from batchmix.backends import _triton_words
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, FMix, MixUp, Switch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
SWITCH = Switch([MixUp(0.8), CutMix(1.0)], [0.5, 0.5])
HW = {"H": 224, "W": 224}


def batch(rows=64, dtype=torch.bfloat16):
    torch.manual_seed(0)
    return torch.randn(rows, 3, 224, 224, device="cuda").to(dtype)


@pytest.mark.parametrize("policy", [SWITCH, FMix(), CutMix(1.0)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.uint8])
def test_large_batches(monkeypatch, policy, dtype):
    x = (batch(dtype=torch.float32) * 50 + 128).clamp(0, 255).to(dtype)
    plan = bm.draw(policy, bm.Key(1), len(x), HW)
    want = bm.mix(x.cpu(), plan, "NCHW")
    for made in (bm.mix(x, plan, "NCHW"), bm.mix(x.clone(), plan, "NCHW")):
        torch.testing.assert_close(made.cpu(), want)
    images = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(bm.mix(images, plan, "NCHW").cpu(), want)
    for number in range(10):  # a race would not be the same each time
        monkeypatch.setattr(_triton_words, "_STEP", number % 2 << 20)  # as a chain, or as a copy
        out = x.clone()
        bm.mix(out, plan, "NCHW", out=out)
        torch.testing.assert_close(out.cpu(), want)


def test_nothing_waits():
    x, y = batch(8), torch.arange(8, device="cuda")
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(10)}, seed=0)
    mixer((x, y))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for policy in (SWITCH, FMix(), CutMix(1.0)):
            plan = bm.draw(policy, bm.Key(0), 8, HW)
            bm.mix(x, plan, "NCHW", out=x)
            bm.mix_labels(y, plan, 10)
            bm.pairs(y, plan)
        mixer((x, y))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_captured_step_takes_plan_after_plan():
    x, y = batch(8), torch.arange(8, device="cuda")
    drawn = [bm.draw(SWITCH, bm.Key(0, 0, step), 8, HW) for step in range(4)]
    buffer = PlanBuffer(drawn[0], "cuda")

    def step():
        return bm.mix(x, buffer.plan, "NCHW"), bm.mix_labels(y, buffer.plan, 10)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images, labels = step()
    for plan in drawn:
        buffer.fill(plan)
        graph.replay()
        torch.testing.assert_close(images, bm.mix(x, plan, "NCHW"))
        torch.testing.assert_close(labels, bm.mix_labels(y, plan, 10))


def test_a_plan_of_the_host_is_not_captured():
    x = batch(8)
    plan = bm.draw(SWITCH, bm.Key(0), 8, HW)
    bm.mix(x, plan, "NCHW")
    with pytest.raises(bm.MixError, match="PlanBuffer"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        bm.mix(x, plan, "NCHW")


def test_the_default_compiler():
    x = batch(8).requires_grad_()
    plan = bm.draw(SWITCH, bm.Key(0), 8, HW)
    compiled = torch.compile(lambda x: bm.mix(x, plan, "NCHW").float().square().sum())
    got, want = (
        torch.autograd.grad(run(x), x)[0]
        for run in (compiled, lambda x: bm.mix(x, plan, "NCHW").float().square().sum())
    )
    torch.testing.assert_close(got, want)


def test_labels_of_a_batch_on_the_gpu_that_are_no_classes():
    soft = bm.mix_labels(torch.tensor([0, 99], device="cuda"), bm.Plan.identity(2), 10)
    assert np.isnan(soft[1].cpu().numpy()).all()
    torch.cuda.synchronize()
