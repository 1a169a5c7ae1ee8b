"""Which mix a batch gets from torchvision's names: seeds, ranks, new objects, workers."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from torchvision.transforms import v2

import batchmix as bm
from batchmix.adapters.torchvision import CutMix, MixTransform, MixUp
from batchmix.fields import Image, Labels
from batchmix.policies import Switch

ROOT = Path(__file__).parents[2]
ROWS, SIDE = 5, (6, 9)
SWITCH = Switch([bm.policies.MixUp(1.0), bm.policies.CutMix(1.0)])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_a_run_replays_whatever_the_global_generators_are():
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed)
        mix = MixTransform(SWITCH, num_classes=ROWS, seed=7)
        runs.append(torch.stack([mix(x, y)[1] for _ in range(4)]))
    assert torch.equal(runs[0], runs[1])
    assert len({labels.numpy().tobytes() for labels in runs[0]}) == 4
    other = MixTransform(SWITCH, num_classes=ROWS, seed=7, rank=1)
    assert not torch.equal(other(x, y)[1], runs[0][0])


def test_the_plan_is_that_of_every_other_framework():
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    mix = MixTransform(SWITCH, num_classes=ROWS, seed=7, rank=2)
    mix.set_epoch(3)
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(ROWS)}, seed=7, rank=2)
    for step in range(3):
        for one, two in zip(mix(x, y), mixer((x, y), step=step, epoch=3)):
            assert torch.equal(one, two)


def hardest(labels):
    return float(labels.max(1).values.mean())


@pytest.mark.parametrize("make", [MixUp, CutMix, lambda **o: MixTransform(SWITCH, **o)])
def test_made_anew_for_each_batch_it_varies(make):
    """Ordinary torchvision code: the object is made in the loop, or in the collate function."""
    x, y = torch.rand(ROWS, 3, 32, 32), torch.arange(ROWS)
    seen = [make(num_classes=ROWS)(x, y)[0] for _ in range(200)]
    assert len({images.numpy().tobytes() for images in seen}) > 180


def test_made_anew_mixup_has_its_effect():
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    seen = [hardest(MixUp(num_classes=ROWS)(x, y)[1]) for _ in range(400)]
    assert np.mean(seen) == pytest.approx(0.75, abs=0.03)  # of max(lam, 1 - lam), lam uniform


@pytest.mark.parametrize("make", [MixUp, CutMix, lambda **o: MixTransform(SWITCH, **o)])
def test_torchs_generator_decides_as_in_torchvision(make):
    x, y = torch.rand(ROWS, 3, 32, 32), torch.arange(ROWS)

    def mixes(seed):
        torch.manual_seed(seed)
        mix = make(num_classes=ROWS)
        return torch.stack([mix(x, y)[1] for _ in range(4)])

    assert torch.equal(mixes(1), mixes(1))
    assert not torch.equal(mixes(1), mixes(2))


def test_the_rank_is_asked(monkeypatch):
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    one = MixUp(num_classes=ROWS, seed=0)
    expected = MixUp(num_classes=ROWS, seed=0, rank=2)(x, y)[1]
    monkeypatch.setenv("RANK", "2")
    assert torch.equal(one(x, y)[1], expected)


def test_a_resumed_pass_goes_on():
    x, y = torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS)
    mix, again = (MixTransform(SWITCH, num_classes=ROWS, seed=1) for _ in range(2))
    mix.set_epoch(2), again.set_epoch(2, step=3)
    whole = [mix(x, y)[1] for _ in range(5)]
    assert all(torch.equal(again(x, y)[1], labels) for labels in whole[3:])


def test_an_epoch_that_nobody_told_is_refused_where_it_matters():
    mix = MixTransform(bm.policies.Schedule.off_after(SWITCH, 1), num_classes=ROWS)
    with pytest.raises(bm.MixError, match="epoch"):
        mix(torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS))


def test_a_mixer_that_is_given_is_not_changed():
    mixer = bm.Mixer(SWITCH, {}, seed=5)
    mix = MixTransform(mixer, num_classes=ROWS)
    mix(torch.rand(ROWS, 3, *SIDE), torch.arange(ROWS))
    assert (mixer.fields, mixer.step, mixer.epoch) == ({}, 0, 0)
    for options in ({"seed": 1}, {"pairing": bm.pairing.Roll(1)}):
        with pytest.raises(bm.MixError, match="a Mixer and"):
            MixTransform(mixer, **options)
    named = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(ROWS)})
    for options in ({"num_classes": 3}, {"smoothing": 0.1}, {"labels_getter": len}):
        with pytest.raises(bm.MixError, match="only a Mixer"):
            MixTransform(named, **options)


DATA = [(torch.full((3, 4, 4), float(i)), i) for i in range(22)]  # 6 batches, the last of 2 rows


def loader(mix, workers, **options):
    def collate(rows):
        return mix(*default_collate(rows))

    options |= {"multiprocessing_context": "fork"} if workers else {}
    return DataLoader(DATA, batch_size=4, collate_fn=collate, num_workers=workers, **options)


# three workers, as two of them would deal the six batches evenly
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")
@pytest.mark.parametrize(("workers", "stay"), [(1, False), (2, False), (2, True), (3, True)])
def test_workers_do_not_matter(workers, stay):
    one, two = (MixTransform(SWITCH, num_classes=22, seed=5) for _ in range(2))
    expected, got = loader(one, 0), loader(two, workers, persistent_workers=stay)
    mixes = set()
    for epoch in range(3):
        one.set_epoch(epoch), two.set_epoch(epoch)
        for a, b in zip(expected, got, strict=True):
            assert torch.equal(a[0], b[0])
            assert torch.equal(a[1], b[1])
            mixes.add(a[1].numpy().tobytes())
    assert len(mixes) == 18  # no batch of any epoch is mixed like another


def test_an_epoch_reaches_workers_that_stay():
    """timm's workers go on mixing after they were told not to."""
    policy = bm.policies.Schedule.off_after(bm.policies.MixUp(1.0), 1)
    mix = copy.deepcopy(MixTransform(policy, num_classes=22))  # a copy can still tell its workers
    batches = loader(mix, 2, persistent_workers=True)
    hard = []
    for epoch in range(2):
        mix.set_epoch(epoch)
        hard.append([bool((labels.max(1).values == 1).all()) for _, labels in batches])
    assert hard == [[False] * 6, [True] * 6]


