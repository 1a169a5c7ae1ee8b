"""fastai: MixCallback, MixUp and CutMix in a real Learner.

What fastai's own callbacks get wrong has a test each. The oracle for labels needs no plan: row i is
an image that is 1 in channel i and 0 elsewhere, so the mean of channel j is the share of row j.
"""

import csv
import re
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import batchmix as bm
from batchmix.fields import Features, Image, Labels, Mask
from batchmix.policies import PerBatch, Switch

with warnings.catch_warnings():
    # on import fastai compiles with torch.jit.script, and sets an option that pandas has dropped
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", "The 'mode.chained_assignment' option", DeprecationWarning)
    import fastai.callback.mixup as own
    from fastai.callback.core import Callback, CancelBatchException, CancelFitException
    from fastai.callback.fp16 import MixedPrecision
    from fastai.callback.progress import CSVLogger
    from fastai.callback.schedule import Learner
    from fastai.callback.training import GradientAccumulation
    from fastai.data.all import CategoryBlock, DataBlock, IndexSplitter, TransformBlock
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.interpret import Interpretation
    from fastai.learner import AvgMetric, load_learner
    from fastai.losses import (
        BCEWithLogitsLossFlat,
        CrossEntropyLossFlat,
        FocalLossFlat,
        LabelSmoothingCrossEntropyFlat,
        MSELossFlat,
    )

    from batchmix.adapters.fastai import CutMix, MixCallback, MixUp

pytestmark = [
    # fastai names numpy.core where it loads a model
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
B = 8  # rows, channels and classes
PLAIN = bm.policies.MixUp(1.0)
LAYERED = bm.policies.Layers([PLAIN, bm.policies.CutMix()])
POLICIES = [
    MixUp(1.0, seed=0), CutMix(seed=0), MixCallback(Switch([PLAIN, bm.policies.CutMix()])),
    MixCallback(LAYERED), MixCallback(bm.policies.FMix(), seed=1),
    MixCallback(bm.policies.SaliencyMix(), pairing=bm.pairing.OtherClass(), seed=0),
]  # fmt: skip
SHARES = torch.eye(B)[:, :, None, None].expand(B, B, 6, 10).clone()  # row i is 1 in channel i


@pytest.fixture(autouse=True)
def _same_draws():
    torch.manual_seed(0)


class Seen(Callback):
    """What each training batch was, after all callbacks that change it."""

    order, run_valid = 59, False

    def before_fit(self):
        self.batches = []

    def after_loss(self):
        learn = self.learn
        seen = {"xb": learn.xb, "yb": learn.yb, "pred": learn.pred.detach()}
        seen |= {"loss": learn.loss_grad.detach().clone(), "loss_func": learn.loss_func}
        self.batches.append(seen)


class Net(nn.Module):
    """Logits [B, C] of all inputs together."""

    def __init__(self, features=B * 60, classes=B):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, classes)

    def forward(self, *inputs):
        rows = torch.cat([x.flatten(1).as_subclass(torch.Tensor) for x in inputs], 1)
        return self.linear(rows.to(self.linear.weight.dtype))


def learner(rows, cbs, loss=None, model=None, bs=B, n_inp=None, valid=None):
    """A Learner on rows (tuples of tensors), in their order, without bars."""
    one = DataLoader(rows, bs=bs, shuffle=False, num_workers=0, n_inp=n_inp)
    two = DataLoader(valid or rows, bs=bs, shuffle=False, num_workers=0, n_inp=n_inp)
    dls = DataLoaders(one, two, device="cpu")
    if n_inp:
        dls.n_inp = n_inp
    cbs = [*(cbs if isinstance(cbs, list) else [cbs]), Seen()]
    return Learner(dls, model or Net(), loss_func=loss or CrossEntropyLossFlat(), lr=0.1, cbs=cbs)


def fit(learn, epochs=1):
    """Train; what each batch was."""
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs)
    return learn.seen.batches


def rows_of(*parts):
    """Rows of a data set from columns."""
    return list(zip(*parts))


def shares(x):
    """[B, B]: the weight of row j in row i, measured on the pixels."""
    return torch.Tensor(x).mean((2, 3))


def cross_entropy(pred, weights):
    """Per row, against the classes of all rows."""
    return -(weights * F.log_softmax(pred, 1)).sum(1)


def same_plan(a, b):
    """Whether two plans are equal, array by array."""
    one, two = a.columns(), b.columns()
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("cb", POLICIES, ids=repr)
def test_the_loss_matches_the_pixels(cb):
    (batch,) = fit(learner(rows_of(SHARES, torch.arange(B)), cb))
    weights = shares(batch["xb"][0])
    assert 0.05 < 1 - weights.diagonal().mean() < 0.95
    np.testing.assert_allclose(
        batch["loss"], cross_entropy(batch["pred"], weights).mean(), rtol=1e-5
    )
    assert torch.equal(batch["yb"][0], torch.arange(B))  # ids are never averaged


