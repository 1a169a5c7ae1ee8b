"""MixLoader and MixModule in real DataLoaders: workers, epochs, resume, and what is left alone."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)  # fmt: skip

import batchmix as bm
from batchmix.adapters.torch import MixCollate, MixLoader, MixModule
from batchmix.fields import Features, Ids, Image, Labels, Mask
from batchmix.pairing import Roll
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
# four workers on a machine of two cores: torch advises against it, and batches must not differ
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

ROWS, BATCH, SIDE = 22, 4, 8  # 6 batches, the last of 2 rows
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {0: Image("NHWC"), 1: Labels(ROWS)}
# row k is filled with k, so that pixels say whose they are
SAMPLES = [(np.full((SIDE, SIDE, 3), 10 * k, np.uint8), k) for k in range(ROWS)]


def loader(policy=POLICY, rows=SAMPLES, fields=FIELDS, **options):
    return MixLoader(rows, policy, fields, **{"batch_size": BATCH, "seed": 3} | options)


def assert_same(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b) > 0
    for one, two in zip(a, b):
        for x, y in zip(one, two, strict=True):
            assert x.dtype == y.dtype
            assert torch.equal(x, y)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_do_not_matter(count, persistent):
    alone, workers = (
        loader(shuffle=True),
        loader(shuffle=True, num_workers=count, persistent_workers=persistent),
    )
    for _ in range(2):
        assert_same(workers, alone)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("persistent", [False, True])
def test_a_collate_function_of_a_plain_loader(count, persistent):
    """The batches of MixLoader, with any number of workers, and others in each epoch."""
    mix = MixCollate(POLICY, FIELDS, seed=3)
    plain = DataLoader(
        SAMPLES, BATCH, collate_fn=mix, num_workers=count, persistent_workers=persistent
    )
    passes = []
    for epoch in (0, 1, 1):
        mix.set_epoch(epoch)
        passes.append(list(plain))
        expected = loader()
        expected.set_epoch(epoch)
        assert_same(passes[-1], expected)
    assert not torch.equal(passes[0][0][0], passes[1][0][0])


def test_a_collate_function_goes_on_within_an_epoch():
    mix = MixCollate(POLICY, FIELDS, seed=3)
    mix.set_epoch(2, step=4)
    expected = loader()
    expected.set_epoch(2)
    assert_same(DataLoader(SAMPLES[16:], BATCH, collate_fn=mix), list(expected)[4:])


def test_a_worker_is_not_to_guess_its_epoch():
    plain = DataLoader(SAMPLES, BATCH, collate_fn=MixCollate(POLICY, FIELDS), num_workers=1)
    with pytest.raises(bm.MixError, match=r"MixCollate.*set_epoch"):
        list(plain)


def test_a_collate_function_of_your_own_runs_first():
    def collate(samples):
        images, labels = default_collate(samples)
        return {"image": images, "label": labels}

    fields = {"image": Image("NHWC"), "label": Labels(ROWS)}
    mix = MixCollate(POLICY, fields, collate_fn=collate, seed=3)
    for batch, (images, targets) in zip(DataLoader(SAMPLES, BATCH, collate_fn=mix), loader()):
        assert torch.equal(batch["image"], images)
        assert torch.equal(batch["label"], targets)


def test_workers_that_are_spawned():
    data = TensorDataset(
        torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 4, 4, 3).contiguous(),
        torch.arange(10),
    )
    spawned = loader(
        rows=data, fields={0: Image("NHWC"), 1: Labels(10)}, shuffle=True, num_workers=2,
        multiprocessing_context="spawn", persistent_workers=True,
    )  # fmt: skip
    alone = loader(rows=data, fields={0: Image("NHWC"), 1: Labels(10)}, shuffle=True)
    for _ in range(2):
        assert_same(spawned, alone)


def test_the_plan_is_that_of_every_other_framework():
    mixer = bm.Mixer(POLICY, FIELDS, pairing=Roll(1), seed=3, rank=2)
    mixed = loader(pairing=Roll(1), rank=2, num_workers=2)
    mixed.set_epoch(5)
    plain = DataLoader(SAMPLES, BATCH)
    expected = [mixer(batch, step=k, epoch=5) for k, batch in enumerate(plain)]
    assert_same(mixed, expected)


def test_labels_match_pixels_and_bytes_stay_bytes():
    for images, targets in loader(shuffle=True, num_workers=2):
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        content = images.double().mean((1, 2, 3))
        assert torch.allclose(content, targets.double() @ (10.0 * torch.arange(ROWS)).double(),
                              atol=0.51)  # fmt: skip
        assert torch.allclose(targets.sum(1), torch.ones(len(targets)))


def test_epochs_batches_and_ranks_differ():
    """Lightning #20412: with seeded workers the same lams came back in every epoch."""
    same = [(np.zeros((SIDE, SIDE, 1), np.uint8), k % BATCH) for k in range(ROWS - 2)]
    seen = set()
    for rank in (0, 1):
        mixed = loader(MixUp(1.0), same, num_workers=2, rank=rank)
        seen |= {targets.numpy().tobytes() for _ in range(3) for _, targets in mixed}
    assert len(seen) == 2 * 3 * 5


