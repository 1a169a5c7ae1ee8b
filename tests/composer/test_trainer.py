"""MixAlgorithm, MixUp and CutMix in Composer's real Trainer.

The oracle for labels needs no plan: row i is an image that is 1 in channel i and 0 elsewhere, so
the mean of channel j is the share of row j.
"""

import contextlib
import copy
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.fields import Features, Image, Labels, Mask
from batchmix.policies import PerBatch, Schedule, Switch

with warnings.catch_warnings():
    # what Composer imports is older than what it runs with
    warnings.simplefilter("ignore")
    from composer import Algorithm, Callback, ComposerModel, Event, State, Trainer
    from composer import algorithms as theirs
    from composer.callbacks import CheckpointSaver
    from composer.devices import DeviceCPU
    from composer.loggers import InMemoryLogger
    from composer.loss import soft_cross_entropy
    from composer.models import ComposerClassifier
    from composer.utils import dist

    import batchmix.adapters.composer as adapter
    from batchmix.adapters.composer import CutMix, MixAlgorithm, MixUp

pytestmark = [
    # its loss counts a sum of 0.9999999 as less than 1, for its own soft labels too
    pytest.mark.filterwarnings("ignore:Some targets have less than 1 total:UserWarning"),
]
B = 8  # rows, channels and classes
SHARES = torch.eye(B)[:, :, None, None].expand(B, B, 6, 10).clone()  # row i is 1 in channel i
Y = torch.arange(B)
ALPHA = 1.0


class Seen(Callback):
    """What each microbatch was, and its loss."""

    def __init__(self):
        self.all = []

    def after_backward(self, state, logger):
        seen = {"batch": state.batch, "out": state.outputs.detach(), "loss": state.loss.detach()}
        self.all.append(seen)


class Net(nn.Module):
    """Logits [B, C]."""

    num_classes = B

    def __init__(self, features=B * 60):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, B)

    def forward(self, x):
        return self.linear(x.flatten(1).to(self.linear.weight.dtype))


class OnDict(ComposerModel):
    """A model for batches that are dicts."""

    def __init__(self, loss=F.cross_entropy):
        super().__init__()
        self.net, self.loss_fn = Net(), loss

    def forward(self, batch):
        return self.net(batch["image"])

    def loss(self, outputs, batch):
        return self.loss_fn(outputs, batch["label"])

    def eval_forward(self, batch, outputs=None):
        return self.forward(batch)

    def update_metric(self, batch, outputs, metric):
        metric.update(outputs, batch["label"])


def rows_of(*columns):
    """Rows of a data set."""
    return list(zip(*columns))


def trained(algorithms, rows=None, model=None, epochs=1, bs=B, **options):
    """The trainer after its fit, and what it saw."""
    rows = rows_of(SHARES, Y) if rows is None else rows
    model = model or ComposerClassifier(Net(), num_classes=B)
    seen, options = Seen(), {"seed": 0} | options
    trainer = Trainer(
        model=model,
        train_dataloader=DataLoader(rows, batch_size=bs) if isinstance(rows, list) else rows,
        max_duration=f"{epochs}ep",
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
        algorithms=algorithms,
        callbacks=[seen, *options.pop("callbacks", [])],
        device="cpu",
        progress_bar=False,
        **options,
    )
    try:
        trainer.fit()
    finally:
        trainer.close()
        for callback in trainer.state.callbacks:
            if isinstance(callback, CheckpointSaver):  # leaves its folder to the collector
                callback.tmp_dir_for_symlink.cleanup()
    return trainer, seen.all


def shares(x):
    """[B, C]: the weight of row j in row i, measured on the pixels."""
    return x.mean((2, 3))


def cross_entropy(out, weights):
    """Against the classes of all rows."""
    return -(weights * F.log_softmax(out, 1)).sum(1).mean()


SWITCH = Switch([bm.policies.MixUp(1.0), bm.policies.CutMix()])
ALGORITHMS = {
    "mixup": lambda **k: MixUp(ALPHA, **k),
    "cutmix": lambda **k: CutMix(ALPHA, **k),
    "uniform": lambda **k: CutMix(ALPHA, uniform_sampling=True, **k),
    "batch": lambda **k: MixAlgorithm(PerBatch(SWITCH), **k),
    "rows": lambda **k: MixAlgorithm(SWITCH, **k),
}


