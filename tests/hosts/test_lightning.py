"""MixCallback in real Trainers: what is mixed, by which plan, on resume, and in two processes."""

import ast
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.data import _update_dataloader
from torch.utils.data import DataLoader, DistributedSampler

import batchmix as bm
from batchmix.adapters.lightning import MixCallback
from batchmix.adapters.torch import MixCollate, MixLoader
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch
from hosts import stream

pytestmark = [
    # workers, intervals of logs and the like are no matter here
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the log"),
    # Lightning 2.6 makes one itself when it loads the loops of a checkpoint
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]
ROOT = Path(__file__).parents[2]
ROWS, BATCH = 20, 4  # 5 batches
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {0: Image("NCHW"), 1: Labels(ROWS)}
DATA = [(torch.full((1, 4, 4), float(i)), i) for i in range(ROWS)]


class Net(L.LightningModule):
    """Remembers every batch that its steps and hooks are given."""

    def __init__(self, take=lambda batch: batch):
        super().__init__()
        self.layer, self.take = torch.nn.Linear(16, ROWS), take
        self.seen, self.plain = [], []

    def training_step(self, batch, batch_idx):
        x, y = self.take(batch)
        self.seen.append((self.current_epoch, batch_idx, x, y))
        return torch.nn.functional.cross_entropy(self.layer(x.flatten(1) / ROWS), y)

    def validation_step(self, batch, batch_idx):
        self.plain.append(self.take(batch)[1])
        return torch.zeros(1, requires_grad=False)  # prediction warns where it is given nothing

    test_step = predict_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Resumable:
    """A loader that goes on after the batches that a checkpoint says were taken."""

    def __init__(self, loader):
        self.loader, self.taken, self.skip = loader, 0, 0

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        self.taken, skip, self.skip = self.skip, self.skip, 0
        for k, batch in enumerate(self.loader):
            if k >= skip:
                self.taken += 1
                yield batch

    def state_dict(self):
        return {"taken": self.taken % len(self)}

    def load_state_dict(self, state):
        self.skip = state["taken"]


class Save(Callback):
    """A checkpoint after a number of steps, by a callback that a resumed run can do without."""

    def __init__(self, path, steps):
        self.path, self.steps = path, steps

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)


def loader(rows=DATA, **options):
    return DataLoader(rows, batch_size=BATCH, **options)


def trainer(*callbacks, epochs=2, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 2} | quiet | options
    return L.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), **options)


def expected(seed=3, epochs=2, policy=POLICY, rank=0):
    """What the same plans make of the same batches without Lightning."""
    mixer = bm.Mixer(policy, FIELDS, seed=seed, rank=rank)
    return [
        (epoch, step, *mixer(batch, step=step, epoch=epoch))
        for epoch in range(epochs)
        for step, batch in enumerate(loader())
    ]


def assert_same(one, two):
    assert [batch[:2] for batch in one] == [batch[:2] for batch in two]
    for a, b in zip(one, two):
        assert torch.equal(a[2], b[2])
        assert torch.equal(a[3], b[3])


def test_training_batches_are_mixed_by_epoch_and_batch():
    net = Net()
    trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3))).fit(net, loader())
    assert_same(net.seen, expected())
    ids = torch.arange(ROWS, dtype=torch.float32)
    for _, _, x, y in net.seen:  # row i of the data holds i
        assert torch.allclose(x.flatten(1).mean(1), y @ ids, atol=1e-4)
    assert len({y.numpy().tobytes() for *_, y in net.seen}) == 10


def summaries(epochs=2):
    """What the plans of `expected` do, batch by batch."""
    mixer, found = bm.Mixer(POLICY, FIELDS, seed=3, rank=0), []
    for epoch in range(epochs):
        for step, batch in enumerate(loader()):
            mixer(batch, step=step, epoch=epoch)
            found.append(mixer.summary())
    return found


