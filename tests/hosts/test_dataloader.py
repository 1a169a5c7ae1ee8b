"""MixLoader and MixModule in real DataLoaders: workers, epochs, resume, and what is left alone."""

from __future__ import annotations

import copy
import json
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
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)  # fmt: skip

import batchmix as bm
from batchmix.adapters.torch import MixCollate, MixLoader, MixModule
from batchmix.fields import Features, Ids, Image, Labels, Mask
from batchmix.policies import CutMix, MixUp, Schedule
from hosts.stream import BATCH, COUNT, FIELDS, POLICY, ROWS, SIDE, Adapter, collating, contract

ROOT = Path(__file__).parents[2]
# four workers on a machine of two cores: torch advises against it, and batches must not differ
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def of_mix_loader(policy, seed, rank, **options):
    mixer = bm.Mixer(policy, FIELDS, seed=seed, rank=rank)
    made = MixLoader(ROWS, mixer, batch_size=BATCH, **options)

    def run(epoch=None, start=0):
        if start:
            first = MixLoader(ROWS, mixer, batch_size=BATCH)
            first.set_epoch(epoch)
            given = iter(first)
            for _ in range(start):
                next(given)
            made.load_state_dict(first.state_dict())
        elif epoch is not None:
            made.set_epoch(epoch)
        return list(made)

    return run


def of_mix_collate(policy, seed, rank, **options):
    mix = MixCollate(bm.Mixer(policy, FIELDS, seed=seed, rank=rank))
    return collating(mix, mix, **options)


def counting(make):
    """Of what is called with a batch, counts, and has a state."""

    def of_one(policy, seed, rank, **options):
        mixer = bm.Mixer(policy, FIELDS, seed=seed, rank=rank)
        mix = make(mixer)
        made = DataLoader(ROWS, BATCH, **options)

        def run(epoch=None, start=0):
            if start:
                first = make(mixer)
                first.set_epoch(epoch)
                for _, batch in zip(range(start), made):
                    first(batch)
                mix.load_state_dict(first.state_dict())
            elif epoch is not None:
                mix.set_epoch(epoch)
            return [mix(batch) for k, batch in enumerate(made) if k >= start]

        return run

    return of_one


@contract(
    MixLoader=Adapter(of_mix_loader, in_workers=True),
    MixCollate=Adapter(of_mix_collate, in_workers=True, counts=False),
    MixModule=Adapter(counting(MixModule)),
    Mixer=Adapter(counting(bm.Mixer.but)),
)
def test_stream(check, adapter):
    check(adapter)


def loader(policy=POLICY, rows=ROWS, fields=FIELDS, **options):
    said = {name: options.pop(name) for name in ("seed", "rank", "pairing") if name in options}
    mixer = bm.Mixer(policy, fields, **{"seed": 3} | said)
    return MixLoader(rows, mixer, **{"batch_size": BATCH} | options)


def assert_same(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b) > 0
    for one, two in zip(a, b):
        for x, y in zip(one, two, strict=True):
            assert x.dtype == y.dtype
            assert torch.equal(x, y)


def test_a_collate_function_of_your_own_runs_first():
    def collate(samples):
        images, labels = default_collate(samples)
        return {"image": images, "label": labels}

    fields = {"image": Image("NHWC"), "label": Labels(COUNT)}
    mix = MixCollate(bm.Mixer(POLICY, fields, seed=3), collate)
    for batch, (images, targets) in zip(DataLoader(ROWS, BATCH, collate_fn=mix), loader()):
        assert torch.equal(batch["image"], images)
        assert torch.equal(batch["label"], targets)


def test_labels_match_pixels_and_bytes_stay_bytes():
    for images, targets in loader(shuffle=True, num_workers=2):
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        content = images.double().mean((1, 2, 3))
        assert torch.allclose(content, targets.double() @ (10.0 * torch.arange(COUNT)).double(),
                              atol=0.51)  # fmt: skip
        assert torch.allclose(targets.sum(1), torch.ones(len(targets)))


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
    assert mixed.state_dict()["epoch"] == 8
    mixed.set_epoch(0)
    assert not any(hard(mixed))


def state(epoch, step, batches=6, size=BATCH, seed=3):
    return {"seed": seed, "epoch": epoch, "step": step, "batches": batches, "batch_size": size}