class OwnLoss(nn.Module):
    """A loss of a class of its own, without `reduction`."""

    def forward(self, pred, y):
        return F.cross_entropy(pred, y)


LOSSES = {
    "y_int": CrossEntropyLossFlat(),
    "module": nn.CrossEntropyLoss(),
    "function": F.cross_entropy,
    "partial": partial(F.cross_entropy, label_smoothing=0.1),
    "weights": nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2, B)),
    "ignored": nn.CrossEntropyLoss(ignore_index=3),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "sum_partial": partial(F.cross_entropy, reduction="sum"),
    "smooth": LabelSmoothingCrossEntropyFlat(),
    "focal": FocalLossFlat(),
    "squares": lambda pred, y, reduction="mean": F.mse_loss(
        pred.argmax(1) * 0.0 + pred[:, 0], y.float(), reduction=reduction
    ),
    "no_reduction": lambda pred, y: F.cross_entropy(pred, y),
    "own_module": OwnLoss(),
}


def unreduced(loss, name, pred, y):
    """Per row, written down for each loss anew."""
    if name in ("no_reduction", "own_module"):
        return F.cross_entropy(pred, y, reduction="none")
    if hasattr(loss, "reduction"):
        old, loss.reduction = loss.reduction, "none"
        values = loss(pred, y)
        loss.reduction = old
        return values
    return loss(pred, y, reduction="none")


@pytest.mark.parametrize("name", LOSSES)
def test_any_loss_takes_ids(name):
    """fastai averages the ids where the loss has no `y_int`, and fails."""
    grads = []

    class Grads(Callback):
        def after_backward(self):
            grads.append(self.learn.model.linear.weight.grad.clone())

    loss = LOSSES[name]
    (batch,) = fit(learner(rows_of(SHARES, torch.arange(B)), [MixUp(1.0), Grads()], loss))
    model, x = Net(), torch.Tensor(batch["xb"][0])
    pred = model(x)
    each = torch.stack([unreduced(loss, name, pred, torch.full((B,), j)) for j in range(B)], 1)
    rows = (shares(x) * each).sum(1)
    expected = rows.sum() if name.startswith("sum") else rows.mean()
    torch.testing.assert_close(batch["loss"], expected.detach(), rtol=1e-5, atol=1e-5)
    expected.backward()
    torch.testing.assert_close(grads[0], model.linear.weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cb", POLICIES, ids=repr)
def test_a_batch_of_one(cb):
    """Where the last batch has one row, fastai's MixUp stops with an IndexError."""
    batches = fit(learner(rows_of(SHARES, torch.arange(B)), cb, bs=7))
    assert [len(batch["xb"][0]) for batch in batches] == [7, 1]
    assert torch.equal(torch.Tensor(batches[1]["xb"][0]), SHARES[7:])
    expected = F.cross_entropy(batches[1]["pred"], torch.tensor([7]))
    torch.testing.assert_close(batches[1]["loss"], expected)


class Stop(Callback):
    """Raises at an event of the first batch."""

    order = 70

    def __init__(self, event, error):
        super().__init__()
        setattr(self, event, self.stop)
        self.error = error

    def stop(self):
        raise self.error


ERRORS = [CancelFitException, CancelBatchException, KeyboardInterrupt, RuntimeError]


@pytest.mark.parametrize("event", ["before_batch", "after_pred", "after_loss", "after_backward"])
@pytest.mark.parametrize("error", ERRORS)
def test_the_loss_function_is_never_replaced(event, error):
    """fastai's stays replaced after an interrupt, and then wraps itself."""
    loss = CrossEntropyLossFlat()
    learn = learner(rows_of(SHARES, torch.arange(B)), MixUp(), loss)
    for _ in range(2):
        # fastai itself catches the other two
        with learn.no_bar(), learn.no_logging(), suppress(KeyboardInterrupt, RuntimeError):
            learn.fit(1, cbs=Stop(event, error("stopped")))
        assert learn.loss_func is loss
        assert loss.reduction == "mean"
    learn.remove_cbs(Stop)
    for batch in fit(learn):
        assert batch["loss_func"] is loss


def test_a_loss_that_raises_keeps_its_reduction():
    loss = nn.CrossEntropyLoss()
    learn = learner(rows_of(SHARES, torch.arange(B) + 1), MixUp(), loss)  # id 8 is no class
    with pytest.raises(IndexError), learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert loss.reduction == "mean"


def images():
    """A data set with a vocabulary: 24 images of 3 classes, as DataBlock makes it."""
    rng = np.random.default_rng(0)
    pixels = torch.tensor(rng.random((24, 3, 4, 4)), dtype=torch.float32)
    block = DataBlock(
        blocks=(TransformBlock, CategoryBlock),
        get_x=lambda i: pixels[i],
        get_y=lambda i: "abc"[i % 3],
        splitter=IndexSplitter(range(16, 24)),
    )
    return block.dataloaders(range(24), bs=8, device="cpu", num_workers=0)


def on_images(cbs):
    """A Learner on them; the loss is the one that the data name."""
    model = Net(48, 3)
    model.linear.weight.data.mul_(30)  # losses that differ
    return Learner(images(), model, cbs=cbs, lr=0.1)


@pytest.mark.parametrize("cb", POLICIES, ids=repr)
def test_validation_prediction_and_interpretation_are_of_clean_rows(cb):
    mixing, plain = on_images(cb), on_images(None)
    with mixing.no_bar(), mixing.no_logging(), plain.no_bar():
        mixing.fit(1)
        plain.model.load_state_dict(mixing.model.state_dict())
        for x, y in zip(mixing.validate(), plain.validate(), strict=True):
            assert x == y
        for x, y in zip(mixing.get_preds(ds_idx=0, with_loss=True), plain.get_preds(ds_idx=0)):
            if len(x) == 16:
                torch.testing.assert_close(x.sort(0)[0], y.sort(0)[0])
        one, two = mixing.predict(3), plain.predict(3)
        assert one[0] == two[0]
        torch.testing.assert_close(one[2], two[2])
        losses = [Interpretation.from_learner(part).top_losses()[0] for part in (mixing, plain)]
        torch.testing.assert_close(*losses)


# learn.lr_find reads tensors with NumPy functions
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
def test_lr_find_leaves_all_as_it_was(tmp_path):
    learn = on_images(MixUp())
    learn.path, loss, before = tmp_path, learn.loss_func, learn.model.linear.weight.clone()
    with learn.no_bar(), learn.no_logging():
        found = learn.lr_find(num_it=4, show_plot=False)
    assert found.valley > 0
    assert learn.loss_func is loss
    assert loss.reduction == "mean"
    assert torch.equal(learn.model.linear.weight, before)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1)
    assert np.isfinite(learn.recorder.losses[-1])


