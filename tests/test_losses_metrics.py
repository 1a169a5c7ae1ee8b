"""Losses and metrics against formulas in float64, PyTorch, and torchmetrics."""

import numpy as np
import pytest

import batchmix as bm
from batchmix import losses, metrics
from batchmix.policies import CutMix, MixUp, Switch

B, C = 64, 5
RNG = np.random.default_rng(0)
Y = RNG.integers(0, C, B)
LOGITS = RNG.standard_normal((B, C)) * 3 + 2 * np.eye(C)[Y]  # better than chance
PLAN = bm.draw(Switch([MixUp(1.0), CutMix()]), bm.Key(0), B, {"H": 8, "W": 8})
SOFT = bm.mix_labels(Y, PLAN, C)


@pytest.fixture
def torch():
    """PyTorch, where it is: the tests of another framework may be without."""
    return pytest.importorskip("torch")


def on(xp, values, dtype="float64"):
    """In a framework."""
    return xp.array(values, dtype)


def test_soft_cross_entropy(xp):
    rows = losses.soft_cross_entropy(on(xp, LOGITS), on(xp, SOFT), reduction="none")
    want = (SOFT * (np.log(np.exp(LOGITS).sum(1, keepdims=True)) - LOGITS)).sum(1)
    np.testing.assert_allclose(xp.numpy(rows), want, rtol=1e-6)
    mean = losses.soft_cross_entropy(on(xp, LOGITS), on(xp, SOFT))
    assert float(mean) == pytest.approx(float(want.mean()))


def test_soft_cross_entropy_does_not_overflow(xp):
    big = on(xp, [[1e4, -1e4], [0.0, 1e4]], "float32")
    target = on(xp, [[1.0, 0.0], [0.0, 1.0]], "float32")
    assert float(losses.soft_cross_entropy(big, target)) == 0


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_soft_binary_cross_entropy_is_that_of_timm(xp, threshold, torch):
    loss = pytest.importorskip("timm.loss").BinaryCrossEntropy(
        smoothing=0, target_threshold=threshold
    )
    want = loss(torch.tensor(LOGITS), torch.tensor(SOFT).double())
    got = losses.soft_binary_cross_entropy(on(xp, LOGITS), on(xp, SOFT), threshold=threshold)
    assert float(got) == pytest.approx(float(want), rel=1e-6)
    each = losses.soft_binary_cross_entropy(
        on(xp, LOGITS), on(xp, SOFT), threshold=threshold, reduction="none"
    )
    assert each.shape == (B, C)


def test_pairwise_equals_soft_cross_entropy(torch):
    """Cross-entropy is linear in its target; with weights per row only per-row losses give this."""
    logits, y = torch.tensor(LOGITS), torch.tensor(Y)
    pairs = bm.pairs(y, PLAN)
    cross_entropy = torch.nn.functional.cross_entropy
    got = losses.pairwise(lambda z, t: cross_entropy(z, t, reduction="none"), logits, pairs)
    want = losses.soft_cross_entropy(logits, torch.tensor(SOFT).double())
    assert float(got) == pytest.approx(float(want), rel=1e-6)
    averaged = cross_entropy(logits, y) * pairs[2].mean()
    averaged += cross_entropy(logits, pairs[1]) * (1 - pairs[2].mean())
    assert abs(float(averaged - want)) > 1e-3


