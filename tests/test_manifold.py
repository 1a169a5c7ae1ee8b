"""Mixing what a layer puts out: pixels of features, labels on their grid, gradients, refusals."""

import numpy as np
import pytest

import batchmix as bm
import oracle
from batchmix.policies import CutMix, Layers, MixUp, Switch

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from batchmix.adapters.torch_manifold import mixed_at  # noqa: E402

IMAGE = {"H": 16, "W": 12}


@pytest.fixture
def net():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh())
    return nn.Sequential(features, nn.Flatten(), nn.Linear(4 * 8 * 6, 10))


def plan_of(policy, rows=6, size=IMAGE, seed=0):
    return bm.draw(policy, bm.Key(seed), rows, size)


def hooks(net):
    return [len(one._forward_hooks) for one in net.modules()]


POLICIES = [MixUp(1.0), CutMix(), Switch([MixUp(1.0), CutMix()]), Layers([CutMix(), CutMix()])]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_features_are_mixed_on_their_own_grid(net, policy):
    x, plan = torch.rand(6, 3, 16, 12), plan_of(policy)
    with mixed_at(net[0], plan) as mixed:
        found = net(x)
    assert (mixed.plan.axes, mixed.plan.size) == ("HW", (8, 6))
    assert hooks(net) == [0] * 6
    features = net[0](x).detach().numpy().astype(np.float64)
    want = features
    for layer in mixed.plan.layers:
        want = oracle.mix(want, layer, "NCHW", other=features)
    want = net[1:](torch.tensor(want, dtype=torch.float32))
    np.testing.assert_allclose(found.detach(), want.detach(), atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_labels_are_the_shares_of_features(policy):
    """Features of row i are the constant i, one channel per row; labels count what is seen."""
    rows = nn.AvgPool2d(2)
    x = torch.eye(6)[:, :, None, None].expand(6, 6, 16, 12)
    plan = plan_of(policy, seed=3)
    with mixed_at(rows, plan) as mixed:
        shares = rows(x).mean((2, 3))
    labels = bm.mix_labels(torch.arange(6), mixed.plan, 6)
    np.testing.assert_allclose(labels, shares, atol=1e-6)


def test_a_box_that_falls_between_cells_changes_the_label():
    plan = bm.Plan([1, 0], [[[0, 5], [0, 16]]] * 2, [1, 1], "HW", (16, 16))
    pool = nn.AvgPool2d(4)
    with mixed_at(pool, plan) as mixed:
        pool(torch.rand(2, 3, 16, 16))
    assert plan.lam[0] == np.float32(11 / 16)
    assert mixed.plan.lam[0] == 0.75


@pytest.mark.parametrize(
    ("layout", "shape", "size"),
    [
        ("NC", (6, 5), {}), ("NC", (6, 5), IMAGE),
        ("NTC", (6, 7, 5), {}), ("NTC", (6, 7, 5), IMAGE),
        ("NTC", (6, 7, 5), {"T": 21}), ("NCDHW", (6, 2, 3, 4, 5), {"D": 6, "H": 8, "W": 10}),
    ],
)  # fmt: skip
def test_layouts(layout, shape, size):
    policy = CutMix() if size else MixUp(1.0)
    plan, layer, x = plan_of(policy, size=size), nn.Identity(), torch.rand(shape)
    with mixed_at(layer, plan, layout) as mixed:
        found = layer(x)
    assert mixed.plan.size == tuple(shape[layout.index(axis)] for axis in mixed.plan.axes)
    assert mixed.plan.axes == (plan.axes if set(plan.axes) <= set(layout) else "")
    np.testing.assert_allclose(found, bm.mix(x, mixed.plan, layout))
    if not mixed.plan.axes:  # weights are kept where rows are blended
        np.testing.assert_allclose(mixed.plan.lam, plan.lam, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_gradients(net, policy):
    net, plan = net.double(), plan_of(policy)
    soft = bm.mix_labels(torch.arange(6), plan.at({"H": 8, "W": 6}), 10).double()

    def loss(x, weight):
        with torch.no_grad():
            net[0][0].weight.copy_(weight)
        with mixed_at(net[0], plan):
            logits = torch.func.functional_call(net, {"0.0.weight": weight}, x)
        return bm.losses.soft_cross_entropy(logits, soft)

    x = torch.rand(6, 3, 16, 12, dtype=torch.float64, requires_grad=True)
    weight = net[0][0].weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (x, weight), fast_mode=True)


def test_training_reaches_layers_on_both_sides(net):
    plan, y = plan_of(CutMix()), torch.arange(6)
    with mixed_at(net[0], plan) as mixed:
        logits = net(torch.rand(6, 3, 16, 12))
    loss = bm.losses.pairwise(
        nn.CrossEntropyLoss(reduction="none"), logits, bm.pairs(y, mixed.plan)
    )
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def passes(net, count, layer=None, error=None):
    """As many forward passes in one context."""
    with mixed_at(net[0] if layer is None else layer, plan_of(CutMix())) as mixed:
        for _ in range(count):
            net(torch.rand(6, 3, 16, 12))
        if error:
            raise error
    return mixed


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_hook_is_taken_off_after_an_error(net, count):
    with pytest.raises((ZeroDivisionError, bm.MixError)):
        passes(net, count, error=ZeroDivisionError())
    assert hooks(net) == [0] * 6
    x = torch.rand(6, 3, 16, 12)
    torch.testing.assert_close(net(x), net[1:](net[0](x)))


def test_one_pass_a_context(net):
    with pytest.raises(bm.MixError, match="the layer has not run in this context"):
        passes(net, 0)
    assert passes(net, 1).plan.size == (8, 6)
    with pytest.raises(bm.MixError, match="the Sequential ran a second time in one context"):
        passes(net, 2)
    twice = nn.Sequential(net[0][1], net[0][1])
    with pytest.raises(bm.MixError, match="a layer that the model uses once"):
        passes(twice, 1, layer=net[0][1])


def test_the_plan_is_there_once_the_layer_has_run(net):
    with mixed_at(net[0], plan_of(CutMix())) as mixed:
        with pytest.raises(bm.MixError, match="has not run"):
            mixed.plan  # noqa: B018
        net(torch.rand(6, 3, 16, 12))
        assert mixed.plan.size == (8, 6)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_recomputed_layers_give_no_wrong_gradients(net, reentrant, inside):
    """The layer runs again in backward, unmixed where the context has ended."""

    def train():
        x = torch.rand(6, 3, 16, 12, requires_grad=True)
        with mixed_at(net[0], plan_of(CutMix())):
            found = checkpoint(net, x, use_reentrant=reentrant)
            if inside:
                found.sum().backward()
        found.sum().backward()

    with pytest.raises((bm.MixError, RuntimeError), match=r"recompute|tensors was saved"):
        train()
    assert hooks(net) == [0] * 6


def test_without_gradients(net):
    x = torch.rand(6, 3, 16, 12)
    with torch.no_grad(), mixed_at(net[0], plan_of(CutMix())) as mixed:
        found = net(x)
    want = net[1:](bm.mix(net[0](x), mixed.plan, "NCHW"))
    torch.testing.assert_close(found, want)


def test_a_compiled_model_is_mixed_right_or_refused(net):
    x = torch.rand(6, 3, 16, 12)
    compiled = torch.compile(net, backend="eager")
    for seed in range(3):
        plan = plan_of(CutMix(), seed=seed)
        with mixed_at(net[0], plan):
            found = compiled(x)
        with mixed_at(net[0], plan):
            torch.testing.assert_close(found, net(x))
    torch.testing.assert_close(compiled(x), net(x))
    torch.compiler.reset()
    compiled(x)  # without a hook, which is then passed over
    with pytest.raises(bm.MixError, match=r"no compiled copy"):  # noqa: SIM117
        with mixed_at(net[0], plan_of(CutMix())):
            compiled(x)


@pytest.mark.parametrize(
    ("layer", "x", "layout", "said"),
    [
        (nn.Identity(), (3, 3, 16, 12), "NCHW", "puts out 3 rows; the plan has 6."),
        (nn.Identity(), (6, 12), "NCHW", "shape (6, 12); layout is 'NCHW'"),
        (nn.Identity(), (6, 12), None, "layout is None"),
        (nn.Identity(), (6, 3, 16), "NCH", "Plan.at()"),
        (nn.GRU(3, 4, batch_first=True), (6, 5, 3), "NTC", "the GRU puts out a tuple"),
    ],
)  # fmt: skip
def test_what_does_not_fit(layer, x, layout, said):
    with (
        pytest.raises(bm.MixError) as error,
        mixed_at(layer, plan_of(CutMix()), layout),
    ):
        layer(torch.rand(x))
    assert said in str(error.value)


def test_parts_of_a_batch_are_refused(net):
    """What `nn.DataParallel` does: the hooks go along to each copy, which gets some of the rows."""
    half = torch.rand(3, 3, 16, 12)
    with pytest.raises(bm.MixError, match=r"DataParallel splits"):  # noqa: SIM117
        with mixed_at(net[0], plan_of(CutMix())):
            net[0]._replicate_for_data_parallel()(half)


@pytest.mark.parametrize("given", [("layer2", "plan"), (nn.Identity(), "plan"), (None, None)])
def test_wrong_arguments(given):
    with pytest.raises(bm.MixError, match=r"^mixed_at\(\): got a "), mixed_at(*given):
        raise AssertionError