@pytest.mark.parametrize("order", [1, -1])
def test_mixup_and_cutmix_together(order):
    """Each row then holds up to four: fastai's two wrap each other's loss."""
    cbs = [MixUp(1.0, seed=1), CutMix(1.0, seed=2)][::order]
    batches = fit(learner(rows_of(SHARES, torch.arange(B)), cbs), 3)
    counts = []
    for batch in batches:
        weights = shares(batch["xb"][0])
        counts.append((weights > 1e-6).sum(1).max())
        expected = cross_entropy(batch["pred"], weights).mean()
        torch.testing.assert_close(batch["loss"], expected, rtol=1e-4, atol=1e-5)
    assert max(counts) > 2


def test_together_with_floats():
    cbs = [MixUp(1.0, seed=1), CutMix(1.0, seed=2)]
    (batch,) = fit(learner(rows_of(SHARES, torch.eye(B)), cbs, BCEWithLogitsLossFlat()))
    torch.testing.assert_close(batch["yb"][0], shares(batch["xb"][0]), rtol=1e-4, atol=1e-5)


def test_two_without_a_seed_draw_apart():
    """The first draws as if it were alone."""
    one, two, alone = (MixCallback(bm.policies.MixUp(1.0)) for _ in range(3))
    fit(learner(rows_of(SHARES, torch.arange(B)), [one, two]))
    fit(learner(rows_of(SHARES, torch.arange(B)), [alone]))
    assert not np.array_equal(one.plan.lam, two.plan.lam)
    assert np.array_equal(one.plan.lam, alone.plan.lam)


def test_two_that_cut_are_refused():
    learn = learner(rows_of(SHARES, torch.arange(B)), [CutMix(seed=1), CutMix(seed=2)])
    with pytest.raises(bm.MixError, match="2 of which paste boxes"), learn.no_bar():
        learn.fit(1)


def test_two_that_disagree_about_a_target_are_refused():
    soft = MixCallback(bm.Mixer(PLAIN, {0: Image("NCHW"), 1: Labels(B)}, seed=2))
    learn = learner(rows_of(SHARES, torch.arange(B)), [MixUp(seed=1), soft], nn.CrossEntropyLoss())
    with pytest.raises(bm.MixError, match="the same targets"), learn.no_bar():
        learn.fit(1)