@pytest.mark.parametrize("size", [B, B // 2])  # half of them: two microbatches
@pytest.mark.parametrize("name", ["cutmix", "rows"])
def test_what_was_done_reaches_the_loggers(name, size):
    logger = InMemoryLogger()
    algorithm = ALGORITHMS[name](seed=3, log=True)
    options = {"loggers": [logger], "device_train_microbatch_size": size}
    trained([algorithm], epochs=2, **options)
    again = algorithm.mixer.but(fields={0: Image("NCHW")}, rank=0)
    for epoch in range(2):
        again((SHARES[:size],), step=0, epoch=epoch)
        wanted = again.summary()
        assert {"mix/lam", "mix/hardness", "mix/unmixed"} < wanted.keys()
        for key, value in wanted.items():
            assert len(logger.data[key]) == 2
            assert logger.data[key][epoch][1] == pytest.approx(value)
    quiet = InMemoryLogger()
    trained([ALGORITHMS[name](seed=3)], loggers=[quiet])
    assert "mix/lam" not in quiet.data


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_loss_matches_the_pixels(name):
    _, seen = trained([ALGORITHMS[name]()], epochs=2)
    for part in seen:
        x, soft = part["batch"]
        torch.testing.assert_close(soft, shares(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(part["loss"], cross_entropy(part["out"], shares(x)))
    assert not torch.equal(seen[0]["batch"][0], seen[1]["batch"][0])


@pytest.mark.parametrize("name", ["mixup", "cutmix", "uniform", "batch"])
def test_interpolated_losses_match_the_pixels(name):
    model = ComposerClassifier(Net(), num_classes=B, loss_fn=F.cross_entropy)
    _, seen = trained([ALGORITHMS[name](interpolate_loss=True)], model=model, epochs=2)
    for part in seen:
        x, y = part["batch"]
        assert torch.equal(y, Y)
        torch.testing.assert_close(part["loss"], cross_entropy(part["out"], shares(x)))


@pytest.mark.parametrize("interpolate", [False, True])
def test_labels_that_are_not_those_of_the_area(interpolate):
    """As timm with correct_lam=False: labels by the share before the box is clipped."""
    policy = bm.recipes.timm_policy(0, 1.0, correct_lam=False)
    algorithm = MixAlgorithm(
        policy, pairing=bm.pairing.Reverse(), seed=1, interpolate_loss=interpolate
    )
    model = ComposerClassifier(Net(), num_classes=B, loss_fn=F.cross_entropy)
    _, (part,) = trained([algorithm], model=model)
    soft = bm.mix_labels(Y, algorithm.plan, B)
    assert not torch.allclose(soft, shares(part["batch"][0]), atol=0.01)
    torch.testing.assert_close(part["loss"], cross_entropy(part["out"], soft))


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_dict_batches(name, interpolate):
    """With interpolate_loss Composer hands a tuple to the loss, and stops."""
    rows = [{"image": x, "label": y, "name": f"{int(y)}.jpg"} for x, y in zip(SHARES, Y)]
    keys = {"input_key": "image", "target_key": "label", "interpolate_loss": interpolate}
    _, seen = trained([ALGORITHMS[name](**keys)], rows, OnDict())
    batch = seen[0]["batch"]
    weights = shares(batch["image"])
    torch.testing.assert_close(seen[0]["loss"], cross_entropy(seen[0]["out"], weights))
    assert batch["name"][3] == "3.jpg"
    theirs_too = theirs.MixUp(interpolate_loss=True, input_key="image", target_key="label")
    with pytest.raises(TypeError):
        trained([theirs_too], rows, OnDict())


def test_keys_may_be_functions():
    def set_image(batch, x):
        return {**batch, "image": x}

    def set_label(batch, y):
        return {**batch, "label": y}

    rows = [{"image": x, "label": y} for x, y in zip(SHARES, Y)]
    keys = {
        "input_key": (lambda batch: batch["image"], set_image),
        "target_key": (lambda batch: batch["label"], set_label),
    }
    _, seen = trained([MixUp(ALPHA, **keys)], rows, OnDict(soft_cross_entropy))
    assert torch.allclose(seen[0]["batch"]["label"], shares(seen[0]["batch"]["image"]), atol=1e-5)
    assert (seen[0]["batch"]["label"].diagonal() < 1).any()


# Composer warns of what its own two would get wrong
@pytest.mark.filterwarnings("ignore:Multiple algorithms interpolating the loss")
@pytest.mark.parametrize("interpolate", [False, True])
def test_mixup_and_cutmix_together(interpolate):
    """Composer averages the second loss as if the first had not been mixed."""
    two = [MixUp(ALPHA, interpolate, seed=1), CutMix(ALPHA, interpolate, seed=2)]
    for algorithms in (two, two[::-1]):
        _, seen = trained(algorithms, epochs=4)
        most = 0
        for part in seen:
            weights = shares(part["batch"][0])
            most = max(most, int((weights > 1e-6).sum(1).max()))
            torch.testing.assert_close(
                part["loss"], cross_entropy(part["out"], weights), rtol=1e-4, atol=1e-5
            )
        assert most > 2


def test_two_without_a_seed_draw_apart():
    """The first draws as if it were alone."""
    one, two, alone = (MixAlgorithm(bm.policies.MixUp(1.0)) for _ in range(3))
    trained([one, two])
    trained([alone])
    assert not np.array_equal(one.plan.lam, two.plan.lam)
    assert np.array_equal(one.plan.lam, alone.plan.lam)


def test_two_that_cut_are_refused():
    with pytest.raises(bm.MixError, match="2 of which paste boxes"):
        trained([CutMix(seed=1), MixAlgorithm(bm.policies.CutMix(), seed=2)])


def test_one_that_interpolates_and_one_that_does_not_are_refused():
    with pytest.raises(bm.MixError, match="or interpolate it, or none"):
        trained([MixUp(interpolate_loss=True), CutMix()])


def test_interpolated_losses_need_one_weight():
    with pytest.raises(bm.MixError, match="all rows of a batch need one weight"):
        trained([MixAlgorithm(SWITCH, interpolate_loss=True)])


@pytest.mark.parametrize("interpolate", [False, True])
def test_microbatches(interpolate):
    """Each has draws of its own, partners of its own, and the loss of what it holds."""
    algorithm = MixUp(ALPHA, interpolate, seed=0)
    plans = []

    class Plans(Callback):
        def after_backward(self, state, logger):
            plans.append(algorithm.plan)

    _, seen = trained([algorithm], epochs=2, device_train_microbatch_size=3, callbacks=[Plans()])
    assert [len(part["batch"][0]) for part in seen] == [3, 3, 2] * 2
    for part, plan in zip(seen, plans, strict=True):
        weights = shares(part["batch"][0])
        torch.testing.assert_close(part["loss"], cross_entropy(part["out"], weights))
        assert len(plan) == len(weights)
    policy, pairing = algorithm.mixer.policy, algorithm.mixer.pairing
    for k, plan in enumerate(plans):
        key = bm.Key(0, epoch=k // 3, step=0, rank=k % 3)
        drawn = bm.draw(policy, key, len(plan), {"H": 6, "W": 10}, pairing=pairing)
        assert np.array_equal(plan.partner, drawn.partner)
        assert np.array_equal(plan.opacity, drawn.opacity)


def test_accumulated_gradients_are_those_of_the_mixed_batch():
    trainer, seen = trained([MixUp(ALPHA)], device_train_microbatch_size=4)
    model = Net()
    loss = sum(cross_entropy(model(p["batch"][0]), shares(p["batch"][0])) for p in seen) / 2
    loss.backward()
    expected = model.linear.weight - 0.1 * model.linear.weight.grad
    torch.testing.assert_close(trainer.state.model.module.linear.weight, expected)


# Composer's, of a batch that is smaller than the microbatches
SMALL = pytest.mark.filterwarnings("ignore:Cannot split (tensor|list) of length:UserWarning")


@SMALL
def test_a_batch_of_one():
    _, seen = trained([CutMix(), MixUp(seed=1)], bs=7)
    assert [len(part["batch"][0]) for part in seen] == [7, 1]
    x, soft = seen[1]["batch"]
    assert torch.equal(x, SHARES[7:])
    assert soft.argmax(1).tolist() == [7]


def test_evaluation_is_of_clean_rows_and_metrics_of_training_are_not():
    """Composer hands the outputs on the mixed rows to its metrics, with the ids of the rows."""
    clean = []

    class Eval(Callback):
        def eval_after_forward(self, state, logger):
            clean.append(state.batch)

    rows = rows_of(SHARES, Y)
    trainer, (part,) = trained(
        [MixUp(ALPHA)], eval_dataloader=DataLoader(rows, batch_size=B), callbacks=[Eval()]
    )
    assert torch.equal(clean[0][0], SHARES)
    assert torch.equal(clean[0][1], Y)
    assert not torch.equal(part["batch"][0], SHARES)
    accuracy = trainer.state.train_metrics["MulticlassAccuracy"].compute()
    assert accuracy == (part["out"].argmax(1) == Y).float().mean()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", [MixUp, CutMix])
@pytest.mark.parametrize("interpolate", [False, True])
def test_beside_label_smoothing(kind, interpolate, last):
    """With interpolate_loss Composer's leave the label of the partner as it is."""
    model = ComposerClassifier(Net(), num_classes=B, loss_fn=F.cross_entropy)
    both = [kind(ALPHA, interpolate), theirs.LabelSmoothing(0.1)]
    _, (part,) = trained(both[:: 1 if last else -1], model=model)
    weights = shares(part["batch"][0]) * 0.9 + 0.1 / B
    torch.testing.assert_close(part["loss"], cross_entropy(part["out"], weights))


def test_a_schedule_sees_the_trainers_epochs():
    policy = Schedule.off_after(SWITCH, epoch=1)
    _, seen = trained([MixAlgorithm(policy)], epochs=2)
    assert [torch.equal(part["batch"][0], SHARES) for part in seen] == [False, True]


def test_a_run_goes_on_from_a_checkpoint(tmp_path):
    """Mid-epoch too: the batches after it are those of the run that did not stop."""

    def run(**options):
        return trained([mixing(), CutMix(seed=5)], epochs=2, bs=2, **options)[1]

    def mixing():
        return MixUp(ALPHA, seed=4)

    whole = run()
    first = run(
        save_folder=str(tmp_path), save_interval="3ba", save_filename="{batch}.pt",
        save_latest_filename=None,
    )  # fmt: skip
    rest = run(load_path=str(tmp_path / "3.pt"))
    assert len(whole) == len(first) == 8
    assert len(rest) == 5
    for part, again in zip(whole[3:], rest, strict=True):
        assert torch.equal(part["batch"][0], again["batch"][0])
        assert torch.equal(part["batch"][1], again["batch"][1])
        assert torch.equal(part["loss"], again["loss"])
    state = torch.load(tmp_path / "3.pt", weights_only=False)["state"]["algorithms"]
    assert dict(state)["MixUp"]["repr"] == repr(mixing())


def test_without_a_seed_they_have_the_trainers(tmp_path):
    """As Composer's draws do; two that mix a batch draw apart, and a checkpoint keeps the seed."""

    def run(seed, **options):
        mixup, cutmix = MixUp(ALPHA), CutMix()
        _, seen = trained([mixup, cutmix], seed=seed, epochs=2, **options)
        assert not np.array_equal(mixup.plan.partner, cutmix.plan.partner)
        return [part["batch"][0] for part in seen]

    saved = {"save_folder": str(tmp_path), "save_interval": "1ep", "save_filename": "{epoch}.pt"}
    one = run(1, **saved, save_latest_filename=None)
    again, two = run(1), run(2)
    rest = run(None, load_path=str(tmp_path / "1.pt"))
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, two))
    assert len(rest) == 1
    assert torch.equal(rest[0], one[1])


def test_a_trainers_seed_is_the_keys():
    algorithm = MixUp(ALPHA)
    trained([algorithm], seed=17)
    policy, pairing = algorithm.mixer.policy, algorithm.mixer.pairing
    drawn = bm.draw(policy, bm.Key(17), B, {"H": 6, "W": 10}, pairing=pairing)
    assert np.array_equal(algorithm.plan.opacity, drawn.opacity)


def test_no_global_generator_is_used():
    states = []

    class States(Callback):
        def after_forward(self, state, logger):
            states.append((torch.get_rng_state(), np.random.get_state()[1].copy()))

    for algorithms in ([], [MixUp(), CutMix(seed=1)]):
        trained(algorithms, callbacks=[States()], seed=3)
    (one, two) = states
    assert torch.equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_ranks_draw_apart(monkeypatch):
    seen = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, "get_global_rank", lambda rank=rank: rank)
        state = state_of((SHARES, Y))
        MixUp(ALPHA).apply(Event.BEFORE_FORWARD, state, None)
        seen.append(state.batch[0])
    assert not torch.equal(*seen)


def state_of(batch):
    """A State as Composer's own tests have it: no Trainer, no list of algorithms."""
    model = ComposerClassifier(nn.Flatten(), num_classes=B)
    state = State(model=model, rank_zero_seed=0, run_name="alone", device=DeviceCPU())
    state.batch = batch
    return state


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_batches_are_not_written_to(kind):
    """A loader that gives the same batch again and again; Composer writes masks into it."""
    batch = {"image": SHARES.clone(), "label": Y} if kind == "dict" else [SHARES.clone(), Y]
    before, loader = copy.deepcopy(batch), [batch]
    keys = {"input_key": "image", "target_key": "label"} if kind == "dict" else {}
    model = OnDict() if kind == "dict" else None

    class Loader:
        batch_size = B

        def __iter__(self):
            return iter(loader)

        def __len__(self):
            return 1

    _, seen = trained([MixUp(ALPHA, **keys)], Loader(), model, epochs=2)
    for key in before if kind == "dict" else (0, 1):
        assert torch.equal(batch[key], before[key])
    image = keys.get("input_key", 0)
    assert not torch.equal(seen[0]["batch"][image], SHARES)


def test_a_microbatch_may_come_again():
    """As where an optimizer has a closure: a dict that was mixed in place would be mixed twice."""
    batch = {"image": SHARES.clone(), "label": Y}
    algorithm = MixUp(ALPHA, input_key="image", target_key="label")
    state = state_of(batch)
    algorithm.apply(Event.BEFORE_FORWARD, state, None)
    assert not torch.equal(state.batch["image"], SHARES)
    assert torch.equal(batch["image"], SHARES)


def test_the_second_loss_has_the_precision_of_the_first(monkeypatch):
    """Composer computes it outside of the context that the Trainer computes the first in."""
    inside, seen = [], []

    @contextlib.contextmanager
    def context(*_):
        inside.append(True)
        yield
        inside.pop()

    def loss(out, y):
        seen.append(bool(inside))
        return F.cross_entropy(out, y)

    monkeypatch.setattr(adapter, "get_precision_context", context)
    trained([MixUp(interpolate_loss=True)], model=ComposerClassifier(Net(), loss_fn=loss))
    assert seen == [False, True]  # the Trainer's own call does not go through what was replaced


class Segmenter(ComposerModel):
    """Logits of each pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(B, 3, 1)

    def forward(self, batch):
        return self.conv(batch[0])

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[1])


def test_segmentation():
    ids = (Y % 3)[:, None, None].expand(B, 6, 10).clone()
    rows = rows_of(SHARES, ids)
    fields = {0: Image("NCHW"), 1: Mask("NHW")}
    _, seen = trained([MixAlgorithm(bm.Mixer(bm.policies.CutMix(), fields))], rows, Segmenter())
    x, mask = seen[0]["batch"]
    assert torch.equal(mask, ids[:, 0, 0][x.argmax(1)])
    assert not torch.equal(mask, ids)
    assert torch.equal(seen[0]["loss"], F.cross_entropy(seen[0]["out"], mask))
    with pytest.raises(bm.MixError, match=r"of shape \(8, 6, 10\)"):
        trained([CutMix()], rows, Segmenter())


def test_other_fields():
    """A table, a target with a field of its own, and two inputs under one plan."""
    fields = {0: Features("NC"), 1: Labels(B, smoothing=0.1)}
    model = ComposerClassifier(Net(B), num_classes=B)
    policy = bm.policies.MixUp(1.0)
    _, seen = trained([MixAlgorithm(bm.Mixer(policy, fields))], rows_of(torch.eye(B), Y), model)
    x, soft = seen[0]["batch"]
    torch.testing.assert_close(soft, 0.9 * x + 0.1 / B, rtol=1e-5, atol=1e-5)

    rows = [{"image": x, "other": x.flip(1), "label": y} for x, y in zip(SHARES, Y)]
    fields = {"image": Image("NCHW"), "other": Image("NCHW")}
    mixing = MixAlgorithm(bm.Mixer(SWITCH, fields), target_key="label")
    _, seen = trained([mixing], rows, OnDict())
    batch = seen[0]["batch"]
    torch.testing.assert_close(shares(batch["other"]), shares(batch["image"]))
    torch.testing.assert_close(batch["label"], shares(batch["image"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["one_hot", "integers", "numbers"])
def test_targets_that_are_not_ids(kind):
    y = {"one_hot": torch.eye(B), "integers": torch.eye(B).long(), "numbers": Y.float()}[kind]
    loss = F.cross_entropy if kind != "numbers" else lambda out, y: F.mse_loss(out[:, 0], y)
    model = OnDict(loss)
    rows = [{"image": one, "label": two} for one, two in zip(SHARES, y)]
    keys = {"input_key": "image", "target_key": "label"}
    _, seen = trained([MixAlgorithm(SWITCH, **keys)], rows, model)
    batch = seen[0]["batch"]
    expected = (shares(batch["image"]) @ y.float().view(B, -1)).view(y.shape)
    torch.testing.assert_close(batch["label"], expected, rtol=1e-5, atol=1e-5)
    assert batch["label"].is_floating_point()


@pytest.mark.parametrize("interpolate", [False, True])
def test_bfloat16(interpolate):
    """A model of 16 bits; Composer has no mixed precision on the CPU."""
    model = ComposerClassifier(Net().bfloat16(), num_classes=B)
    _, seen = trained([MixUp(ALPHA, interpolate)], rows_of(SHARES.bfloat16(), Y), model)
    x, out = seen[0]["batch"][0], seen[0]["out"]
    assert (x.dtype, out.dtype) == (torch.bfloat16, torch.bfloat16)
    expected = cross_entropy(out.float(), shares(x.float()))
    torch.testing.assert_close(seen[0]["loss"].float(), expected, rtol=2e-2, atol=0)


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
@pytest.mark.parametrize("interpolate", [False, True])
def test_parity_with_composer(kind, interpolate):
    """Given the draws of ours: the same batch, loss and step."""
    ours = {"MixUp": MixUp, "CutMix": CutMix}[kind](ALPHA, interpolate, seed=0)
    one, seen = trained([ours])
    plan = ours.plan
    (top, bottom), (left, right) = plan.box[0].tolist()

    class Given(getattr(theirs, kind)):
        """Composer's, with our draws."""

        def apply(self, event, state, logger):
            module = __import__(f"composer.algorithms.{kind.lower()}.{kind.lower()}")
            module = getattr(getattr(module.algorithms, kind.lower()), kind.lower())
            with pytest.MonkeyPatch.context() as patch:
                partner = torch.tensor(plan.partner.tolist())
                patch.setattr(module, "_gen_indices", lambda *_: partner)
                if kind == "MixUp":
                    mixing = float(plan.opacity[0])
                    patch.setattr(module, "_gen_mixing_coef", lambda *_: mixing)
                else:
                    box = (top, left, bottom, right)
                    patch.setattr(module, "_rand_bbox", lambda *_, **__: box)
                super().apply(event, state, logger)

    two, expected = trained([Given(ALPHA, interpolate)])
    for mine, own in zip(seen[0]["batch"], expected[0]["batch"], strict=True):
        torch.testing.assert_close(mine, own, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(seen[0]["loss"], expected[0]["loss"])
    weights = [trainer.state.model.module.linear.weight for trainer in (one, two)]
    torch.testing.assert_close(*weights)


def test_they_are_composers_algorithms():
    for algorithm in (MixUp(), CutMix(), MixAlgorithm(None)):
        assert isinstance(algorithm, Algorithm)
        assert not algorithm.required_on_load()
    assert MixUp(0).mixer.policy is None
    assert CutMix(0).mixer.policy is None
    _, seen = trained([MixAlgorithm(None)])
    assert torch.equal(seen[0]["batch"][0], SHARES)
    assert torch.equal(seen[0]["batch"][1], torch.eye(B))


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_applied_by_hand(alpha, interpolate):
    """What Composer's own tests of it assert: a direct apply, and the attributes after it."""
    x, y = torch.rand(7, 11, 3, 5), torch.arange(7)
    state, algorithm = state_of((x, y)), MixUp(alpha, interpolate)
    algorithm.apply(Event.BEFORE_FORWARD, state, None)
    mixing, indices = algorithm.mixing, algorithm.indices
    assert 0 <= mixing <= 0.5
    assert sorted(indices.tolist()) == list(range(7))
    torch.testing.assert_close(state.batch[0], (1 - mixing) * x + mixing * x[indices])
    assert torch.equal(algorithm.permuted_target, y[indices])


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_cutmix_is_applied_by_hand(alpha, uniform, interpolate):
    x, y = torch.rand(7, 11, 3, 5), torch.arange(7)
    state, algorithm = state_of((x, y)), CutMix(alpha, interpolate, uniform)
    algorithm.apply(Event.BEFORE_FORWARD, state, None)
    (x1, x2), (y1, y2) = algorithm.plan.box[0]
    expected = x.clone()
    expected[..., x1:x2, y1:y2] = x[algorithm.plan.partner][..., x1:x2, y1:y2]
    assert torch.equal(state.batch[0], expected)
    if not interpolate:
        state.outputs = torch.zeros(7, 9)
        algorithm.apply(Event.BEFORE_LOSS, state, None)
        torch.testing.assert_close(state.batch[1], bm.mix_labels(y, algorithm.plan, 9))


class Within(Algorithm):
    """Hands on to another algorithm, in the first epochs only, what that one asks for."""

    def __init__(self, inner, epochs=9):
        self.inner, self.epochs = inner, epochs

    def match(self, event, state):
        return int(state.timestamp.epoch) < self.epochs and self.inner.match(event, state)

    def apply(self, event, state, logger):
        return self.inner.apply(event, state, logger)


@pytest.mark.parametrize("interpolate", [False, True])
def test_within_another_algorithm(interpolate):
    """Two of them, which Composer's list of algorithms does not show, and both act on every row."""
    two = [Within(MixUp(ALPHA, interpolate), 2), Within(CutMix(ALPHA, interpolate), 1)]
    _, seen = trained(two, epochs=3)
    held = []
    for part in seen:
        weights = shares(part["batch"][0])
        held.append(int((weights > 1e-6).sum(1).max()))
        torch.testing.assert_close(
            part["loss"], cross_entropy(part["out"], weights), rtol=1e-4, atol=1e-5
        )
    assert held[1:] == [2, 1]
    with pytest.raises(bm.MixError, match="2 of which paste boxes"):
        trained([Within(CutMix(seed=1)), CutMix(seed=2)])


def test_a_key_that_the_batch_does_not_have_is_refused():
    rows = [{"image": x, "label": y} for x, y in zip(SHARES, Y)]
    for mixing in (MixUp(), MixAlgorithm(bm.Mixer(SWITCH, {"image": Image("NCHW")}))):
        with pytest.raises(bm.MixError, match="target_key='label'"):
            trained([mixing], rows, OnDict())


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (0.4, {}, "policy"),
        (bm.Mixer(SWITCH, {0: Image("NCHW")}), {"seed": 1}, "got a Mixer and seed"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, options, words):
    with pytest.raises(bm.MixError, match=words):
        MixAlgorithm(given, **options)


def test_labels_below_zero_are_refused():
    with pytest.raises(bm.MixError, match="label -1"):
        trained([MixUp()], rows_of(SHARES, Y - 1))


@SMALL
def test_several_input_tensors_are_refused():
    rows = rows_of(rows_of(SHARES, SHARES), Y)
    with pytest.raises(bm.MixError, match=r"a (list|tuple) of shape \(\)"):
        trained([MixUp()], rows)


class Odd(OnDict):
    """Outputs, or a loss, that are no one tensor."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, batch):
        logits = super().forward(batch)
        return {"logits": logits} if self.what == "outputs" else logits

    def loss(self, outputs, batch):
        logits = outputs["logits"] if self.what == "outputs" else outputs
        loss = F.cross_entropy(logits, batch["label"])
        return {"total": loss} if self.what == "loss" else loss


@pytest.mark.parametrize("what", ["outputs", "loss"])
def test_models_that_return_no_tensor(what):
    rows = [{"image": x, "label": y} for x, y in zip(SHARES, Y)]
    keys = {"input_key": "image", "target_key": "label", "interpolate_loss": what == "loss"}
    with pytest.raises(bm.MixError, match="the model returned a dict"):
        trained([MixUp(**keys)], rows, Odd(what))
    fields = {"image": Image("NCHW"), "label": Labels(B)}
    mixing, model = MixAlgorithm(bm.Mixer(SWITCH, fields), target_key="label"), Odd(what)
    before = model.net.linear.weight.clone()
    trainer = Trainer(
        model=model, train_dataloader=DataLoader(rows, B), algorithms=[mixing], device="cpu",
        max_duration="1ep", optimizers=torch.optim.SGD(model.parameters(), 0.1), progress_bar=False,
    )  # fmt: skip
    trainer.fit()
    trainer.close()
    assert not torch.equal(model.net.linear.weight, before)