def test_what_was_done_reaches_loggers_and_the_progress_bar(tmp_path):
    shown = []

    class Bar(Callback):
        def on_train_batch_end(self, run, *_):
            shown.append(dict(run.progress_bar_metrics))

    mix = MixCallback(bm.Mixer(POLICY, FIELDS, seed=3), log=True)
    log = CSVLogger(tmp_path)
    trainer(mix, Bar(), logger=log, log_every_n_steps=1).fit(Net(), loader(), loader())
    with (Path(log.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    wanted = summaries()
    assert len(rows) == len(shown) == len(wanted) == 10
    for row, bar, want in zip(rows, shown, wanted):
        assert {name: float(row[name]) for name in want} == pytest.approx(want)
        assert set(want) == {f"mix/{x}" for x in ("lam", "hardness", "unmixed", "mixup", "cutmix")}
        assert bar == {"mix/lam": pytest.approx(want["mix/lam"], abs=1e-3)}
    quiet = trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3)))
    quiet.fit(Net(), loader())
    assert not quiet.callback_metrics


def test_everything_else_is_not():
    net, mix = Net(), MixCallback(bm.Mixer(POLICY, FIELDS, seed=3))
    run = trainer(mix, val_check_interval=2)  # in the middle of an epoch, too
    run.fit(net, loader(), loader())
    assert_same(net.seen, expected())
    assert len(net.plain) == 2 + 2 * 2 * 5  # the sanity check, and two passes in each epoch
    run.validate(net, loader(), verbose=False)
    run.test(net, loader(), verbose=False)
    run.predict(net, loader(), return_predictions=False)
    assert len(net.plain) == 22 + 15
    assert all(y.dtype == torch.int64 and y.shape == (4,) for y in net.plain)


def test_a_second_fit_is_mixed_once_and_a_removed_callback_is_gone():
    net, mix = Net(), MixCallback(bm.Mixer(POLICY, FIELDS, seed=3))
    run = trainer(mix, epochs=1)
    run.fit(net, loader())
    run.fit_loop.max_epochs = 2
    run.fit(net, loader())
    assert_same(net.seen, expected())
    run.callbacks.remove(mix)
    run.fit_loop.max_epochs = 3
    plain = Net()
    run.fit(plain, loader())
    assert [y.dtype for *_, y in plain.seen] == [torch.int64] * 5


def test_it_is_undone_after_an_error():
    class Failing(Net):
        def training_step(self, batch, batch_idx):
            raise KeyError("stop")

    mix = MixCallback(bm.Mixer(POLICY, FIELDS, seed=3))
    run = trainer(mix)
    with pytest.raises(KeyError):
        run.fit(Failing(), loader())
    net = Net()
    run.callbacks.remove(mix)
    run.fit(net, loader())
    assert {y.dtype for *_, y in net.seen} == {torch.int64}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resume_in_the_middle_of_an_epoch(tmp_path, accumulate):
    whole, options = Net(), {"accumulate_grad_batches": accumulate}
    trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3)), **options).fit(
        whole, Resumable(loader())
    )

    first = Net()
    part, path = MixCallback(bm.Mixer(POLICY, FIELDS, seed=3)), tmp_path / "middle.ckpt"
    steps = {1: 7, 2: 4}[accumulate]  # of an epoch of 5 batches, the last is a step of its own
    run = trainer(part, Save(path, steps), max_steps=steps, **options)
    run.fit(first, Resumable(loader()))
    assert len(first.seen) == 7  # in the second epoch

    rest = Net()
    mix = MixCallback(bm.Mixer(POLICY, FIELDS))  # no seed: the checkpoint's
    second = trainer(mix, **options)
    second.fit(rest, Resumable(loader()), ckpt_path=path, weights_only=False)
    assert_same(first.seen + rest.seen, whole.seen)

    other = MixCallback(bm.Mixer(POLICY, FIELDS, seed=99))
    with pytest.raises(bm.MixError, match="state of seed=3; seed=99 is set"):
        trainer(other).fit(Net(), Resumable(loader()), ckpt_path=path, weights_only=False)


def test_max_steps_and_limits():
    net = Net()
    limits = {"max_steps": 4, "limit_train_batches": 3}
    trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3)), **limits).fit(net, loader())
    assert_same(net.seen, [e for e in expected() if e[1] < 3][:4])


def test_a_policy_may_look_at_the_epoch():
    net = Net()
    trainer(MixCallback(bm.Mixer(Schedule.off_after(MixUp(1.0), 1), FIELDS))).fit(net, loader())
    hard = [bool((y.max(1).values == 1).all()) for *_, y in net.seen]
    assert hard == [False] * 5 + [True] * 5