FLOATS = {
    "one_hot": (torch.eye(B), BCEWithLogitsLossFlat()),
    "soft": (torch.eye(B), nn.CrossEntropyLoss()),
    "regression": (torch.arange(B).float(), MSELossFlat()),
    "columns": (torch.arange(2.0 * B).view(B, 2), MSELossFlat()),
    "double": (torch.eye(B, dtype=torch.float64), BCEWithLogitsLossFlat()),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("cb", POLICIES[:-1], ids=repr)  # the last one looks at classes
def test_floats_are_averaged(name, cb):
    y, loss = FLOATS[name]
    model = Net(classes=y[0].numel())
    (batch,) = fit(learner(rows_of(SHARES, y), cb, loss, model))
    weights = shares(batch["xb"][0]).double()
    expected = (weights @ y.double().view(B, -1)).view(y.shape)
    assert batch["yb"][0].dtype == y.dtype
    torch.testing.assert_close(batch["yb"][0].double(), expected, rtol=1e-5, atol=1e-5)
    assert np.isclose(batch["loss"], loss(batch["pred"], batch["yb"][0]))


def test_integers_that_are_multi_hot():
    hot = torch.eye(B).long() + torch.eye(B).long().roll(1, 0)
    loss = BCEWithLogitsLossFlat()
    (batch,) = fit(learner(rows_of(SHARES, hot), MixUp(), loss))
    soft = shares(batch["xb"][0]) @ hot.float()
    torch.testing.assert_close(batch["loss"], loss(batch["pred"], soft))


def test_soft_labels_from_a_field():
    fields = {0: Image("NCHW"), 1: Labels(B, smoothing=0.1)}
    learn = learner(
        rows_of(SHARES, torch.arange(B)),
        MixCallback(bm.Mixer(PLAIN, fields)),
        nn.CrossEntropyLoss(),
    )
    (batch,) = fit(learn)
    expected = shares(batch["xb"][0]) * 0.9 + 0.1 / B
    torch.testing.assert_close(batch["yb"][0], expected, rtol=1e-5, atol=1e-5)
    assert torch.isclose(batch["loss"], cross_entropy(batch["pred"], expected).mean())


class Pixels(nn.Module):
    """Logits of each pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(B, 3, 1)

    def forward(self, x):
        return self.conv(x.as_subclass(torch.Tensor))


def test_segmentation():
    """The mask of a pasted box comes with it; fastai has none of this."""
    ids = torch.tensor([3, 0, 1, 2, 0, 1, 2, 1])[:, None, None].expand(B, 6, 10).clamp(max=2)
    mixer = bm.Mixer(bm.policies.CutMix(), {0: Image("NCHW"), 1: Mask("NHW")})
    before, loss = dict(vars(mixer)), CrossEntropyLossFlat(axis=1)
    (batch,) = fit(learner(rows_of(SHARES, ids), MixCallback(mixer), loss, Pixels()))
    assert vars(mixer) == before  # it may be another loader's too
    x, mask = torch.Tensor(batch["xb"][0]), batch["yb"][0]
    assert torch.equal(mask, ids[:, 0, 0][x.argmax(1)])
    assert not torch.equal(mask, ids)
    assert torch.isclose(batch["loss"], loss(batch["pred"], mask))


def test_a_mask_that_is_not_named_is_refused():
    ids = torch.zeros(B, 6, 10).long()
    learn = learner(rows_of(SHARES, ids), CutMix(), CrossEntropyLossFlat(axis=1), Pixels())
    with pytest.raises(bm.MixError, match=r"of shape \(8, 6, 10\)"):
        fit(learn)


def test_several_inputs_share_a_plan():
    """fastai's CutMix cuts the first alone, under a label for both."""
    rows = rows_of(SHARES, SHARES.flip(3), torch.arange(B))
    (batch,) = fit(learner(rows, CutMix(), model=Net(2 * B * 60), n_inp=2))
    one, two = batch["xb"]
    torch.testing.assert_close(shares(one), shares(two))
    assert not torch.equal(one, SHARES)
    torch.testing.assert_close(
        batch["loss"], cross_entropy(batch["pred"], shares(one)).mean(), rtol=1e-5, atol=1e-5
    )


def test_an_image_and_a_table():
    rows = rows_of(SHARES, torch.eye(B), torch.arange(B))
    (batch,) = fit(learner(rows, MixUp(1.0), model=Net(B * 61), n_inp=2))
    torch.testing.assert_close(shares(batch["xb"][0]), torch.Tensor(batch["xb"][1]))
    with pytest.raises(bm.MixError, match="no axes"):
        fit(learner(rows, CutMix(), model=Net(B * 61), n_inp=2))


def test_columns_of_ids_are_named_or_refused():
    """As in a tabular learner: categories are ids, continuous columns are numbers."""
    rows = rows_of(torch.arange(B)[:, None], torch.eye(B), torch.arange(B))
    with pytest.raises(bm.MixError, match="cannot"):
        fit(learner(rows, MixUp(), model=Net(B + 1), n_inp=2))
    mixing = MixCallback(bm.Mixer(PLAIN, {1: Features("NC")}))
    (batch,) = fit(learner(rows, mixing, model=Net(B + 1), n_inp=2))
    assert torch.equal(batch["xb"][0], torch.arange(B)[:, None])
    assert (batch["xb"][1].diagonal() < 1).any()


def test_two_targets():
    def loss(pred, y, table, reduction="mean"):
        one = F.cross_entropy(pred, y, reduction=reduction)
        return one + F.mse_loss(pred[:, 0], table, reduction=reduction)

    rows = rows_of(SHARES, torch.arange(B), torch.arange(B).float())
    (batch,) = fit(learner(rows, MixUp(1.0), loss, n_inp=1))
    weights = shares(batch["xb"][0])
    mixed = weights @ torch.arange(B).float()
    torch.testing.assert_close(batch["yb"][1], mixed, rtol=1e-5, atol=1e-5)
    expected = cross_entropy(batch["pred"], weights) + (batch["pred"][:, 0] - mixed) ** 2
    torch.testing.assert_close(batch["loss"], expected.mean(), rtol=1e-5, atol=1e-5)


def test_layouts_that_are_not_clear_are_refused():
    learn = learner(rows_of(SHARES[..., None], torch.arange(B)), MixUp())
    with pytest.raises(bm.MixError, match=r"an image \[B, C, H, W\], a table"):
        fit(learn)


def test_a_run_replays():
    def run(seed, **changes):
        torch.manual_seed(changes.get("torch_seed", 0))
        learn = learner(rows_of(SHARES, torch.arange(B)), MixUp(1.0, seed=seed), bs=4)
        return [torch.Tensor(batch["xb"][0]) for batch in fit(learn, 2)]

    first, again, other = run(3), run(3, torch_seed=1), run(4)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))
    assert not torch.equal(first[0], first[2])  # another epoch


