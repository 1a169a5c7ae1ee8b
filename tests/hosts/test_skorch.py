"""skorch: MixNet in real nets, and what braindecode's loader makes of a batch."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.adapters.skorch import MixNet
from batchmix.fields import Audio, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
ROWS, BATCH, CLASSES, EPOCHS = 40, 8, 4, 2
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {0: Audio("NCT"), 1: Labels(CLASSES)}
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 3, 16)).astype(np.float32)  # signals [B, C, T]
Y = np.arange(ROWS) % CLASSES


class Net(MixNet, NeuralNetClassifier):
    pass


class Flat(torch.nn.Module):
    def __init__(self, width=48):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(width, CLASSES)
        self.seen = []  # what the net was trained on

    def forward(self, x, **other):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.layer(x.flatten(1))


class Loss(torch.nn.CrossEntropyLoss):
    """Notes the targets."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, logits, targets):
        self.seen.append(targets.clone())
        return super().forward(logits, targets)


def mixer(policy=POLICY, fields=FIELDS):
    return bm.Mixer(policy, fields, seed=3)


def net(policy=POLICY, made=Net, **options):
    first = {"train_split": None, "max_epochs": EPOCHS, "lr": 0.0, "batch_size": BATCH}
    options = first | {"verbose": 0, "mixer": mixer(policy)} | options
    return made(Flat, criterion=Loss, **options)


def expected(epochs, rows=ROWS):
    """The batches of a Mixer that is told the numbers."""
    loader = DataLoader(list(zip(X[:rows], Y[:rows])), BATCH)
    one = mixer()
    return [one(batch, step=s, epoch=e) for e in epochs for s, batch in enumerate(loader)]


def assert_trained_on(fitted, batches):
    images, targets = fitted.module_.seen, fitted.criterion_.seen
    assert len(images) == len(batches) == len(targets)
    for x, y, (mixed, soft) in zip(images, targets, batches):
        assert torch.equal(x, mixed)
        assert torch.equal(y, soft)


def test_what_was_done_is_in_the_history_and_the_table(capsys):
    one = net(log_mix=True, verbose=1, train_split=ValidSplit(5)).fit(X, Y)
    names = [f"mix/{name}" for name in ("lam", "hardness", "unmixed", "mixup", "cutmix")]
    assert one.get_params()["log_mix"]
    again, (table, _) = mixer(), capsys.readouterr()
    train, _ = one.get_split_datasets(X, Y)
    for epoch, row in enumerate(one.history):
        batches = [batch for batch in row["batches"] if "mix/lam" in batch]
        assert len(batches) == len(row["batches"]) - 1 == 4  # not the one of validation
        for step, (batch, logged) in enumerate(zip(one.get_iterator(train), batches)):
            again(batch, step=step, epoch=epoch)
            assert {name: logged[name] for name in names} == again.summary()
        for name in names:
            mean = np.mean([batch[name] for batch in batches])
            assert row[name] == pytest.approx(mean)
            assert f"{mean:.4f}" in table
    assert all(name in table for name in names)
    assert not any("mix/lam" in row for row in net(verbose=0).fit(X, Y).history)