def test_dicts_and_several_loaders():
    rows = [{"image": x, "label": y, "name": f"row {y}"} for x, y in DATA]
    net = Net(lambda batch: (batch["b"]["image"], batch["b"]["label"]))
    fields = {("b", "image"): FIELDS[0], ("b", "label"): FIELDS[1]}
    left = []

    class Look(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            left.append((batch["a"][1].tolist(), batch["b"]["name"][0], batch["b"]["label"].ndim))

    both = CombinedLoader({"a": loader(), "b": loader(rows)}, "min_size")
    trainer(MixCallback(bm.Mixer(POLICY, fields, seed=3)), Look()).fit(net, both)
    assert_same(net.seen, expected())
    assert left[:2] == [([0, 1, 2, 3], "row 0", 2), ([4, 5, 6, 7], "row 4", 2)]


def test_a_loader_that_has_ended():
    """Lightning gives None in its place."""
    seen = []

    class Look(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            seen.append([None if part is None else part[1].ndim for part in batch])

    fields = {(1, 0): FIELDS[0], (1, 1): FIELDS[1]}
    both = CombinedLoader([loader(), loader(DATA[:8])], "max_size")
    run = trainer(MixCallback(bm.Mixer(POLICY, fields)), Look(), epochs=1)
    run.fit(Net(lambda batch: (batch[0][0], batch[0][1])), both)
    assert seen == [[1, 2]] * 2 + [[1, None]] * 3
    run = trainer(MixCallback(bm.Mixer(POLICY, {(1, 7): Labels(3)})))
    with pytest.raises(bm.MixError, match="field 7 is not in the batch"):
        run.fit(Net(), CombinedLoader([loader(), loader()], "max_size"))


def test_two_callbacks_for_two_loaders():
    net = Net(lambda batch: batch[1])
    one = MixCallback(bm.Mixer(MixUp(1.0), {(0, 0): FIELDS[0], (0, 1): FIELDS[1]}, seed=1))
    two = MixCallback(bm.Mixer(POLICY, {(1, 0): FIELDS[0], (1, 1): FIELDS[1]}, seed=3))
    assert one.state_key != two.state_key
    run = trainer(one, two)
    run.fit(net, CombinedLoader([loader(), loader()], "min_size"))
    assert_same(net.seen, expected())
    run.fit_loop.max_epochs = 3
    run.fit(net, CombinedLoader([loader(), loader()], "min_size"))
    assert_same(net.seen, expected(epochs=3))


def test_hooks_of_the_module_and_the_data_module_come_first():
    class Halved(L.LightningDataModule):
        def train_dataloader(self):
            return loader()

        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch[0] / 2, batch[1]

    net = Net()
    trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3))).fit(net, Halved())
    assert_same(net.seen, [(e, k, x / 2, y) for e, k, x, y in expected()])