def test_the_plan_is_that_of_its_key():
    class Plans(Callback):
        run_valid = False
        plans = {}  # noqa: RUF012

        def after_batch(self):
            self.plans[self.epoch, self.iter] = self.learn.cut_mix.plan

    torch.manual_seed(5)
    fit(learner(rows_of(SHARES, torch.arange(B)), [CutMix(seed=9), Plans()], bs=4), 2)
    assert sorted(Plans.plans) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for (epoch, step), plan in Plans.plans.items():
        policy, key = PerBatch(bm.policies.CutMix()), bm.Key(9, epoch, step)
        drawn = bm.draw(policy, key, 4, {"H": 6, "W": 10}, pairing=bm.pairing.Permutation())
        assert same_plan(plan, drawn)


def test_ranks_draw_apart(monkeypatch):
    seen = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        learn = learner(rows_of(SHARES, torch.arange(B)), MixUp(1.0, seed=0))
        seen.append(fit(learn)[0]["xb"][0])
    assert not torch.equal(*seen)


class Keys(Callback):
    """(epoch, step) of each plan that is drawn."""

    run_valid = False

    def before_fit(self):
        self.found = getattr(self, "found", [])

    def after_loss(self):
        self.found.append(self.learn.mixed_by[0])


def keys_of(learn):
    return [epoch for epoch, step in learn.keys.found if step == 0]


def test_epochs_are_counted_over_all_fits():
    """The frozen and the first unfrozen epoch of `fine_tune` had the same plans."""
    learn = learner(rows_of(SHARES, torch.arange(B)), [MixUp(1.0, seed=0), Keys()])
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(2, freeze_epochs=1)
        first = list(learn.seen.batches)
        assert keys_of(learn) == [0, 1, 2]
        learn.fit(1)
    assert keys_of(learn) == [0, 1, 2, 3]
    assert not torch.equal(first[0]["xb"][0], first[1]["xb"][0])


def test_a_fit_that_is_resumed_equals_one_that_was_not():
    rows, seen = rows_of(SHARES, torch.arange(B)), {}
    for start in (0, 1, 2):
        learn = learner(rows, [MixUp(1.0, seed=0)])
        with learn.no_bar(), learn.no_logging():
            learn.fit(3, start_epoch=start)
        seen[start] = [batch["xb"][0] for batch in learn.seen.batches]
        assert len(seen[start]) == 3 - start
        assert all(map(torch.equal, seen[start], seen[0][start:]))


def test_a_fit_that_stopped_goes_on_in_the_same_learner():
    learn = learner(rows_of(SHARES, torch.arange(B)), [MixUp(1.0, seed=0), Keys()])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        learn.fit(3, cbs=StopsAt(1))
        learn.fit(3, start_epoch=1)
        learn.fit(1)
    assert keys_of(learn) == [0, 1, 2, 2, 3, 4]