def test_each_batch_has_the_plan_of_its_epoch_and_number():
    fitted = net().fit(X, Y)
    assert_trained_on(fitted, expected(range(EPOCHS)))
    losses = []
    for mixed, soft in expected([0]):
        logits = fitted.module_.layer(mixed.flatten(1))
        losses.append(-(torch.log_softmax(logits, 1) * soft).sum(1).mean().item())
    assert fitted.history[0, "train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_validation_and_prediction_are_clean():
    fitted = net(train_split=ValidSplit(4, stratified=False)).fit(X, Y)
    held_out = [y for y in fitted.criterion_.seen if y.ndim == 1]
    assert sum(map(len, held_out)) == EPOCHS * 10
    clean = fitted.module_.layer(torch.from_numpy(X).flatten(1)).argmax(1)
    assert np.array_equal(fitted.predict(X), clean.numpy())


def test_partial_fit_goes_on():
    fitted = net(max_epochs=1)
    fitted.partial_fit(X, Y)
    fitted.partial_fit(X, Y)
    assert_trained_on(fitted, expected([0, 1]))


def test_a_net_from_a_checkpoint_goes_on(tmp_path):
    first = net(max_epochs=1).fit(X, Y)
    paths = {"f_params": tmp_path / "net.pt", "f_history": tmp_path / "history.json"}
    first.save_params(**paths)
    resumed = net(max_epochs=1)
    resumed.initialize()
    resumed.load_params(**paths)
    resumed.partial_fit(X, Y)
    assert_trained_on(resumed, expected([1]))


def test_processes_differ(monkeypatch):
    targets = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        targets.append(net().fit(X, Y).criterion_.seen)
    assert not any(torch.equal(a, b) for a, b in zip(*targets))


def test_a_schedule_by_epoch():
    fitted = net(Schedule.off_after(MixUp(1.0), epoch=1)).fit(X, Y)
    hard = [bool((soft.amax(1) == 1).all()) for soft in fitted.criterion_.seen]
    assert hard == [False] * 5 + [True] * 5


def test_an_optimizer_that_evaluates_the_loss_often():
    """LBFGS computes it several times a step, all of the same mixed batch."""
    fitted = net(optimizer=torch.optim.LBFGS, max_epochs=1, lr=0.1).fit(X[:8], Y[:8])
    seen = fitted.criterion_.seen
    assert len(seen) > 1
    assert all(torch.equal(seen[0], again) for again in seen)


def test_scikit_learn_may_clone_search_and_pickle():
    other = mixer(MixUp(0.2))
    search = GridSearchCV(net(lr=0.1), {"mixer": [mixer(), other]}, cv=2, error_score="raise")
    search.fit(X, Y)
    assert clone(net(mixer=other)).mixer.policy == other.policy
    again = pickle.loads(pickle.dumps(net().fit(X, Y)))
    assert again.mixer.policy == POLICY
    assert np.array_equal(again.predict(X), net().fit(X, Y).predict(X))


def test_x_may_be_a_dict():
    fields = {(0, "x"): Audio("NCT"), 1: Labels(CLASSES)}
    fitted = net(mixer=mixer(fields=fields))
    fitted.fit({"x": X, "other": np.zeros((ROWS, 1), np.float32)}, Y)
    assert_trained_on(fitted, expected(range(EPOCHS)))


class Casting:
    """As braindecode's loader: a tuple without the index of windows, targets as integers."""

    def __init__(self, dataset, **options):
        self.loader = DataLoader(dataset, **options)

    def __iter__(self):
        return ((x.float(), y.long()) for x, y in self.loader)


def test_a_loader_that_casts_targets():
    assert_trained_on(net(iterator_train=Casting).fit(X, Y), expected(range(EPOCHS)))


def test_other_callbacks_see_the_batch_of_the_loader():
    shapes = set()

    class See(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            shapes.add((training, batch[1].ndim))

    net(callbacks=[See()]).fit(X, Y)
    assert shapes == {(True, 1)}


def test_what_does_not_fit_is_refused():
    with pytest.raises(bm.MixError, match="MixNet"):
        net(POLICY, mixer=POLICY)
    with pytest.raises(bm.MixError, match="field 2 is not in the batch"):
        net(mixer=mixer(fields={2: Labels(CLASSES)})).fit(X, Y)
    with pytest.raises(bm.MixError, match="got None"):
        net().set_params(mixer=None).fit(X, Y)


def test_example():
    words = [sys.executable, "examples/skorch_signals.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("held-out accuracy:")[1].split()[0]) > 0.8


def test_braindecode_trains_on_soft_targets():
    """Its EEGClassifier, with a network of its own and a loader that makes integers of targets."""
    braindecode = pytest.importorskip("braindecode")
    from braindecode.models import ShallowFBCSPNet

    class EEG(MixNet, braindecode.EEGClassifier):
        pass

    loss = Loss()
    signals = np.random.default_rng(1).normal(size=(40, 4, 200)).astype(np.float32)
    net = EEG(
        ShallowFBCSPNet(4, CLASSES, n_times=200, final_conv_length="auto"), criterion=loss,
        mixer=bm.Mixer(POLICY, FIELDS, seed=5), batch_size=BATCH, max_epochs=2, verbose=0,
        train_split=None, classes=list(range(CLASSES)),
        iterator_train__shuffle=False,
    )  # fmt: skip
    net.fit(signals, Y)
    assert net.predict(signals).shape == (40,)
    loss = net.criterion_
    assert len(loss.seen) == 2 * 40 // BATCH
    for number, targets in enumerate(loss.seen):
        epoch, step = divmod(number, 40 // BATCH)
        batch = signals[step * BATCH :][:BATCH], Y[step * BATCH :][:BATCH]
        want = bm.Mixer(POLICY, FIELDS, seed=5)(batch, step=step, epoch=epoch)[1]
        np.testing.assert_allclose(targets, want, atol=1e-6)


def test_the_mixup_of_braindecode():
    """The same rows and weights; its three targets are `bm.pairs`."""
    functional = pytest.importorskip("braindecode.augmentation.functional")
    x, partner = torch.tensor(X[:6]), torch.tensor([3, 1, 0, 5, 4, 2])
    y, lam = torch.arange(6), torch.tensor([0.25, 0.5, 1, 0.75, 0.125, 0])
    theirs, targets = functional.mixup(x, y, lam, partner)
    plan = bm.Plan(partner.numpy(), [[[0, 16]]] * 6, 1 - lam.numpy(), "T", (16,))
    torch.testing.assert_close(bm.mix(x, plan, "NCT"), theirs, rtol=0, atol=1e-6)
    own, other, weights = bm.pairs(y, plan)
    torch.testing.assert_close(own, targets[0])
    torch.testing.assert_close(other, targets[1])
    mixed = partner != torch.arange(6)
    torch.testing.assert_close(weights[mixed], targets[2].float().flatten()[mixed])
