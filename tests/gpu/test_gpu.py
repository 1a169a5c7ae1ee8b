"""The kernel for GPUs beyond the contract: tiles, order in place, gradients, compiled steps."""

import itertools

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.adapters.torch import PlanBuffer
from batchmix.backends import _torch_gpu, _triton, _triton_words, kernels
from batchmix.fields import Ids, Labels
from batchmix.policies import CutMix, MixUp, Switch

HW = {"H": 7, "W": 10}
SWITCH = Switch([MixUp(0.8), CutMix(1.0)], [0.5, 0.5])


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles in each direction, of what tests can afford."""

    def small(*told):
        tiles = whole(*told)
        return tiles._replace(high=min(tiles.high, 4), wide=min(tiles.wide, 8))

    whole = _triton_words.tiles_of
    monkeypatch.setattr(_triton, "tiles_of", small)


@pytest.fixture
def launched(monkeypatch):
    """Names of the kernels that were launched."""
    seen = []
    for name in ("paste", "normalize", "soft"):
        kernel = getattr(_triton.kernel, name)
        monkeypatch.setattr(_triton.kernel, name, Launches(kernel, name, seen))
    return seen


class Launches:
    def __init__(self, kernel, name, seen):
        self.kernel, self.name, self.seen = kernel, name, seen

    def __getitem__(self, grid):
        self.seen.append(self.name)
        return self.kernel[grid]


def random_plan(rng, rows, kinds, source=False, mask=False):
    """Any partner map, any boxes; `kinds` of opacities."""
    size = tuple(HW.values())
    ends = np.sort(rng.integers(0, np.array(size)[:, None] + 1, (rows, 2, 2)), -1)
    starts = rng.integers(0, 4, (rows, 2, 1))
    found = {"source": np.concatenate([starts, starts + rng.integers(1, 4, starts.shape)], -1)}
    columns = found if source else {}
    if mask:
        columns["mask"] = rng.integers(0, 256, (rows, 3, 5)).astype(np.uint8)
    opacity = rng.choice(kinds, rows)
    return bm.Plan(rng.integers(0, rows, rows), ends, opacity, "HW", size, **columns)


def on_host(plan, x, layout, **others):
    others = {name: value.cpu().numpy() for name, value in others.items()}
    return bm.mix(x.cpu().numpy(), plan, layout, **others)


def assert_same(got, want):
    np.testing.assert_allclose(got.cpu().numpy(), want, rtol=1e-6, atol=1e-6)


def test_what_is_used_is_told():
    assert kernels()["cuda"] == "triton"


def test_other_makers_of_gpus_have_the_portable_path(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.2")
    monkeypatch.setattr(_torch_gpu, "_found", [])
    assert kernels()["cuda"] == "portable"
    assert not _torch_gpu.takes(torch.rand(2, 3))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NHCW", "NWH"])
def test_tiles_meet(device, small_tiles, layout):
    rng = np.random.default_rng(0)
    shape = [5, *({"C": 2, **HW}[letter] for letter in layout[1:])]
    for options in ({}, {"source": True}, {"mask": True}):
        plan = random_plan(rng, 5, [0, 0.5, 1, 1], **options)
        x = torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(device)
        assert_same(bm.mix(x, plan, layout), on_host(plan, x, layout))


@pytest.mark.parametrize("seed", range(12))
def test_in_place_for_any_pairing(device, small_tiles, launched, seed):
    rng = np.random.default_rng(seed)
    plan = random_plan(rng, 7, [0, 1, 0.5, 0.25])
    x = torch.from_numpy(rng.standard_normal((7, 2, 7, 10)).astype(np.float32)).to(device)
    want = on_host(plan, x, "NCHW")
    assert bm.mix(x, plan, "NCHW", out=x) is x
    assert_same(x, want)
    assert launched == ["paste"]


@pytest.mark.parametrize("opacity", [1, 0.5])
def test_in_place_leaves_other_tiles_alone(device, small_tiles, monkeypatch, opacity):
    """What is written in place goes to other memory here, where it can be told from what was."""
    monkeypatch.setattr(_triton, "overlap", lambda *_: "same")
    box = [[[0, 2], [0, 3]], [[0, 2], [0, 3]]]
    plan = bm.Plan([1, 0], box, [opacity, opacity], "HW", (7, 10))
    x = torch.arange(140.0, device=device).reshape(2, 7, 10)
    out = torch.full_like(x, torch.nan)
    assert _triton.paste(x, x, out, *_torch_gpu.told(plan, "NHW"))
    written = ~torch.isnan(out).cpu().numpy()
    assert written[:, :2, :8].all()  # lines of the tile that the box meets
    assert written.sum() == 2 * 2 * 8


def test_any_plan_is_one_launch(device, launched):
    rng = np.random.default_rng(1)
    x = torch.rand(6, 3, 7, 10, device=device)
    plan = random_plan(rng, 6, [1, 0.5], mask=True).then(random_plan(rng, 6, [1, 0.5], source=True))
    bm.mix(x, plan, "NCHW")
    assert launched == ["paste"]
    bm.mix_labels(torch.arange(6, device=device), bm.draw(SWITCH, bm.Key(0), 6, HW), 10)
    assert launched == ["paste", "soft"]
    plan = bm.draw(SWITCH, bm.Key(0), 6, {"H": 7, "W": 10})
    images = torch.randint(0, 256, (6, 7, 10, 3), dtype=torch.uint8, device=device)
    bm.mix_normalize(images, plan, [1, 2, 3], [4, 5, 6], dtype="bfloat16")
    assert launched[2:] == ["normalize"]
    bm.mix_stack(list(images), plan, "NHWC")
    assert launched[3:] == ["paste"]


def test_rows_are_read_in_the_order_of_their_partners(device, launched, monkeypatch):
    monkeypatch.setattr(_triton_words, "_CACHE", 0)
    plan = bm.draw(SWITCH, bm.Key(0), 6, HW)
    x = torch.rand(6, 2, 7, 10, device=device)
    assert_same(bm.mix(x, plan, "NCHW"), on_host(plan, x, "NCHW"))
    columns, _, form = _torch_gpu.told(plan, "NCHW")
    order = _triton_words.order_of(_torch_gpu.joined(columns, form), x).steps >> 1
    assert sorted(order) == list(range(6))
    follow = [plan.partner[row] == after for row, after in itertools.pairwise(order)]
    assert sum(follow) >= 3


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64, torch.bool, torch.int64])
def test_ids_of_any_width(device, dtype):
    x = torch.randint(0, 2, (5, 7, 10)).to(dtype).to(device)
    plan = bm.draw(SWITCH, bm.Key(0), 5, HW)
    got = Ids("NHW")(x, plan)
    np.testing.assert_array_equal(got.cpu().numpy(), Ids("NHW")(x.cpu().numpy(), plan))


def test_memory_with_gaps_takes_the_other_path(device, launched):
    x = torch.rand(5, 2, 14, 10, device=device)[:, :, ::2]
    plan = bm.draw(SWITCH, bm.Key(0), 5, HW)
    assert_same(bm.mix(x, plan, "NCHW"), on_host(plan, x, "NCHW"))
    assert launched == []


def test_channels_last_stays_so(device):
    x = torch.rand(5, 3, 7, 10, device=device).to(memory_format=torch.channels_last)
    plan = bm.draw(SWITCH, bm.Key(0), 5, HW)
    mixed = bm.mix(x, plan, "NCHW")
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert_same(mixed, on_host(plan, x, "NCHW"))


def test_more_classes_than_a_program_writes(device, launched):
    ids = torch.tensor([0, 2999, 7, 1500], device=device)
    plan = bm.draw(MixUp(1.0), bm.Key(0), 4, {})
    soft = bm.mix_labels(ids, plan, 3000, smoothing=0.1)
    assert launched == ["soft"]
    assert_same(soft, bm.mix_labels(ids.cpu().numpy(), plan, 3000, smoothing=0.1))


def test_a_plan_that_was_written_to_is_refused(device):
    plan = bm.Plan.unchecked(
        axes="", size=(), partner=np.array([5, 0], np.int32), box=np.zeros((2, 0, 2), np.int32),
        opacity=np.ones(2, np.float32), lam=np.zeros(2, np.float32),
    )  # fmt: skip
    with pytest.raises(bm.MixError, match="does not fit any more"):
        bm.mix(torch.rand(2, 3, device=device), plan, "NC")
    with pytest.raises(bm.MixError, match="does not fit any more"):
        bm.mix_labels(torch.tensor([0, 1], device=device), plan, 2)


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
@pytest.mark.parametrize("form", ["plain", "mask", "source", "layers"])
def test_gradients(device, form, resample):
    """Of both batches, and again of these."""
    rng = np.random.default_rng(2)
    options = {"mask": form == "mask", "source": form == "source"}
    plan = random_plan(rng, 3, [0.5, 1, 0.25], **options)
    if form == "source":
        plan = bm.Plan(
            plan.partner, plan.box, plan.opacity, "HW", plan.size, source=plan.source,
            resample=resample,
        )  # fmt: skip
    if form == "layers":
        plan = plan.then(random_plan(rng, 3, [0.5, 1]))
    x, other = torch.rand(2, 3, 1, 7, 10, dtype=torch.float64, device=device).requires_grad_()
    check = {"fast_mode": True, "nondet_tol": 1e-12}
    assert torch.autograd.gradcheck(lambda x: bm.mix(x, plan, "NCHW"), x, **check)
    both = x.detach().requires_grad_(), other.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, o: bm.mix(x, plan, "NCHW", other=o), both, **check)
    assert torch.autograd.gradgradcheck(lambda x: bm.mix(x, plan, "NCHW"), both[0], **check)


def test_the_operator_is_what_pytorch_takes_it_for(device):
    plan = random_plan(np.random.default_rng(3), 4, [0.5, 1], mask=True)
    columns, masks, form = _torch_gpu.told(plan, "NCHW")
    x = torch.rand(4, 2, 7, 10, device=device, requires_grad=True)
    arguments = (x, None, columns, masks, *form)
    torch.library.opcheck(torch.ops.batchmix.paste.default, arguments)


def test_a_compiled_step_is_one_graph_with_one_node(device):
    torch._dynamo.reset()
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    x = torch.rand(4, 3, 7, 10, device=device)

    def mixing(x, plan):
        return bm.mix(x, plan, "NCHW") * 2

    compiled = torch.compile(mixing, backend=keep, fullgraph=True)
    for step in range(3):
        plan = bm.draw(SWITCH, bm.Key(0, 0, step), 4, HW)
        torch.testing.assert_close(compiled(x, plan), mixing(x, plan))
    assert len(graphs) == 1
    nodes = [str(node.target) for node in graphs[0].graph.nodes]
    assert sum("batchmix" in name for name in nodes) == 1


def test_a_compiled_step_has_gradients(device):
    torch._dynamo.reset()
    plan = bm.draw(SWITCH, bm.Key(0), 4, HW)
    weight = torch.rand(4, 3, 7, 10, device=device)

    def loss(x):
        return (bm.mix(x, plan, "NCHW") * weight).sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    x = torch.rand(4, 3, 7, 10, device=device, requires_grad=True)
    got, want = (torch.autograd.grad(run(x), x)[0] for run in (compiled, loss))
    torch.testing.assert_close(got, want)
    assert_same(want.sum(0).sum(), np.float32(weight.sum().cpu()))


def test_a_buffer_takes_plan_after_plan(device):
    drawn = [bm.draw(SWITCH, bm.Key(0, 0, step), 4, HW) for step in range(4)]
    buffer = PlanBuffer(drawn[0], device)
    x, y = torch.rand(4, 3, 7, 10, device=device), torch.tensor([0, 1, 2, 1], device=device)
    for plan in drawn:
        buffer.fill(plan)
        torch.testing.assert_close(bm.mix(x, buffer.plan, "NCHW"), bm.mix(x, plan, "NCHW"))
        for made, want in zip(bm.pairs(y, buffer.plan), bm.pairs(y, plan)):
            torch.testing.assert_close(made, want)
        torch.testing.assert_close(Labels(3)(y, buffer.plan), Labels(3)(y, plan))


def test_a_buffer_is_for_one_form(device):
    buffer = PlanBuffer(bm.draw(SWITCH, bm.Key(0), 4, HW), device)
    with pytest.raises(bm.MixError, match="The buffer is for"):
        buffer.fill(bm.draw(SWITCH, bm.Key(0), 5, HW))
    with pytest.raises(bm.MixError, match="drawn on the host"):
        buffer.fill(buffer.plan if device == "cuda" else None)