class StopsAt(Callback):
    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def after_batch(self):
        if self.epoch == self.at:
            raise CancelFitException


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
def test_a_learner_counts_its_own_epochs_and_not_those_of_lr_find(tmp_path):
    mixing = MixUp(1.0, seed=0)
    for _ in range(2):
        learn = learner(rows_of(SHARES, torch.arange(B)), [mixing, Keys()])
        learn.path = tmp_path
        with learn.no_bar(), learn.no_logging():
            learn.lr_find(num_it=9, show_plot=False)
            learn.keys.found.clear()
            learn.fit(2)
        assert keys_of(learn) == [0, 1]


def test_a_schedule_sees_the_epochs_of_all_fits():
    policy = bm.policies.Schedule.off_after(PLAIN, epoch=2)
    learn = learner(rows_of(SHARES, torch.arange(B)), MixCallback(policy))
    mixed = []
    with learn.no_bar(), learn.no_logging():
        for _ in range(2):
            learn.fit(2)
            mixed += [not torch.equal(batch["xb"][0], SHARES) for batch in learn.seen.batches]
    assert mixed == [True, True, False, False]


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_what_is_seeded_like_fastais_draws_like_it(kind):
    """Left out, the seed is of the generator that fastai's callbacks draw from."""
    seeds = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        seeds.append([kind().mixer.seed for _ in range(2)])
    assert seeds[0] == seeds[1]
    assert len({*seeds[0], *seeds[2]}) == 4
    assert kind(seed=5).mixer.seed == 5


@pytest.mark.parametrize("cb", [MixUp(1.0, seed=0), CutMix(1.0, seed=0)], ids=repr)
def test_a_batch_is_shown_outside_of_a_fit(cb):
    """The cell of fastai's documentation: a Learner that has no number of a batch yet."""
    torch.manual_seed(3)
    dls = images()
    with Learner(dls, Net(48, 3), loss_func=CrossEntropyLossFlat(), cbs=cb) as learn:
        learn.epoch, learn.training, learn.dl = 0, True, dls.train
        x, y = dls.one_batch()
        learn._split((x, y))
        learn("before_train")
        learn("before_batch")
        assert not torch.equal(cb.x, x)
        assert torch.equal(cb.y, y)
        assert cb.lam.shape == cb.yb1[0].shape == (8,)
    other = on_images(None)
    with other.no_bar(), other.no_logging():
        other.fit_one_cycle(1, cbs=cb)
    assert other.mixed_by[0] == (0, 1)


def test_metrics_of_training_compare_mixed_rows_with_their_own_ids():
    learn = learner(rows_of(SHARES, torch.arange(B)), MixUp(1.0))
    learn.metrics = [AvgMetric(lambda pred, y: (pred.argmax(1) == y).float().mean())]
    learn.recorder.train_metrics = True
    (batch,) = fit(learn)
    expected = (batch["pred"].argmax(1) == torch.arange(B)).float().mean()
    assert learn.recorder.metric_names[2].startswith("train_")
    assert learn.recorder.values[0][1] == expected


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (0.4, {}, "policy"),
        (bm.Mixer(PLAIN, {0: Image("NCHW")}), {"seed": 1}, "got a Mixer and seed"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, options, words):
    with pytest.raises(bm.MixError, match=words):
        MixCallback(given, **options)


def test_no_global_generator_is_used():
    learn = learner(rows_of(SHARES, torch.arange(B)), CutMix())

    class States(Callback):
        run_valid = False

        def after_loss(self):
            after.append((torch.get_rng_state(), np.random.get_state()[1]))

    after = []
    learn.add_cb(States())
    torch.manual_seed(0)
    fit(learn)
    mixed = after[0]
    learn.remove_cb(CutMix)
    after.clear()
    torch.manual_seed(0)
    fit(learn)
    assert torch.equal(mixed[0], after[0][0])
    assert np.array_equal(mixed[1], after[0][1])


def test_batches_are_not_written_to():
    """fastai's CutMix pastes into the batch itself, and so into a cached data set."""
    batch = (SHARES.clone(), torch.arange(B))
    dls = DataLoaders([batch], [batch], device="cpu")
    learn = Learner(dls, Net(), loss_func=CrossEntropyLossFlat(), lr=0.1, cbs=[CutMix(), Seen()])
    (seen,) = fit(learn)
    assert not torch.equal(seen["xb"][0], SHARES)
    assert torch.equal(batch[0], SHARES)


# autocast says that there is no CUDA, and is then of no effect
NO_CUDA = ["ignore:CUDA is not available", "ignore:.*GradScaler is enabled, but CUDA"]