@pytest.mark.parametrize(
    "given", [{"policy_or_mixer": SWITCH, "seed": 0}, {"policy_or_mixer": bm.Mixer(SWITCH, {})}]
)
def test_a_pass_of_new_workers_needs_an_epoch(given):
    mix = MixTransform(num_classes=22, **given)
    with pytest.raises(bm.MixError, match="set_epoch"):
        list(loader(mix, 1))
    mix.set_epoch(0)
    assert len(list(loader(mix, 1))) == 6
    with pytest.raises(bm.MixError, match="set_epoch"):  # it would repeat the mixes of epoch 0
        list(loader(mix, 1))


# the pattern of torchvision's gallery; only its import is another ---------------------------------

cutmix, mixup = CutMix(num_classes=22), MixUp(num_classes=22)
cutmix_or_mixup = v2.RandomChoice([cutmix, mixup])


def collate_fn(batch):
    return cutmix_or_mixup(*default_collate(batch))


def collate_anew(batch):
    return MixUp(num_classes=22)(*default_collate(batch))


@pytest.mark.parametrize("collate", [collate_fn, collate_anew])
@pytest.mark.parametrize(("workers", "stay"), [(0, False), (2, False), (2, True)])
def test_the_collate_function_of_the_gallery(collate, workers, stay):
    options = {"multiprocessing_context": "fork", "persistent_workers": stay} if workers else {}
    dataloader = DataLoader(DATA, 4, collate_fn=collate, num_workers=workers, **options)
    seen = []
    for _ in range(3):
        for images, labels in dataloader:
            assert images.shape[1:] == (3, 4, 4)
            assert labels.shape == (len(images), 22)
            assert (images.mean((1, 2, 3)) - labels @ torch.arange(22.0)).abs().max() < 1e-4
            seen.append(labels.numpy().tobytes())
    # two plans are equal where both are of 16 cells and a box is empty; most differ
    assert len(set(seen)) > 12


def test_after_the_loader_as_in_the_gallery():
    for images, labels in DataLoader(DATA, 4, shuffle=True):
        assert cutmix_or_mixup(images, labels)[1].shape == (len(images), 22)


def test_passes_in_workers_are_governed_by_torchs_seed():
    def run(seed):
        torch.manual_seed(seed)
        mix = MixUp(num_classes=22)
        batches = loader(mix, 2)
        return [labels.numpy().tobytes() for _ in range(2) for _, labels in batches]

    first = run(3)
    assert run(3) == first
    assert len(set(first)) == 12
    assert not set(run(4)) & set(first)


def test_example():
    words = [sys.executable, "examples/torchvision_collate.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "batches of 0 and 2 workers: equal" in done.stdout
    accuracy = float(done.stdout.split("test accuracy:")[1].split()[0])
    assert accuracy > 0.8
