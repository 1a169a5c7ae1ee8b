"""`run_trial`: every kind of target, arm and way to train; what it chooses and what it returns."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import batchmix as bm
import standin
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.defaults import choose, command
from batchmix.cli.lab.engine import loop, models, optimizer, score
from batchmix.cli.lab.engine.model_names import check_model, timm_models
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.outcome import METRICS, Outcome, Trial
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.lab.saved.export import load_model
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.trial import run_trial

DIGITS = open_data("digits")
TRAINING = Training("mlp", epochs=3, batch_size=32, lr=0.1)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Array:
    """Reads rows that lie in memory."""

    def __init__(self, x):
        self.x = x

    def __call__(self, i):
        return self.x[i]


def rows_of(x, y):
    return Rows([str(i) for i in range(len(x))], y, Array(x))


def numbers(rows=300):
    """Two numbers of 8 x 8 images, in units of their own: mean brightness, and that of a half."""
    rng = np.random.default_rng(0)
    x = (rng.random((rows, 1, 1, 1)) * rng.integers(0, 256, (rows, 8, 8, 1))).astype(np.uint8)
    y = np.stack([1000 + 5 * x.mean((1, 2, 3)), x[:, :4].mean((1, 2, 3))], 1).astype(np.float32)
    task = Task("numbers", ("brightness", "top"))
    return Data("made", "", "image", task, rows_of(x, y), shape=(8, 8, 1), fingerprint="n")


def labels(rows=300):
    """Three labels: which of three columns of an image are bright."""
    rng = np.random.default_rng(0)
    y = (rng.random((rows, 3)) < 0.4).astype(np.float32)
    x = rng.integers(0, 60, (rows, 8, 8, 1), np.uint8)
    x[:, :, [1, 3, 5], 0] += (120 * y[:, None, :]).astype(np.uint8)
    task = Task("labels", ("a", "b", "c"))
    return Data("made", "", "image", task, rows_of(x, y), shape=(8, 8, 1), fingerprint="l")


def sounds(form, rows=40):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    y[:2] = 0, 1
    shape = (rows, 16, 24, 1) if form == "mel" else (rows, 2000, 1)
    x = rng.normal(size=shape).astype(np.float32) * (1 + y.reshape(-1, *[1] * (len(shape) - 1)))
    task = Task("classes", ("quiet", "loud"))
    return Data("made", "", form, task, rows_of(x, y), shape=shape[1:], fingerprint=form)


def test_a_trial_is_a_function_of_its_arguments():
    trial, told = Trial("cutmix:1", noise=0.4, seed=3), []
    one = run_trial(trial, DIGITS, TRAINING, limit_train=200, on_epoch=lambda *e: told.append(e))
    two = run_trial(trial, DIGITS, TRAINING, limit_train=200)
    assert replace(one, seconds=0) == replace(two, seconds=0)
    assert Outcome.of_json(json.loads(json.dumps(one.as_json()))) == one
    assert [epoch for epoch, _ in told] == [0, 1, 2]
    assert {name: [found[name] for _, found in told] for name in told[0][1]} == one.history
    assert set(one.history) == {"loss", "lr", "held_out", "held_out_clean"}
    assert one.history["held_out"] != one.history["held_out_clean"]
    assert one.rows["train"] == 200
    assert one.last["epoch"] == 2
    assert 0 <= one.last["memorised"] <= 1
    other = run_trial(replace(trial, seed=4), DIGITS, TRAINING, limit_train=200)
    assert other.history != one.history


def test_the_best_epoch_is_chosen_on_labels_as_noisy_as_the_training_rows(tmp_path):
    training = replace(TRAINING, epochs=40)
    outcome = run_trial(
        Trial("none", 0.4), DIGITS, training, limit_train=200, keep=tmp_path / "kept"
    )
    held_out, epoch = outcome.history["held_out"], outcome.best["epoch"]
    assert held_out[epoch] == max(held_out)
    assert epoch < 39
    assert outcome.best["accuracy"] > outcome.last["accuracy"] + 0.05
    assert outcome.last["memorised"] > 0.9 > outcome.best["memorised"]
    model, saved = load_model(tmp_path / "kept")
    assert saved.temperature == outcome.best["temperature"]
    assert sum(p.numel() for p in model.parameters()) == 64 * 256 + 256 + 2560 + 10


def test_of_equals_the_lower_nll_then_the_earlier():
    assert score.rank("classes", (0.5, 1.0)) > score.rank("classes", (0.4, 0.1))
    assert score.rank("classes", (0.5, 1.0)) > score.rank("classes", (0.5, 1.1))
    assert score.rank("numbers", (0.4, 0.4)) > score.rank("numbers", (0.5, 0.5))


@pytest.mark.parametrize("arm", ["none", "mixup:1", "cutmix:1", "regmixup"])
def test_numbers(arm, tmp_path):
    data = numbers()
    training = replace(TRAINING, epochs=30, lr=0.02)
    outcome = run_trial(Trial(arm), data, training, keep=tmp_path / "kept")
    y = data.train.y
    assert outcome.best["rmse"] < 0.6 * y.std(0).mean()
    assert outcome.best["r2"] > 0.5
    assert outcome.best["mae"] < outcome.best["rmse"]
    assert outcome.history["held_out"][outcome.best["epoch"]] == min(outcome.history["held_out"])
    model, saved = load_model(tmp_path / "kept")  # it gives numbers in the units of the data
    x = (torch.tensor(data.train.read.x).movedim(-1, 1) / 255 - saved.mean[0]) / saved.std[0]
    with torch.no_grad():
        assert (model(x).numpy() - y).std(0).mean() < 0.6 * y.std(0).mean()


@pytest.mark.parametrize("arm", ["none", "mixup:0.4", "rsb-a2", "smooth:0.1"])
def test_labels(arm):
    outcome = run_trial(Trial(arm), labels(), replace(TRAINING, epochs=15))
    assert outcome.best["map"] > 0.9
    assert set(outcome.best) == {"map", "nll", "epoch"}


@pytest.mark.parametrize(("form", "model"), [("mel", "convnet"), ("wave", "m5"), ("wave", "mlp")])
def test_sounds(form, model):
    training = replace(TRAINING, model=model, epochs=1, lr=0.01, batch_size=8)
    outcome = run_trial(Trial("cutmix:1"), sounds(form), training)
    assert 0 <= outcome.last["accuracy"] <= 1
    mixer = loop.mixer_of(_entry("cutmix:1"), form, sounds(form).task, training, 0)
    x = torch.zeros(4, 1, 16, 24) if form == "mel" else torch.zeros(4, 1, 24)
    x += torch.arange(4.0).view(4, *[1] * (x.ndim - 1))
    mixed, _ = mixer((x.clone(), torch.tensor([0, 1, 0, 1])), step=0, epoch=0)
    if form == "mel":  # cut along time: all bands alike
        assert (mixed == mixed[:, :, :1]).all()
    assert (mixed != x).any()


def _entry(word):
    from batchmix.cli._words import parse

    return parse(word)[0]


@pytest.mark.parametrize(
    ("arm", "noise", "data", "says"),
    [
        ("smooth:0.1", 0.0, numbers(), "the targets are numbers, and 'smooth:0.1' smooths labels"),
        ("rsb-a2", 0.0, numbers(), "has a loss for labels"),
        ("none", 0.2, numbers(), "--label-noise: got 0.2 for targets of the kind 'numbers'"),
        ("none", 0.2, labels(), "--label-noise"),
    ],
)
def test_what_does_not_fit_the_targets(arm, noise, data, says):
    with pytest.raises(bm.MixError, match=says):
        run_trial(Trial(arm, noise), data, TRAINING)


def _run(**changes):
    """A run of digits, and its training feed."""
    training = replace(TRAINING, **changes)
    rows = DIGITS.train.take(np.arange(64))
    scale = loop.scale_of(rows, DIGITS.task, "image", training)
    fabric = loop.Fabric(accelerator="cpu", devices=1)
    entry = _entry(changes.pop("arm", "none"))
    run = loop.set_up(fabric, training, entry, DIGITS.task, "image", (1, 8, 8), scale)
    return run, Feed(rows, "image", training, train=True)


def test_accumulation_is_the_same_step():
    weights = []
    for accumulate in (1, 4):
        run, feed = _run(accumulate=accumulate)
        loop.train_epoch(run, feed, 0)
        weights.append(torch.cat([p.detach().flatten() for p in run.module.parameters()]))
    torch.testing.assert_close(*weights)


def test_regmixup_adds_the_losses_of_the_clean_and_the_mixed_batch(monkeypatch):
    run, feed = _run()
    run.entry = _entry("regmixup:10")
    run.mixer = loop.mixer_of(run.entry, "image", DIGITS.task, run.training, 0)
    batch = next(feed.epoch(0))
    x, y = loop.inputs(run, batch)
    plan = bm.draw(run.mixer.policy, bm.Key(0, 0, 0, 0), len(x), {"H": 8, "W": 8})
    ce = torch.nn.functional.cross_entropy
    clean = ce(run.module(x), y)
    mixed = ce(run.module(bm.mix(x, plan, "NCHW")), bm.mix_labels(y, plan, 10))
    found = loop._backward(run, *loop._mixed(run, batch, 0, 0))
    torch.testing.assert_close(found, (clean + mixed).detach())


def test_the_average_follows_timms_rule():
    run, feed = _run(ema=0.5)
    weight, expected, told = run.module[1].weight, [], []

    def follow(done, *_):
        decay = min(0.5, done / (9 + done))  # (1 + n) / (10 + n), n updates before
        now = weight.detach().clone()
        expected.append(now if done == 1 else expected[-1] * decay + now * (1 - decay))
        told.append(run.average.module[1].weight.detach().clone())

    loop.train_epoch(run, feed, 0, on_step=follow)
    torch.testing.assert_close(told, expected)


def test_the_rate_rises_and_falls():
    training = replace(TRAINING, epochs=4, lr=0.2, warmup=0.5)
    rates = [optimizer.rate(training, step, 10) for step in range(40)]
    assert rates[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert rates[5] == 0.2
    assert all(np.diff(rates[5:]) < 0)
    assert rates[-1] < 0.001
    plain = [optimizer.rate(TRAINING, step, 10) for step in range(30)]
    assert plain == [0.1 * (1 + np.cos(np.pi * step / 30)) / 2 for step in range(30)]


def test_biases_and_norms_do_not_decay():
    module = models.resnet20((3, 32, 32), 10)
    groups = optimizer.optimizer_of(module, replace(TRAINING, weight_decay=0.1)).param_groups
    assert {g["weight_decay"]: {p.ndim for p in g["params"]} for g in groups} == {
        0.1: {2, 4},
        0.0: {1},
    }


class Timm:
    """A timm that has one model, and weights if there is a network."""

    def __init__(self, network):
        self.network, self.asked = network, []

    def create_model(self, name, pretrained, *, in_chans, num_classes, **size):
        self.asked.append((name, pretrained, in_chans, num_classes))
        if size:
            raise TypeError("__init__() got an unexpected keyword argument 'img_size'")
        if pretrained and not self.network:
            raise OSError("We couldn't connect to 'https://huggingface.co'")
        model = models.convnet((in_chans, 8, 8), num_classes)
        if pretrained:
            torch.nn.init.constant_(model[0].weight, 0.01)
        return model


def test_fine_tuning_trains_the_head_alone_first(monkeypatch):
    monkeypatch.setattr(models, "_timm", lambda: timm)
    timm = Timm(network=True)
    run, feed = _run(model="timm:resnet18", pretrained=True, finetune=True, weight_decay=0.01)
    assert timm.asked == [("resnet18", True, 1, 10)] * 2
    body, last = run.module[0].weight, run.module[-1].weight
    before = body.detach().clone(), last.detach().clone()
    loop.train_epoch(run, feed, 0)
    assert (body == 0.01).all()
    assert (last != before[1]).any()
    loop.train_epoch(run, feed, 1)
    assert (body != 0.01).any()
    rates = {group["times"]: group["lr"] for group in run.optimizer.param_groups}
    assert rates[0.1] == pytest.approx(rates[1.0] / 10)


def test_weights_that_cannot_be_reached_say_what_to_do(monkeypatch):
    monkeypatch.setattr(models, "_timm", lambda: Timm(network=False))
    with pytest.raises(bm.MixError, match="HF_HOME") as error:
        models.build("timm:resnet18", (3, 32, 32), 10, 0, pretrained=True)
    assert "couldn't connect" in str(error.value)


def test_the_names_of_timms_models_are_read_from_its_files():
    import timm

    assert set(timm_models()) == set(timm.list_models())
    check_model("timm:resnet18.a1_in1k", pretrained=True)
    for name, form, says in (
        ("timm:resnet81", "image", "Did you mean 'timm:resnet18'"),
        ("m5", "image", "got 'm5' for rows of the form 'image'"),
        ("resnet20", "wave", "Use one of mlp, m5"),
    ):
        with pytest.raises(bm.MixError, match=says):
            check_model(name, form=form)


@pytest.mark.parametrize("epochs", [1, 5, 10, 100])
@pytest.mark.parametrize(("model", "most"), [(None, 1.0), ("timm:vit_tiny_patch16_224", 5.0)])
def test_a_warm_up_by_default_fits_into_the_epochs(model, most, epochs):
    images = replace(numbers(), task=Task("classes", ("cat", "dog")))
    assert choose(images, {"model": model, "epochs": epochs}).warmup == min(most, epochs / 10)
    with pytest.raises(bm.MixError, match="--warmup: got 2 of 1 epochs"):
        choose(numbers(), {"model": model, "epochs": 1, "warmup": 2.0})


def test_a_command_repeats_numbers_exactly_and_pairs_as_one_option():
    training = replace(choose(DIGITS, {}), lr=0.123456789)
    words = command("train", "digits", training, cutmix_minmax=(0.2, 0.8), log=["csv", "mlflow"])
    assert " --lr 0.123456789 " in words
    assert words.endswith(" --cutmix-minmax 0.2 0.8 --log csv --log mlflow")


def test_epochs_by_the_rows_that_train():
    data = standin.data(1600)
    assert choose(data, {}).epochs == 150  # 60 % of 1,600
    tested = replace(data, test=data.train)
    assert choose(tested, {}).epochs == 60
    assert choose(tested, {}, 999).epochs == 150


def test_defaults_by_data_and_the_command_that_repeats_them():
    training = choose(DIGITS, {"lr": None})
    assert training == Training("mlp", 150, 64, 0.1)
    assert (choose(numbers(), {}).model, choose(numbers(), {}).augment) == ("resnet20", "light")
    assert choose(sounds("wave"), {}).model == "m5"
    assert choose(sounds("mel"), {}).augment == "none"
    learnt = choose(numbers(), {"model": "convnet"})  # SGD 0.1 makes squared errors without bounds
    assert (learnt.optimizer, learnt.lr, numbers().task.kind) == ("adamw", 1e-3, "numbers")
    other = choose(DIGITS, {"optimizer": "adamw"}), choose(numbers(), {"optimizer": "sgd"})
    assert [(one.lr, one.weight_decay) for one in other] == [(1e-3, 0.05), (0.01, 5e-4)]
    assert choose(DIGITS, {"optimizer": "adamw", "lr": 0.5}).lr == 0.5
    assert METRICS["rmse"].words(7e37) == "7.000e+37"
    large = replace(numbers(), shape=(300, 200, 3))
    assert choose(large, {}).image_size == 64
    vit = choose(large, {"model": "timm:vit_tiny_patch16_224", "epochs": 100})
    assert (vit.optimizer, vit.image_size, vit.warmup) == ("adamw", 224, 5.0)
    line = command("compare", "my data", training, policies="none mixup:1", label_noise=[0.0, 0.4])
    assert line.startswith("batchmix compare 'my data' --model mlp --epochs 150 --batch-size 64")
    assert line.endswith("--policies 'none mixup:1' --label-noise 0 --label-noise 0.4")


@pytest.mark.parametrize(
    "given",
    [
        {"lr": 0.0}, {"lr": float("nan")}, {"lr": 1e30}, {"seed": -1}, {"seed": 2**70},
        {"image_size": 10**6}, {"epochs": 0}, {"warmup": 150.0}, {"ema": 1.0}, {"accumulate": 0},
        {"precision": "64"}, {"augment": "heavy"}, {"workers": -1}, {"weight_decay": -1.0},
        {"finetune": True}, {"pretrained": True}, {"model": "resnet21"},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(given):
    with pytest.raises(bm.MixError) as error:
        choose(DIGITS, given)
    option = next(iter(given)).replace("_", "-")
    assert str(error.value).startswith(f"--{option}: got ")