@pytest.mark.filterwarnings(*NO_CUDA)
@pytest.mark.parametrize("mode", ["fp16", "bf16"])
def test_mixed_precision(mode):
    losses = []
    for extra in ([], [MixedPrecision(amp_mode=mode)]):
        learn = learner(rows_of(SHARES, torch.arange(B)), [MixUp(1.0, seed=0), *extra])
        losses.append(fit(learn)[0]["loss"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Images, model and predictions of 16 bits, as on a device."""
    model = Net().to(dtype)
    (batch,) = fit(learner(rows_of(SHARES.to(dtype), torch.arange(B)), MixUp(1.0), model=model))
    assert batch["xb"][0].dtype == dtype
    expected = cross_entropy(batch["pred"].float(), shares(batch["xb"][0].float())).mean()
    torch.testing.assert_close(batch["loss"].float(), expected, rtol=2e-2, atol=0)


def test_accumulated_gradients():
    """The loss is replaced before it is divided by the number of batches."""
    rows = rows_of(SHARES, torch.arange(B))
    plain = fit(learner(rows, MixUp(1.0, seed=0), bs=4))
    parts = fit(learner(rows, [MixUp(1.0, seed=0), GradientAccumulation(n_acc=B)], bs=4))
    torch.testing.assert_close(parts[0]["loss"], plain[0]["loss"] / 2)


def test_a_class_is_enough_and_it_can_be_exported(tmp_path):
    learn = on_images(MixUp)
    assert isinstance(learn.mix_up, MixUp)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    learn.export(tmp_path / "learner.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that pickle can run code
        again = load_learner(tmp_path / "learner.pkl")
    assert again.mix_up.mixer.policy == bm.policies.MixUp(0.4, dominant=True)


@dataclass(frozen=True)
class Recorded:
    """Draws of fastai's, as a policy and a pairing."""

    partner: np.ndarray
    box: np.ndarray
    opacity: np.ndarray

    def pair(self, rng, batch, hints):
        return self.partner

    def sample(self, rows):
        return bm.policies.Paste(self.box, self.opacity, np.zeros(len(self.partner), np.int8))


@pytest.mark.parametrize("target", ["ids", "floats"])
@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_parity_with_fastai(kind, target, monkeypatch):
    """Given the draws of fastai's callback: the same pixels, targets, loss and step."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(B, B, 6, 10)), dtype=torch.float32)
    y = torch.arange(B) if target == "ids" else torch.eye(B)
    loss = CrossEntropyLossFlat if target == "ids" else BCEWithLogitsLossFlat
    theirs, drawn = getattr(own, kind)(1.0), {}
    permute, sample, place = torch.randperm, theirs.distrib.sample, getattr(theirs, "rand_bbox", 0)

    def noted(name, value):
        return drawn.setdefault(name, value)

    monkeypatch.setattr(torch, "randperm", lambda n: noted("partner", permute(n)))
    # lam on our lattice, so that rounding is no part of the difference
    theirs.distrib.sample = lambda shape: noted("lam", (sample(shape) * 4096).round() / 4096)
    theirs.rand_bbox = lambda *args: noted("box", place(*args))
    one = learner(rows_of(x, y), theirs, loss())
    (expected,) = fit(one)
    monkeypatch.undo()

    lam = torch.max(drawn["lam"], 1 - drawn["lam"]).numpy()
    box = np.tile([[0, 6], [0, 10]], (B, 1, 1))
    if kind == "CutMix":
        left, top, right, bottom = (int(v) for v in drawn["box"])
        box, lam = np.tile([[top, bottom], [left, right]], (B, 1, 1)), np.zeros(B)
    draws = Recorded(drawn["partner"].numpy(), box, 1 - lam)
    two = learner(rows_of(x, y), MixCallback(draws, pairing=draws), loss())
    (got,) = fit(two)
    torch.testing.assert_close(got["xb"][0], expected["xb"][0])
    torch.testing.assert_close(got["yb"][0], expected["yb"][0])
    torch.testing.assert_close(got["loss"], expected["loss"])
    weights = two.model.linear.weight, one.model.linear.weight
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-4)
    mixing = two.mix
    moved = drawn["partner"] != torch.arange(B)  # a row that is its own partner is all its own here
    torch.testing.assert_close(mixing.lam[moved], theirs.lam.expand(B)[moved])
    torch.testing.assert_close(mixing.yb1[0], theirs.yb1[0])


def test_the_defaults_mean_what_fastai_means():
    mix, cut = MixUp().mixer, CutMix().mixer
    assert mix.pairing == cut.pairing == bm.pairing.Permutation()
    plan = bm.draw(mix.policy, bm.Key(0), 4096, {})
    assert plan.lam.min() >= 0.5
    assert len(set(plan.lam.tolist())) > 1000
    theirs = own.MixUp().distrib.sample((4096,))
    assert abs(plan.lam.mean() - torch.max(theirs, 1 - theirs).mean()) < 0.01
    assert len({tuple(b.ravel()) for b in bm.draw(cut.policy, bm.Key(0), 64, {"T": 99}).box}) == 1


def test_sixty_and_forty_of_two_pets():
    """The arithmetic of fastai's mixup tutorial: leonberger is class 25, Ragdoll is class 8."""
    rng = np.random.default_rng(0)
    im1, im2 = torch.tensor(rng.random((2, 371, 500, 3)), dtype=torch.float32)
    plan = bm.Plan(partner=[1, 1], box=[], opacity=[0.4, 0], axes="", size=())
    mixed = bm.mix(torch.stack([im1, im2]), plan, "NHWC")[0]
    torch.testing.assert_close(mixed, im1 * 0.6 + im2 * 0.4)
    label = bm.mix_labels(torch.tensor([25, 8]), plan, classes=37)[0]
    y_leonberger = torch.tensor([0] * 25 + [1] + [0] * (37 - 26))
    y_ragdoll = torch.tensor([0] * 8 + [1] + [0] * (37 - 9))
    torch.testing.assert_close(label, y_leonberger * 0.6 + y_ragdoll * 0.4)
    assert len(label) == 37


def run(*words):
    """What a process prints; it fails on an error."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_was_done_is_in_the_table_and_in_its_file(interrupted, tmp_path):
    """Means over the batches of an epoch, as columns beside those of the losses."""

    class Stop(Callback):
        def before_epoch(self):
            if self.epoch == 1:
                raise KeyboardInterrupt

    rows = rows_of(SHARES.repeat(3, 1, 1, 1), torch.arange(B).repeat(3))
    mix = MixCallback(Switch([PLAIN, bm.policies.CutMix()]), seed=3, log=True)
    learn = learner(rows, mix)
    learn.path = tmp_path
    if interrupted:
        with suppress(KeyboardInterrupt), learn.no_bar(), learn.no_logging():
            learn.fit(2, cbs=Stop())
    with learn.no_bar():
        learn.fit(2, cbs=CSVLogger("log.csv"))
    again = bm.Mixer(mix.mixer.policy, {0: Image("NCHW")}, seed=3)
    names = [f"mix/{name}" for name in ("lam", "hardness", "unmixed", "mixup", "cutmix")]
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    assert learn.recorder.metric_names == ["epoch", "train_loss", "valid_loss", *names, "time"]
    assert len(table) == len(learn.recorder.values) == 2
    first = mix.learn.first_epoch
    for epoch, (row, values) in enumerate(zip(table, learn.recorder.values)):
        found = []
        for step in range(3):
            again((SHARES,), step=step, epoch=first + epoch)
            found.append(again.summary())
        wanted = [np.mean([one[name] for one in found]) for name in names]
        assert list(values[2:]) == pytest.approx(wanted)
        assert [float(row[name]) for name in names] == pytest.approx(wanted)
    assert not learn.metrics  # as before the fit
    assert len(learn.validate()) == 1  # its loss
    assert not any("mix/" in name for name in learn.recorder.metric_names)
    quiet = learner(rows, MixUp(0.4))
    fit(quiet)
    assert quiet.recorder.metric_names == ["epoch", "train_loss", "valid_loss", "time"]


def test_the_example_learns():
    """Chance is 10 %."""
    printed = run("examples/fastai_callback.py", "--epochs", "4")
    found = re.findall(r"mixing (\w+): held-out accuracy ([\d.]+)%", printed)
    assert [name for name, _ in found] == ["nothing", "MixUp", "CutMix", "both"]
    assert min(float(figure) for _, figure in found) > 30


@pytest.mark.parametrize("named", ["drawn", "by_folder"])
def test_the_deep_dive(named, tmp_path):
    """Three figures, the label of 37, and a Learner whose loss function stays what it was."""
    from PIL import Image as Picture

    given = []
    if named == "by_folder":
        for k, name in enumerate(["ant", "bee", "cat", "dog"]):
            (tmp_path / "train" / name).mkdir(parents=True)
            for i in range(250):
                picture = Picture.new("RGB", (32, 32), (60 * k, i, 255 - 60 * k))
                picture.save(tmp_path / "train" / name / f"{i:04}.jpg")
        given = ["--data", str(tmp_path)]
    out = tmp_path / "figures"
    script = "examples/seeds/fastai_deep_dive.py"
    printed = run(script, "--out", str(out), "--epochs", "1", *given)
    assert "the same as im1 * .6 + im2 * .4: True" in printed
    assert "the loss function is the one that it was: True" in printed
    if named == "drawn":
        assert "leonberger is class 25, Ragdoll is class 8, of 37" in printed
        label = re.search(r"tensor\(\[(.*?)\]\)", printed, re.DOTALL)[1]
        expected = [0.0] * 37
        expected[25], expected[8] = 0.6, 0.4
        assert [float(v) for v in label.split(",")] == expected
    figures = sorted(path.name for path in out.iterdir())
    assert figures == ["deep-dive-batch.png", "deep-dive-mixup.png", "deep-dive-weights.png"]
    for name in figures:
        picture = Picture.open(out / name).convert("L")
        assert picture.width > 1000
        assert len(np.unique(np.asarray(picture))) > 50  # something is drawn
