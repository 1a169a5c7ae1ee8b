"""Plans that lie on a device, and buffers for them: what is refused, and what works."""

import pytest
import torch

import batchmix as bm
from batchmix.adapters.torch import PlanBuffer
from batchmix.backends import _triton
from batchmix.policies import CutMix, MixUp

SIZE = {"H": 6, "W": 9}
BOXES = [[[0, 4], [2, 7]], [[1, 6], [0, 9]], [[0, 6], [0, 9]], [[3, 3], [0, 9]]]
PLAN = bm.Plan([1, 2, 3, 0], BOXES, [1, 0.5, 0.25, 1], "HW", (6, 9))

VERBS = {
    "mix": lambda plan: bm.mix(torch.rand(4, 6, 9), plan, "NHW"),
    "mix_labels": lambda plan: bm.mix_labels(torch.arange(4), plan, 10),
    "pairs": lambda plan: bm.pairs(torch.arange(4), plan),
    "parts": lambda plan: bm.parts(torch.arange(4), plan),
    "mix_stack": lambda plan: bm.mix_stack(torch.rand(4, 6, 9, 1), plan),
    "mix_normalize": lambda plan: bm.mix_normalize(
        torch.zeros(4, 6, 9, 1, dtype=torch.uint8), plan, [1], [2]
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_plan_on_another_device_is_refused(verb):
    columns = {name: torch.from_numpy(v.copy()).to("meta") for name, v in PLAN.columns().items()}
    with pytest.raises(bm.MixError, match=r"`plan.partner` is on meta, `.*` on cpu"):
        VERBS[verb](bm.Plan.unchecked(**PLAN.form, **columns))


def test_labels_of_a_plan_on_the_device_need_no_numbers_of_the_host(device, monkeypatch):
    layered = PLAN.then(PLAN)
    y, columns = torch.arange(4, device=device), layered.columns()
    on_device = {name: torch.from_numpy(v.copy()).to(device) for name, v in columns.items()}
    want = bm.mix_labels(y, layered, 10)
    monkeypatch.delattr(_triton, "on_device")
    got = bm.mix_labels(y, bm.Plan.unchecked(**layered.form, **on_device), 10)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("nowhere", ["gpu", "meta", "mps", 3.5])
def test_a_buffer_is_on_a_gpu_or_the_host(nowhere):
    with pytest.raises(bm.MixError, match="got device="):
        PlanBuffer(PLAN, nowhere)


@pytest.mark.parametrize("policy", [CutMix(), MixUp()])
def test_a_buffer_for_every_verb(device, policy):
    first, last = (bm.draw(policy, bm.Key(0, 0, step), 4, SIZE) for step in range(2))
    buffer = PlanBuffer(first, device)
    buffer.fill(last)
    x, y = torch.rand(4, 6, 9, device=device), torch.arange(4, device=device)
    assert torch.equal(bm.mix(x, buffer.plan, "NHW"), bm.mix(x, last, "NHW"))
    assert torch.equal(bm.mix_labels(y, buffer.plan, 10), bm.mix_labels(y, last, 10))
    for got, want in zip(bm.pairs(y, buffer.plan), bm.pairs(y, last), strict=True):
        assert torch.equal(got, want)