@pytest.mark.parametrize("kind", ["list", "numpy", "own"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_classes_are_those_of_torch(xp, kind, dtype, torch):
    """Of soft labels; and of pairs of ids, each with its own weight."""
    weight = np.array([0.5, 2.0, 1.0, 0.0, 3.0])
    given = {"list": weight.tolist(), "numpy": weight, "own": on(xp, weight, dtype)}[kind]
    logits, soft = torch.tensor(LOGITS), torch.tensor(SOFT).double()
    cross_entropy = torch.nn.functional.cross_entropy
    theirs = {"weight": torch.tensor(weight)}
    want = cross_entropy(logits, soft, **theirs)
    got = losses.soft_cross_entropy(on(xp, LOGITS, dtype), on(xp, SOFT, dtype), weight=given)
    assert xp.dtype(got) == dtype
    assert float(got) == pytest.approx(float(want), rel=1e-5)

    def each(z, y):
        return cross_entropy(z, y, reduction="none", **theirs)

    pairs = bm.pairs(torch.tensor(Y), PLAN)
    assert float(losses.pairwise(each, logits, pairs)) == pytest.approx(float(want), rel=1e-5)
    # what torch divides by, where it is given ids
    hard = torch.tensor(np.eye(C)[Y])
    rows = losses.soft_cross_entropy(logits, hard, "none", weight=weight)
    by_weight = rows.sum() / (hard @ theirs["weight"]).sum()
    torch.testing.assert_close(by_weight, cross_entropy(logits, torch.tensor(Y), **theirs))
    binary = losses.soft_binary_cross_entropy(
        on(xp, LOGITS, dtype), on(xp, SOFT, dtype), weight=given
    )
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, soft, **theirs)
    assert float(binary) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize(
    "weight",
    [
        [1.0, 2.0],
        np.ones((C, 1)),
        [-1.0] * C,
        ["a"] * C,
        [np.nan] * C,
        [np.inf] * C,
        3.0,
        {0: 1.0, 1: 2.0},
        "balanced",
    ],
)
def test_weights_that_are_none(xp, weight):
    for loss in (losses.soft_cross_entropy, losses.soft_binary_cross_entropy):
        with pytest.raises(bm.MixError, match="number >= 0 for each of the 5 classes"):
            loss(on(xp, LOGITS), on(xp, SOFT), weight=weight)


def test_pairwise_takes_any_loss_and_shape(xp):
    pairs = bm.pairs(on(xp, RNG.standard_normal((B, 3))), PLAN)
    z = on(xp, RNG.standard_normal((B, 3)))
    got = losses.pairwise(lambda a, b: (a - b) ** 2, z, pairs, reduction="none")
    lam, y = PLAN.lam[:, None], xp.numpy(pairs[0])
    want = lam * (xp.numpy(z) - y) ** 2 + (1 - lam) * (xp.numpy(z) - y[PLAN.partner]) ** 2
    np.testing.assert_allclose(xp.numpy(got), want, rtol=1e-6)


def test_losses_have_gradients(torch):
    logits = torch.tensor(LOGITS, requires_grad=True)
    losses.soft_cross_entropy(logits, torch.tensor(SOFT).double()).backward()
    want = (torch.softmax(logits, 1) - torch.tensor(SOFT)) / B
    torch.testing.assert_close(logits.grad, want.detach())


def test_metrics_against_formulas(xp):
    logits, y = on(xp, LOGITS), xp.ids(Y.tolist())
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    assert metrics.accuracy(logits, y) == pytest.approx((LOGITS.argmax(1) == Y).mean())
    assert metrics.nll(logits, y) == pytest.approx(-np.log(p[np.arange(B), Y]).mean(), rel=1e-6)
    assert metrics.brier(logits, y) == pytest.approx(((p - np.eye(C)[Y]) ** 2).sum(1).mean())
    pairs = bm.pairs(y, PLAN)
    hits = LOGITS.argmax(1)
    want = PLAN.lam * (hits == Y) + (1 - PLAN.lam) * (hits == Y[PLAN.partner])
    assert metrics.mixed_accuracy(logits, pairs) == pytest.approx(want.mean(), rel=1e-6)


def test_accuracy_of_the_rows_that_were_left_alone(xp):
    lam = np.array([1, 0.5, 1, 0, 1, 1, 0.9, 1][:B] + [0.5] * (B - 8), np.float32)
    ids = xp.ids(Y.tolist())
    got = metrics.clean_accuracy(on(xp, LOGITS), (ids, ids, on(xp, lam)))
    assert got == pytest.approx((LOGITS.argmax(1) == Y)[lam == 1].mean())
    assert np.isnan(metrics.clean_accuracy(on(xp, LOGITS), (ids, ids, on(xp, lam * 0))))


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_that_of_torchmetrics(xp, bins, torch):
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits = torch.tensor(np.vstack([LOGITS, np.eye(C) * 50]), dtype=torch.float32)  # some are sure
    y = torch.tensor(np.append(Y, [0, 1, 2, 3, 0]))
    want = float(functional.multiclass_calibration_error(logits.softmax(1), y, C, n_bins=bins))
    assert metrics.ece(logits, y, bins) == pytest.approx(want, rel=1e-5)
    theirs = on(xp, logits.numpy(), "float32"), xp.ids(y.tolist())
    assert metrics.ece(*theirs, bins) == pytest.approx(want, rel=1e-5)


def test_temperature_is_the_minimum_of_the_nll(xp):
    logits, y = on(xp, LOGITS), xp.ids(Y.tolist())
    best = metrics.fit_temperature(logits, y)
    at = {t: metrics.nll(on(xp, LOGITS / t), y) for t in (best, best * 0.98, best * 1.02)}
    assert min(at, key=at.get) == best


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_temperature_undoes_a_scale(scale):
    """Labels drawn from softmax(z): the logits scale * z need T = scale."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((50_000, 3)) * 2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = (rng.random((len(z), 1)) > p.cumsum(1)).sum(1)
    assert metrics.fit_temperature(z * scale, y) == pytest.approx(scale, rel=0.03)


def test_temperature_of_a_perfect_model_is_bounded():
    assert metrics.fit_temperature(np.eye(3) * 5, np.arange(3)) == pytest.approx(0.01)