def test_global_generators_are_neither_read_nor_moved():
    first = list(loader(shuffle=True))
    torch.manual_seed(99), np.random.seed(99)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches = iter(loader(shuffle=True).batch_sampler)
    list(batches)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert_same(loader(shuffle=True), first)


def test_set_epoch_reaches_workers_that_persist():
    """timm's off-switch does not: its workers keep the collate_fn that they were started with."""
    mixed = loader(Schedule.off_after(MixUp(1.0), epoch=1), num_workers=2, persistent_workers=True)

    def hard(batches):
        return [bool((targets.max(1).values == 1).all()) for _, targets in batches]

    assert not any(hard(mixed))
    mixed.set_epoch(7)
    assert all(hard(mixed))
    assert mixed.epoch == 8
    mixed.set_epoch(0)
    assert not any(hard(mixed))


def test_without_set_epoch_each_pass_is_the_next():
    counted, told = loader(shuffle=True), loader(shuffle=True)
    for epoch in range(3):
        assert counted.epoch == epoch
        told.set_epoch(epoch)
        assert_same(counted, told)


def test_a_pass_that_was_broken_off_is_over():
    mixed = loader(shuffle=True, num_workers=2, persistent_workers=True)
    for _ in zip(range(2), mixed):
        pass
    second = loader(shuffle=True)
    second.set_epoch(1)
    assert_same(mixed, second)
    mixed.set_epoch(0)  # and may be repeated from its start
    assert_same(mixed, loader(shuffle=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("told", [False, True])
def test_resume_in_the_middle_of_an_epoch(workers, told):
    first = loader(shuffle=True, num_workers=workers)
    list(first)
    passing = iter(first)
    for _ in range(2):
        next(passing)
    state = copy.deepcopy(first.state_dict())
    assert state == {"seed": 3, "epoch": 1, "step": 2}
    rest = list(passing)
    read = []

    class Noted(list):
        def __getitem__(self, row):
            read.append(row)
            return super().__getitem__(row)

    resumed = loader(rows=Noted(SAMPLES), shuffle=True, num_workers=0)
    resumed.load_state_dict(state)
    if told:  # as a loop over the epochs that are left would do
        resumed.set_epoch(1)
    assert resumed.state_dict() == state
    assert_same(resumed, rest)
    assert len(rest) == 4
    assert len(read) == ROWS - 2 * BATCH  # what came before is not read
    assert_same(resumed, list(first))  # the epoch after it, from its start
    assert resumed.state_dict() == {"seed": 3, "epoch": 3, "step": 0}


def test_a_state_of_another_run_is_refused():
    with pytest.raises(bm.MixError, match="this loader has seed=3"):
        loader().load_state_dict({"seed": 4, "epoch": 0, "step": 0})
    with pytest.raises(bm.MixError, match="seed, epoch and step"):
        loader().load_state_dict({"seed": 3})


@pytest.mark.parametrize("workers", [0, 2])
def test_the_data_set_is_not_written_to(workers):
    """timm's FastCollateMixup writes to the arrays of the data set in two modes."""
    frozen = [(image.copy(), label) for image, label in SAMPLES]
    for image, _ in frozen:
        image.flags.writeable = False
    for _ in range(2):
        list(loader(rows=frozen, num_workers=workers))
    tensors = TensorDataset(torch.rand(8, 3, SIDE, SIDE), torch.arange(8))
    before = tensors.tensors[0].clone()
    list(loader(rows=tensors, fields={0: Image("NCHW"), 1: Labels(8)}))
    assert torch.equal(tensors.tensors[0], before)
    assert all((a == b).all() for (a, _), (b, _) in zip(frozen, SAMPLES))


def sampled(**options):
    return [batch[1].argmax(1).tolist() for batch in loader(None, **options)]


def test_every_way_of_choosing_rows():
    generator = torch.Generator()
    assert [len(b) for b in sampled()] == [4, 4, 4, 4, 4, 2]
    assert [len(b) for b in sampled(drop_last=True)] == [4] * 5
    assert sampled(sampler=range(ROWS - 1, -1, -1))[0] == [21, 20, 19, 18]
    batches = BatchSampler(range(0, ROWS, 2), 5, drop_last=True)
    given = MixLoader(SAMPLES, None, FIELDS, batch_sampler=batches)
    assert [b[1].argmax(1).tolist() for b in given] == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]
    assert len(given) == 2
    seeded = sampled(shuffle=True, generator=generator.manual_seed(5))
    assert seeded == sampled(shuffle=True, generator=generator.manual_seed(5))
    plain = DataLoader(SAMPLES, BATCH, shuffle=True, generator=generator.manual_seed(5))
    assert seeded == [batch[1].tolist() for batch in plain]  # a generator of your own decides
    weighted = WeightedRandomSampler([1.0] + [0.0] * (ROWS - 1), 8)
    assert sampled(sampler=weighted) == [[0] * 4] * 2
    orders = {str(sampled(shuffle=True, seed=seed)) for seed in range(3)}
    assert len(orders) == 3
    assert sorted(row for rows in sampled(shuffle=True) for row in rows) == list(range(ROWS))


def test_a_distributed_sampler_is_told_the_epoch():
    """Forgetting its set_epoch is a classic: all epochs have one order."""
    parts = [
        loader(None, sampler=DistributedSampler(SAMPLES, 2, rank, seed=1), rank=rank)
        for rank in (0, 1)
    ]
    orders = []
    for epoch in (0, 1):
        for part in parts:
            part.set_epoch(epoch)
        rows = [[k for _, y in part for k in y.argmax(1).tolist()] for part in parts]
        assert sorted(rows[0] + rows[1]) == list(range(ROWS))
        orders.append(rows)
    assert orders[0] != orders[1]


class Fetched(TensorDataset):
    """A data set that fetches a batch at once."""

    def __getitems__(self, rows):
        assert all(isinstance(row, int) for row in rows)
        return [self[row] for row in rows]


def test_data_sets_that_fetch_batches_and_the_data_set_inside():
    data = Fetched(torch.rand(10, 3, SIDE, SIDE), torch.arange(10))
    fields = {0: Image("NCHW"), 1: Labels(10)}
    mixed = loader(rows=data, fields=fields, num_workers=2)
    assert_same(mixed, loader(rows=TensorDataset(*data.tensors), fields=fields))
    assert mixed.dataset.dataset is data
    assert len(mixed.dataset) == 10
    assert mixed.dataset[3][1] == 3


def test_any_structure_masks_and_what_is_not_named():
    rng = np.random.default_rng(0)
    rows = [
        {
            "views": (torch.from_numpy(rng.random((3, 6, 5), np.float32)), {"id": k}),
            "mask": rng.integers(0, 250, (6, 5), np.uint8),
            "target": k % 3,
            "name": f"{k}.jpg",
        }
        for k in range(8)
    ]
    fields = {("views", 0): Image("NCHW"), "mask": Mask("NHW"), "target": Labels(3)}
    got = list(loader(CutMix(1.0), rows, fields, num_workers=2))[1]
    plain = default_collate(rows[4:])
    plan = bm.draw(CutMix(1.0), bm.Key(3, 0, 1), 4, {"H": 6, "W": 5})
    assert torch.equal(got["views"][0], bm.mix(plain["views"][0], plan, "NCHW"))
    assert torch.equal(got["mask"], bm.fields.Ids("NHW")(plain["mask"], plan))
    assert torch.equal(got["target"], bm.mix_labels(plain["target"], plan, 3))
    assert got["name"] == plain["name"]
    assert got["views"][1]["id"].tolist() == [4, 5, 6, 7]
    assert rows[4]["views"][1] == {"id": 4}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("tensors", [False, True])
def test_dtypes_are_kept_and_mixed_as_the_batch_would_be(dtype, tensors):
    images = (np.arange(4 * 5 * 3 * 2).reshape(4, 5, 3, 2) % 120).astype(dtype)
    rows = [(torch.from_numpy(x) if tensors else x, k) for k, x in enumerate(images)]
    (got,) = loader(rows=rows, fields={0: Image("NHWC"), 1: Labels(4)})
    plan = bm.draw(POLICY, bm.Key(3), 4, {"H": 5, "W": 3})
    assert torch.equal(got[0], bm.mix(torch.from_numpy(images), plan, "NHWC"))


def test_bare_rows_numbers_and_a_collate_of_your_own():
    (bare,) = loader(MixUp(1.0), list(np.eye(4, dtype=np.float32)), {(): Features("NC")})
    plan = bm.draw(MixUp(1.0), bm.Key(3), 4, {})
    assert torch.equal(bare, bm.mix(torch.eye(4), plan, "NC"))
    (pairs,) = loader(MixUp(1.0), [(float(k), k) for k in range(4)], {0: _Sum(), 1: Labels(4)})
    assert pairs[0] == 6.0

    def reversed_rows(rows):
        return default_collate(rows[::-1])

    mixed = loader(collate_fn=reversed_rows)
    plain = DataLoader(SAMPLES, BATCH, collate_fn=reversed_rows)
    mixer = bm.Mixer(POLICY, FIELDS, seed=3)
    assert_same(mixed, [mixer(batch, step=k) for k, batch in enumerate(plain)])


class _Sum:
    """A field of your own."""

    def __call__(self, value, plan, other=None):
        return value.sum()


def test_batches_can_be_normalised_after_the_workers():
    mean, std = [120.0] * 3, [60.0] * 3
    for images, _ in loader():
        identity = bm.Plan.identity(len(images), "HW", (SIDE, SIDE))
        x = bm.mix_normalize(images, identity, mean, std)
        expected = (images.permute(0, 3, 1, 2).float() - 120) / 60
        assert torch.allclose(x, expected, atol=1e-6)


def test_what_has_no_numbered_batches_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(SAMPLES)

    with pytest.raises(bm.MixError, match="Batches are numbered where their indices are chosen"):
        MixLoader(Stream(), POLICY, FIELDS)
    with pytest.raises(bm.MixError, match="batch_size=None"):
        loader(batch_size=None)


@pytest.mark.parametrize("workers", [0, 1])
def test_wrong_fields_are_errors_also_from_a_worker(workers):
    with pytest.raises(bm.MixError, match="is not in the batch"):
        next(iter(loader(fields={5: Image("NHWC")}, num_workers=workers)))
    with pytest.raises(bm.MixError, match="A layout has one letter per axis"):
        next(iter(loader(MixUp(1.0), fields={0: Image("NCW")}, num_workers=workers)))
    uneven = [(np.zeros((4 + k, 4, 3), np.uint8), k) for k in range(4)]
    with pytest.raises(bm.MixError, match="The rows of a batch are alike"):
        next(iter(loader(rows=uneven, num_workers=workers)))


# labels that do not fit memory -----------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Labels as (y, y_partner, lam)."""

    def __call__(self, value, plan, other=None):
        return bm.pairs(value, plan, other=other)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        for tensor in torch.utils._pytree.tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_pairs_of_21841_classes_never_make_a_dense_label():
    batch, classes = 1024, 21_841
    ids = torch.randint(classes, (batch,))
    log_p = torch.zeros(1, classes).log_softmax(1).expand(batch, classes)
    plan = bm.draw(MixUp(1.0), bm.Key(0), batch, {})

    def loss(log_p, y):
        return torch.nn.functional.nll_loss(log_p, y, reduction="none")

    with Largest() as pairwise:
        value = bm.losses.pairwise(loss, log_p, bm.pairs(ids, plan))
    assert value == pytest.approx(np.log(classes), rel=1e-5)
    assert 0 < pairwise.elements <= batch
    with Largest() as dense:  # the measure sees what it is meant to see
        torch.nn.functional.one_hot(ids, classes)
    assert dense.elements == batch * classes


def test_pairs_travel_from_the_workers():
    fields = {0: Image("NHWC"), 1: Pairs()}
    for k, (images, (y, partner, lam)) in enumerate(loader(fields=fields, num_workers=2)):
        plan = bm.draw(POLICY, bm.Key(3, 0, k), len(images), {"H": SIDE, "W": SIDE})
        assert y.dtype == partner.dtype == torch.int64
        assert torch.equal(partner, y[torch.from_numpy(plan.partner).long()])
        assert torch.equal(lam, torch.from_numpy(plan.lam))


# MixModule -------------------------------------------------------------------------------------


def module(**options):
    fields = {0: Image("NCHW"), 1: Labels(10, smoothing=0.1)}
    return MixModule(POLICY, fields, **{"seed": 3} | options)


def batch():
    return torch.rand(6, 3, SIDE, SIDE), torch.arange(6)


def test_module_mixes_in_training_and_leaves_alone_in_evaluation():
    mix, given = module(), batch()
    before = given[0].clone()
    expected = bm.Mixer(POLICY, mix.mixer.fields, seed=3)(given, step=0)
    assert_same([mix(given)], [expected])
    assert torch.equal(given[0], before)
    mix.eval()
    assert mix(given) is given
    assert mix.state_dict()["_extra_state"].tolist() == [3, 0, 1]  # nothing was drawn
    assert not list(mix.parameters())


def test_a_checkpoint_resumes_in_the_middle_of_an_epoch(tmp_path):
    model = torch.nn.ModuleDict({"mix": module(), "net": torch.nn.Linear(2, 2)})
    given = batch()
    model["mix"].set_epoch(4)
    for _ in range(3):
        model["mix"](given)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    expected = [model["mix"](given) for _ in range(2)]

    again = torch.nn.ModuleDict({"mix": module(seed=0), "net": torch.nn.Linear(2, 2)})
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert_same([again["mix"](given) for _ in range(2)], expected)
    assert again["mix"].mixer.state_dict() == {"seed": 3, "epoch": 4, "step": 5}


def test_module_survives_pickle_copy_and_other_structures():
    mix, given = module(), batch()
    mix(given)
    copies = [copy.deepcopy(mix), pickle.loads(pickle.dumps(mix))]
    expected = mix(given)
    for other in copies:
        assert_same([other(given)], [expected])
    tree = MixModule(MixUp(1.0), {("x", "image"): Image("NCHW"), "seg": Ids("NHW")})
    out = tree({"x": {"image": given[0]}, "seg": given[0][:, 0].mul(9).long(), "id": "a"})
    assert out["seg"].dtype == torch.int64
    assert out["id"] == "a"


def test_module_in_a_compiled_model_draws_anew_each_step():
    mix, given = module(), batch()
    step = torch.compile(lambda batch: mix(batch)[0] * 2, backend="eager")
    expected = bm.Mixer(POLICY, mix.mixer.fields, seed=3)
    for k in range(3):
        assert torch.allclose(step(given), expected(given, step=k)[0] * 2)


# example ---------------------------------------------------------------------------------------


def test_example():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "dataloader.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(": ") for line in done.stdout.splitlines())
    assert lines["batches of 0 and 2 workers"] == "equal"
    assert lines["resumed in the middle of an epoch"] == "equal"
    assert float(lines["test accuracy"]) > 0.85