# Lightning says that this is experimental
@pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter` step flavor")
@pytest.mark.filterwarnings("ignore:Found `dataloader_iter` argument in the `training_step`")
def test_a_step_that_takes_the_iterator_is_refused():
    class Pulls(Net):
        def training_step(self, dataloader_iter):
            batch, index, _ = next(dataloader_iter)
            return super().training_step(batch, index)

    with pytest.raises(bm.MixError, match="was not mixed"):
        trainer(MixCallback(bm.Mixer(POLICY, FIELDS))).fit(Pulls(), loader())


def test_a_misspelt_field_is_an_error():
    with pytest.raises(bm.MixError, match="field 2 is not in the batch"):
        trainer(MixCallback(bm.Mixer(POLICY, {2: Labels(3)}))).fit(Net(), loader())


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_what_a_loader_has_mixed_is_not_mixed_again():
    callback = MixCallback(bm.Mixer(POLICY, FIELDS))
    collated = DataLoader(DATA, BATCH, collate_fn=MixCollate(bm.Mixer(POLICY, FIELDS)))
    for rows in (mix_loader(), collated):
        with pytest.raises(bm.MixError, match=r"mixes \[\(0,\), \(1,\)\] already"):
            trainer(callback).fit(Net(), rows)
    fields = {("b", 0): FIELDS[0], ("b", 1): FIELDS[1]}
    of_b = MixCallback(bm.Mixer(POLICY, fields, seed=3))
    net = Net(lambda batch: batch["b"])
    run = trainer(of_b)
    run.fit(net, CombinedLoader({"a": mix_loader(), "b": loader()}, "min_size"))
    assert_same(net.seen, expected())
    with pytest.raises(bm.MixError, match="already"):
        trainer(of_b).fit(net, CombinedLoader({"a": loader(), "b": mix_loader()}, "min_size"))


def test_loss_and_weights_are_those_of_a_loop_by_hand():
    """Two epochs with validation: the same weights to the last bit."""
    net, losses = Net(), []

    class Losses(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item())

    start = [p.detach().clone() for p in net.parameters()]
    run = trainer(MixCallback(bm.Mixer(POLICY, FIELDS, seed=3)), Losses())
    run.fit(net, loader(), loader())
    assert len(net.plain) == 2 + 2 * 5
    layer = torch.nn.Linear(16, ROWS)
    for p, q in zip(layer.parameters(), start):
        p.data.copy_(q)
    optimizer, by_hand = torch.optim.SGD(layer.parameters(), 0.1), []
    for _, _, x, y in expected():
        loss = -(y * layer(x.flatten(1) / ROWS).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        by_hand.append(loss.item())
    assert losses == pytest.approx(by_hand, rel=1e-6)
    for p, q in zip(layer.parameters(), net.layer.parameters()):
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-7)


# MixLoader in a Trainer ------------------------------------------------------------------------


def of_mix_callback(policy, seed, rank, **options):
    """Each run is a fit of one epoch, the next one of the trainer where none is told."""
    mix = MixCallback(bm.Mixer(policy, stream.FIELDS, seed=seed, rank=rank))
    run = trainer(mix, epochs=0)
    rows = DataLoader(stream.ROWS, stream.BATCH, **options)

    class Given(Net):
        def training_step(self, batch, batch_idx):
            self.seen.append(batch)

    def fitted(epoch=None):
        net, progress = Given(), run.fit_loop.epoch_progress.current
        if epoch is not None:
            progress.processed = progress.completed = epoch
        run.fit_loop.max_epochs = progress.processed + 1
        run.fit(net, rows)
        return net.seen

    return fitted


@stream.contract(MixCallback=stream.Adapter(of_mix_callback, resumes=False, asks=False))
@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_stream(check, adapter):
    check(adapter)


def mix_loader(policy=POLICY, **options):
    mixer = bm.Mixer(policy, FIELDS, seed=3)
    return MixLoader(DATA, mixer, **{"batch_size": BATCH, "shuffle": True} | options)


def fitted(net=None, *callbacks, rows=None, path=None, epochs=4, **options):
    net, run = net or Net(), trainer(*callbacks, epochs=epochs, **options)
    run.fit(net, rows or mix_loader(), loader(), ckpt_path=path, weights_only=False)
    return net.seen


def alone(policy=POLICY, epochs=4):
    mixed = mix_loader(policy)
    return [(e, k, *batch) for e in range(epochs) for k, batch in enumerate(mixed)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mix_loader_resumes_anywhere(workers, tmp_path):
    """Saved after a step, also the last of an epoch, and as Lightning saves by itself."""
    whole, rows = alone(), {"num_workers": workers}
    saves = [Save(tmp_path / f"{steps}.ckpt", steps) for steps in (1, 3, 5, 7, 10)]
    assert_same(fitted(None, *saves, rows=mix_loader(**rows)), whole)
    for save in saves:
        rest = fitted(rows=mix_loader(**rows), path=save.path)
        assert_same(rest, whole[save.steps :])


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
def test_a_mix_loader_resumes_from_lightnings_own_checkpoints(tmp_path):
    whole = alone(Schedule.off_after(POLICY, epoch=2))
    for k, when in enumerate([{"every_n_train_steps": 5}, {"every_n_epochs": 1}, {}]):
        folder = tmp_path / str(k)
        save = ModelCheckpoint(folder, "{step}", save_top_k=-1, **when)
        ends = Schedule.off_after(POLICY, epoch=2)
        options = {"enable_checkpointing": True, "rows": mix_loader(ends)}
        assert_same(fitted(None, save, **options), whole)
        for steps in (5, 10):
            path = folder / f"step={steps}.ckpt"
            assert_same(fitted(rows=mix_loader(ends), path=path), whole[steps:])


def test_a_mix_loader_that_is_made_anew():
    """By Lightning, for each epoch or with another sampler."""

    class Hook(Net):
        def train_dataloader(self):
            return mix_loader()

    net = Hook()
    trainer(epochs=3, reload_dataloaders_every_n_epochs=1).fit(net)
    assert_same(net.seen, alone(epochs=3))
    for rows in (mix_loader(), None):
        net = Hook()
        with pytest.warns(UserWarning, match="sampler|shuffl"):
            trainer(overfit_batches=2).fit(net, rows)
        in_order = list(mix_loader(shuffle=False))[:2]
        assert_same(net.seen[:2], [(0, k, *batch) for k, batch in enumerate(in_order)])


def test_a_mix_loader_in_fabric():
    """It tells the number of its passes, from 0 in each run; a run that goes on refuses that."""
    fabric, rows = L.Fabric(accelerator="cpu"), mix_loader()
    given = fabric.setup_dataloaders(rows)
    assert_same(
        [(e, k, *batch) for e in range(2) for k, batch in enumerate(given)], alone(epochs=2)
    )
    resumed = mix_loader()
    resumed.load_state_dict(rows.state_dict())
    with pytest.raises(bm.MixError, match="got epoch=0; a state of epoch 2 was loaded"):
        list(fabric.setup_dataloaders(resumed))


def test_a_batch_sampler_of_your_own_shares_rows_out_itself():
    own = MixLoader(DATA, bm.Mixer(POLICY, FIELDS), batch_sampler=[[0, 1], [2, 3]])
    with pytest.raises(TypeError, match="use_distributed_sampler=False"):
        _update_dataloader(own, DistributedSampler(DATA, 2, 0))


def test_a_collate_function_is_told_before_workers_start():
    """They start before `on_train_epoch_start`."""
    mix = MixCollate(bm.Mixer(POLICY, FIELDS, seed=3))

    class Tell(Callback):
        def on_fit_start(self, trainer, module):
            mix.set_epoch(trainer.current_epoch)

        def on_train_epoch_end(self, trainer, module):
            mix.set_epoch(trainer.current_epoch + 1)

    for options in ({}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}):
        net = Net()
        trainer(Tell(), epochs=3).fit(net, loader(collate_fn=mix, **options))
        assert_same(net.seen, expected(epochs=3))


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_a_mix_loader_in_two_processes(strategy, tmp_path):
    """Lightning's own sampler shares its rows out, and is asked for the rank."""
    path = Path(__file__).parent / "scripts" / "lightning_loader.py"
    words = [sys.executable, path, strategy, tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = {rank: json.loads((tmp_path / str(rank)).read_text()) for rank in (0, 1)}
    for epoch in (0, 1):
        ids = [k for rank in (0, 1) for at, rows, _ in found[rank] if at == epoch for k in rows]
        assert sorted(ids) == list(range(16))
    assert [rows for _, rows, _ in found[0][:2]] != [rows for _, rows, _ in found[0][2:]]
    for rank, seen in found.items():
        for k, (epoch, _, weights) in enumerate(seen):
            lam = bm.draw(MixUp(1.0), bm.Key(0, epoch, k % 2, rank), 4, {}).lam.tolist()
            assert weights == pytest.approx([max(v, 1 - v) for v in lam], abs=1e-4)


@pytest.mark.parametrize("script", ["lightning_ddp.py", "fabric_ddp.py"])
def test_two_processes(script):
    """Ranks differ, and a run repeats."""
    runs = []
    for _ in range(2):
        path = Path(__file__).parent / "scripts" / script
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        found = re.findall(r"rank (\d): (\[.*?\])", done.stdout)
        runs.append({int(rank): ast.literal_eval(seen) for rank, seen in found})
    assert sorted(runs[0]) == [0, 1]
    assert runs[0] == runs[1]
    assert len(runs[0][0]) == len(runs[0][1]) == 16
    met = set(runs[0][0]) & set(runs[0][1])  # by chance: lam has 4096 values
    assert len(met) <= 1
    for rank in (0, 1):  # and they are the plans of these ranks
        mixer = bm.Mixer(MixUp(1.0), {0: Labels(4)}, seed=0, rank=rank, axes="")
        lam = [
            bm.draw(mixer.policy, bm.Key(0, epoch, step, rank), 4, {}).lam
            for epoch in range(2)
            for step in range(2)
        ]
        dominant = [max(v, 1 - v) for batch in lam for v in batch.tolist()]
        assert runs[0][rank] == pytest.approx(dominant, abs=1e-4)


@pytest.mark.parametrize("name", ["lightning_callback", "fabric_loop"])
def test_examples(name):
    words = [sys.executable, f"examples/{name}.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("test accuracy:")[1].split()[0]) > 0.8