def taken(batches, count):
    given = iter(batches)
    return [next(given) for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_that_was_broken_off_is_over(workers):
    """The next one has another number, of which nobody knows whether it is that of an epoch."""
    mixed = loader(shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    taken(mixed, 2)
    second, first = loader(shuffle=True), loader(shuffle=True)
    second.set_epoch(1)
    assert_same(mixed, second)
    mixed.set_epoch(0)  # and may be repeated from its start
    assert_same(mixed, first)
    assert mixed.state_dict() == state(1, 0)


def test_a_look_at_a_batch_does_not_move_a_schedule_in_silence():
    mixed = loader(Schedule.off_after(MixUp(1.0), epoch=1))
    look = taken(mixed, 1)
    with pytest.raises(bm.MixError, match="nobody has told"):
        list(mixed)
    mixed.set_epoch(0)
    assert_same(taken(mixed, 1), look)
    mixed.set_epoch(0)
    assert len(list(mixed)) == 6
    assert all((targets.max(1).values == 1).all() for _, targets in mixed)  # the next, by its count


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("told", [False, True])
def test_resume_in_the_middle_of_an_epoch(workers, told):
    first = loader(shuffle=True, num_workers=workers)
    list(first)
    passing = iter(first)
    for _ in range(2):
        next(passing)
    saved = copy.deepcopy(first.state_dict())
    assert saved == state(1, 2)
    rest = list(passing)
    read = []

    class Noted(list):
        def __getitem__(self, row):
            read.append(row)
            return super().__getitem__(row)

    resumed = loader(rows=Noted(ROWS), shuffle=True, num_workers=0)
    resumed.load_state_dict(saved)
    if told:  # as a loop over the epochs that are left would do
        resumed.set_epoch(1)
    assert resumed.state_dict() == saved
    assert_same(resumed, rest)
    assert len(rest) == 4
    assert len(read) == COUNT - 2 * BATCH  # what came before is not read
    assert_same(resumed, list(first))  # the epoch after it, from its start
    assert resumed.state_dict() == state(3, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_state_after_the_last_batch_is_the_next_epoch(workers):
    """A host that knows the length takes no more, and saves while the pass is suspended."""
    mixed = loader(shuffle=True, num_workers=workers)
    passing = iter(mixed)
    for step in range(6):
        assert mixed.state_dict() == state(0, step)
        next(passing)
    assert mixed.state_dict() == state(1, 0)
    resumed = loader(shuffle=True)
    resumed.load_state_dict(mixed.state_dict())
    assert_same(resumed, mixed)


def test_a_place_to_go_on_at_is_not_lost_by_a_look():
    whole = loader(shuffle=True)
    whole.set_epoch(2)
    expected = list(whole)
    resumed = loader(shuffle=True)
    resumed.load_state_dict(state(2, 4))
    assert_same(taken(resumed, 1), expected[4:5])
    with pytest.raises(bm.MixError, match=r"\(2, 4\) was broken off.*\n?.*set_epoch\(2\)"):
        list(resumed)
    resumed.set_epoch(2)
    assert_same(resumed, expected[4:])
    assert_same(resumed, whole)  # epoch 3
    resumed.set_epoch(0)  # it has gone on, and may be told anything
    resumed.load_state_dict(state(2, 4))
    with pytest.raises(bm.MixError, match="a state of epoch 2 was loaded"):
        resumed.sampler.set_epoch(0)  # as what counts from 0 in each run would
    taken(resumed, 1)
    resumed.set_epoch(3)
    assert len(list(resumed)) == 6


def test_two_passes_at_once():
    mixed = loader(shuffle=True)
    one, two = iter(mixed), iter(mixed)
    next(one), next(two), next(one)
    there = state(1, 1) | {"told": False, "order": 0}
    assert mixed.state_dict() == there
    list(one)
    assert mixed.state_dict() == there
    list(two)
    third = loader(shuffle=True)
    third.set_epoch(2)
    assert_same(mixed, third)


def test_a_state_of_another_run_is_refused():
    for wrong, message in [
        (state(0, 0, seed=4), "seed=4; seed=3 is set"),
        ({"seed": 3}, "seed, epoch, step, batches and batch_size"),
        (state(0, 2, 3, 8), "batches': 3"),  # would be other rows
        (state(0, 6), "step=6 of an epoch of 6"),
        (state(0, 700), "step=700"),
        (state(0, -1), ">= 0"),
    ]:
        with pytest.raises(bm.MixError, match=message):
            loader().load_state_dict(wrong)
    loader().load_state_dict(state(1, 0, 3, 8))  # between epochs other batches may follow
    left_out = MixLoader(ROWS, bm.Mixer(POLICY, FIELDS), batch_size=BATCH, shuffle=True)
    left_out.load_state_dict(state(2, 3))
    given = loader(shuffle=True)
    given.load_state_dict(state(2, 3))
    assert_same(left_out, given)
    assert left_out.state_dict()["seed"] == 3


@pytest.mark.parametrize("epoch", [-1, 1.5, "2", None])
def test_a_wrong_epoch_is_refused(epoch):
    mixed = loader()
    for told in (mixed, mixed.sampler, mixed.batch_sampler):
        with pytest.raises(bm.MixError, match="set_epoch"):
            told.set_epoch(epoch)
    assert mixed.state_dict() == state(0, 0)


def test_the_first_argument_is_a_mixer_and_is_left_alone():
    mixer = bm.Mixer(POLICY, FIELDS, seed=3)
    for made in (MixCollate, MixModule, lambda wrong: MixLoader(ROWS, wrong)):
        for wrong in (POLICY, FIELDS, None, bm.Mixer(POLICY, {})):
            with pytest.raises(bm.MixError, match=r"Mixer\(CutMix"):
                made(wrong)
        made(mixer)
    taken(MixLoader(ROWS, mixer, sampler=DistributedSampler(ROWS, 2, 1)), 1)
    assert vars(mixer) == vars(bm.Mixer(POLICY, FIELDS, seed=3, pairing=mixer.pairing))


WAYS = ["shards", "split", "uneven", "dispatched", "seedable"]


@pytest.mark.parametrize("processes", [1, 2])
def test_prepared_by_accelerate(processes, tmp_path):
    """It cuts and joins the batches of the loader, and tells them the epoch."""
    script = str(Path(__file__).parent / "scripts" / "accelerate_loader.py")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [sys.executable, *(launch if processes == 2 else []), script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for way in WAYS:
        found = [json.loads((tmp_path / f"{way}{k}").read_text()) for k in range(processes)]
        told = found[0][1]
        assert all(passes[1] == passes[2] for passes in found), way  # counted as it is told
        orders = [[rows for rows, _ in passes] for passes in found[0]]
        assert orders[0] != orders[1]
        assert not any(a == b for (_, a), (_, b) in zip(found[0][0], told))  # weights
        for at in range(2):  # each row is met, in one process or the other
            rows = [row for passes in found for batch, _ in passes[at] for row in batch]
            assert set(rows) == set(range(18))
        if processes == 2:
            assert not any(a == b for (_, a), (_, b) in zip(found[0][1], found[1][1]))
        elif way != "seedable":  # whose order is Accelerate's
            mixer = bm.Mixer(MixUp(1.0), {0: Image("NCHW"), 1: Labels(18)}, seed=0)
            rows = [(torch.ones(1, 2, 2), k, k) for k in range(18)]
            whole = MixLoader(rows, mixer, batch_size=4, shuffle=True)
            for at in range(2):
                assert orders[at] == [ids.tolist() for *_, ids in whole]


# memory ----------------------------------------------------------------------------------------


class Views(torch.utils.data.Dataset):
    """Rows and masks that are views of one array each."""

    def __init__(self):
        self.images = np.arange(8 * 6 * 6 * 3, dtype=np.float32).reshape(8, 6, 6, 3)
        self.masks = np.arange(8 * 6 * 6, dtype=np.int64).reshape(8, 6, 6)

    def __len__(self):
        return 8

    def __getitem__(self, row):
        return self.images[row], self.masks[row], row


class Batches(Views):
    def __getitems__(self, rows):
        return [torch.utils.data.default_convert(self[row]) for row in rows]


def views_of(rows):
    """A batch that is the data set's own memory, as a collate function may make it."""
    images, masks, labels = zip(*rows)
    at = slice(labels[0], labels[-1] + 1)
    own = (parts[0].base.reshape(-1, *parts[0].shape)[at] for parts in (images, masks))
    return *own, np.array(labels)


THREE = {0: Image("NHWC"), 1: Ids("NHW"), 2: Labels(8)}


@pytest.mark.parametrize(
    ("rows", "collate"),
    [(Views, None), (Batches, None), (Views, views_of), (Views, default_collate)],
)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("made", [MixLoader, MixCollate])
def test_memory_of_the_data_set_is_never_written_to(rows, collate, inplace, made):
    data = rows()
    if inplace and collate is views_of:
        return  # its user says that he may
    mixer = bm.Mixer(MixUp(1.0), THREE, seed=3, inplace=inplace)
    before = data.images.copy(), data.masks.copy()
    if made is MixLoader:
        batches = list(MixLoader(data, mixer, batch_size=4, collate_fn=collate))
    else:
        batches = list(DataLoader(data, 4, collate_fn=MixCollate(mixer, collate)))
    assert (data.images == before[0]).all()
    assert (data.masks == before[1]).all()
    for step, batch in enumerate(batches):
        at = slice(4 * step, 4 * step + 4)
        plain = data.images[at], data.masks[at], np.arange(8)[at]
        for got, expected in zip(batch, mixer.but(inplace=False)(plain, step=step)):
            assert np.array_equal(np.asarray(got), expected)


def test_what_was_stacked_here_is_mixed_in_place(monkeypatch):
    """A mask is stacked by PyTorch, and needs no second copy; what you collate is yours."""
    written = []

    class Noted(Ids):
        def __call__(self, value, plan, other=None, out=None):
            written.append(out is value)
            return super().__call__(value, plan, other, out)

    fields = THREE | {1: Noted("NHW")}
    list(MixLoader(Views(), bm.Mixer(MixUp(1.0), fields), batch_size=4))
    list(MixLoader(Views(), bm.Mixer(MixUp(1.0), fields), batch_size=4, collate_fn=views_of))
    assert written == [True, True, False, False]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_data_set_is_not_written_to(workers):
    """timm's FastCollateMixup writes to the arrays of the data set in two modes."""
    frozen = [(image.copy(), label) for image, label in ROWS]
    for image, _ in frozen:
        image.flags.writeable = False
    for _ in range(2):
        list(loader(rows=frozen, num_workers=workers))
    tensors = TensorDataset(torch.rand(8, 3, SIDE, SIDE), torch.arange(8))
    before = tensors.tensors[0].clone()
    list(loader(rows=tensors, fields={0: Image("NCHW"), 1: Labels(8)}))
    assert torch.equal(tensors.tensors[0], before)
    assert all((a == b).all() for (a, _), (b, _) in zip(frozen, ROWS))


def sampled(**options):
    return [batch[1].argmax(1).tolist() for batch in loader(None, **options)]


def test_every_way_of_choosing_rows():
    generator = torch.Generator()
    assert [len(b) for b in sampled()] == [4, 4, 4, 4, 4, 2]
    assert [len(b) for b in sampled(drop_last=True)] == [4] * 5
    assert sampled(sampler=range(COUNT - 1, -1, -1))[0] == [21, 20, 19, 18]
    batches = BatchSampler(range(0, COUNT, 2), 5, drop_last=True)
    given = MixLoader(ROWS, bm.Mixer(None, FIELDS), batch_sampler=batches)
    assert [b[1].argmax(1).tolist() for b in given] == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]
    assert len(given) == 2
    seeded = sampled(shuffle=True, generator=generator.manual_seed(5))
    assert seeded == sampled(shuffle=True, generator=generator.manual_seed(5))
    plain = DataLoader(ROWS, BATCH, shuffle=True, generator=generator.manual_seed(5))
    assert seeded == [batch[1].tolist() for batch in plain]  # a generator of your own decides
    weighted = WeightedRandomSampler([1.0] + [0.0] * (COUNT - 1), 8)
    assert sampled(sampler=weighted) == [[0] * 4] * 2
    orders = {str(sampled(shuffle=True, seed=seed)) for seed in range(3)}
    assert len(orders) == 3
    assert sorted(row for rows in sampled(shuffle=True) for row in rows) == list(range(COUNT))


def ids(batches):
    return [k for batch in batches for k in batch[1].argmax(1).tolist()]


@pytest.mark.parametrize("told", ["loader", "its sampler", "sampler", "nobody"])
def test_a_distributed_sampler_and_the_numbers_go_together(told):
    """Forgetting its set_epoch is a classic: all epochs have one order."""
    samplers = [DistributedSampler(ROWS, 2, rank, seed=1) for rank in (0, 1)]
    parts = [loader(None, sampler=sampler) for sampler in samplers]
    orders = []
    for epoch in (0, 1, 2) if told == "nobody" else (0, 1, 4):
        for part, sampler in zip(parts, samplers):
            if told == "its sampler":
                assert hasattr(part.sampler, "set_epoch")  # as scripts ask
            if told != "nobody":
                {"loader": part, "its sampler": part.sampler, "sampler": sampler}[told].set_epoch(
                    epoch
                )
        rows = [ids(part) for part in parts]
        assert [sampler.epoch for sampler in samplers] == [epoch] * 2
        assert [part.state_dict()["epoch"] for part in parts] == [epoch + 1] * 2
        assert sorted(rows[0] + rows[1]) == list(range(COUNT))
        orders.append(rows)
    assert orders[0] != orders[1] != orders[2]


def test_the_rank_is_that_of_the_sampler_where_none_was_given():
    parts = [
        loader(MixUp(1.0), sampler=DistributedSampler(ROWS, 2, rank, shuffle=False), **given)
        for rank, given in [(0, {"rank": None}), (1, {"rank": None}), (0, {"rank": 1})]
    ]
    first, second, told = [[targets.max(1).values for _, targets in part] for part in parts]
    assert not any(torch.equal(a, b) for a, b in zip(first, second))
    lam = [
        bm.draw(MixUp(1.0), bm.Key(3, 0, k, 1), len(t), {"H": 8, "W": 8}).lam
        for k, t in enumerate(told)
    ]
    for mixed in (second, told):
        assert all(np.allclose(np.maximum(v, 1 - v), t) for v, t in zip(lam, mixed))


def test_what_hosts_look_for():
    sampler = DistributedSampler(ROWS, 2, 0)
    mixed = loader(sampler=sampler, drop_last=True)
    assert isinstance(mixed.sampler, DistributedSampler)
    assert (mixed.sampler.num_replicas, list(mixed.sampler)) == (2, list(sampler))
    assert len(mixed.sampler) == len(sampler)
    assert (mixed.batch_size, mixed.drop_last) == (BATCH, True)
    assert (mixed.batch_sampler.batch_size, mixed.batch_sampler.drop_last) == (BATCH, True)
    for copied in (copy.deepcopy(mixed), pickle.loads(pickle.dumps(mixed))):
        copied.sampler.set_epoch(2)
        assert copied.state_dict()["epoch"] == copied.sampler.epoch == 2
    assert mixed.state_dict()["epoch"] == 0

    class Named(list):
        classes = ("cat", "dog")

    named = loader(rows=Named(ROWS))
    assert named.dataset.classes == ("cat", "dog")
    with pytest.raises(AttributeError):
        _ = named.dataset.nothing


def test_a_batch_sampler_of_your_own():
    """It may count epochs, and need not know its length."""

    class Own:
        told = None

        def __iter__(self):
            yield from ([0, 1], [2, 3, 4])

        def set_epoch(self, epoch):
            self.told = epoch

    own = Own()
    given = MixLoader(ROWS, bm.Mixer(POLICY, FIELDS, seed=3), batch_sampler=own)
    assert [len(images) for images, _ in given] == [2, 3]
    assert own.told == 0
    assert given.state_dict() == state(1, 0, 0, 0)
    passing = iter(given)
    next(passing)
    resumed = MixLoader(ROWS, bm.Mixer(POLICY, FIELDS, seed=3), batch_sampler=Own())
    resumed.load_state_dict(given.state_dict())
    assert_same(resumed, passing)


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
    assert [k for _, k in Subset(mixed.dataset, [3, 5]).__getitems__([1, 0])] == [5, 3]


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
    plain = DataLoader(ROWS, BATCH, collate_fn=reversed_rows)
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
            return iter(ROWS)

    with pytest.raises(bm.MixError, match="Batches are numbered where their indices are chosen"):
        MixLoader(Stream(), bm.Mixer(POLICY, FIELDS))
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
    return MixModule(bm.Mixer(POLICY, fields, **{"seed": 3} | options))


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
    assert mix.state_dict()["_extra_state"].tolist() == [3, 0, 1, 0]  # nothing was drawn
    assert not list(mix.parameters())


def test_a_checkpoint_resumes_in_the_middle_of_an_epoch(tmp_path):
    model = torch.nn.ModuleDict({"mix": module(), "net": torch.nn.Linear(2, 2)})
    given = batch()
    model["mix"].set_epoch(4)
    for _ in range(3):
        model["mix"](given)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    expected = [model["mix"](given) for _ in range(2)]

    left_out = MixModule(bm.Mixer(POLICY, model["mix"].mixer.fields))
    again = torch.nn.ModuleDict({"mix": left_out, "net": torch.nn.Linear(2, 2)})
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert_same([again["mix"](given) for _ in range(2)], expected)
    assert again["mix"].mixer.state_dict() == {"seed": 3, "epoch": 4, "step": 5}


def test_weights_of_another_run_do_not_bring_its_mixes():
    trained, tuned = torch.nn.Sequential(module()), torch.nn.Sequential(module(seed=99))
    trained[0](batch())
    with pytest.raises(RuntimeError, match="MixModule of seed=3, where seed=99 is set"):
        tuned.load_state_dict(trained.state_dict())
    (passed_over,) = tuned.load_state_dict(trained.state_dict(), strict=False).unexpected_keys
    assert "seed=3" in passed_over
    tuned.load_state_dict({})  # weights that were saved without it
    assert tuned[0].mixer.state_dict() == {"seed": 99, "epoch": 0, "step": 0, "told": False}


def test_module_survives_pickle_copy_and_other_structures():
    mix, given = module(), batch()
    mix(given)
    copies = [copy.deepcopy(mix), pickle.loads(pickle.dumps(mix))]
    expected = mix(given)
    for other in copies:
        assert_same([other(given)], [expected])
    fields = {("x", "image"): Image("NCHW"), "seg": Ids("NHW")}
    tree = MixModule(bm.Mixer(MixUp(1.0), fields))
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


def of_rank(rank, look, tell=True):
    """The rows that a rank reads in four epochs, which its sampler is told or not."""
    sampler = DistributedSampler(ROWS, 2, rank, shuffle=True)
    mixer = bm.Mixer(POLICY, {0: Image("NHWC")}, seed=0)
    told = MixLoader(ROWS, mixer, batch_size=BATCH, sampler=sampler)
    rows = []
    for epoch in range(4):
        if tell:
            sampler.set_epoch(epoch)
        if look and not epoch:
            next(iter(told))
        rows.append({int(k) for _, ids in told for k in ids})
    return rows


@pytest.mark.parametrize("tell", [True, False])
def test_a_look_at_a_batch_does_not_part_the_ranks(tell):
    """They share out the rows of the epoch that the sampler was told, all the same."""
    ranks = of_rank(0, True, tell), of_rank(1, False, tell), of_rank(0, False, tell)
    for mine, theirs, alone in zip(*ranks):
        assert mine == alone
        assert mine | theirs == set(range(COUNT))


def test_a_state_after_a_look_does_not_tell_the_epoch():
    seen = loader()
    next(iter(seen))
    assert len([*seen, *seen]) == 12
    state = seen.state_dict()
    assert state["told"] is False
    plain = loader()
    plain.load_state_dict(state)
    assert plain.state_dict() == state
    assert_same(plain, seen)
    ending = loader(Schedule({0: POLICY, 3: None}))
    ending.load_state_dict(state)
    with pytest.raises(bm.MixError, match="nobody has told"):
        list(ending)


def test_a_batch_is_mixed_once():
    mixer = bm.Mixer(POLICY, FIELDS)
    with pytest.raises(bm.MixError, match="its collate_fn is a MixCollate"):
        MixLoader(ROWS, mixer, collate_fn=MixCollate(mixer))
