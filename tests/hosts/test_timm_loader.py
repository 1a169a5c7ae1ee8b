"""Mixup and FastCollateMixup in timm's loader and in a DataLoader's workers."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import timm.data
import torch
from timm.data import ScheduledBatchSampler, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.utils import random_seed
from torch.utils.data import DataLoader

import batchmix as bm
from batchmix.adapters.timm import FastCollateMixup, Mixup

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0), torch.manual_seed(0)


class Pictures:
    """A data set as timm wants it; `transform` is set by create_loader."""

    transform = None

    def __init__(self, rows=24):
        self.rows = rows

    def __len__(self):
        return self.rows

    def __getitem__(self, k):
        return np.full((3, 8, 8), k, np.uint8), k


def timms_loader(collate, prefetcher=True, workers=2, **options):
    data = Pictures()
    loader = create_loader(
        data, (3, 8, 8), 4, is_training=True, collate_fn=collate, num_workers=workers,
        use_prefetcher=prefetcher, device=torch.device("cpu"), mean=(0,) * 3, std=(1 / 255,) * 3,
        re_prob=0.0, **options,
    )  # fmt: skip
    data.transform = None
    return loader


def hard(loader):
    return [bool((targets.max(1).values == 1).all()) for _, targets in loader]


def collate(**options):
    return FastCollateMixup(
        1.0, 1.0, num_classes=24, label_smoothing=0.0, mode="elem", **options
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"persistent_workers": False}, {"workers": 0}])
def test_the_off_switch_of_timms_loader(options):
    """With timm's own class and persistent workers, its default, mixing goes on."""
    loader = timms_loader(copy.deepcopy(collate()), **options)
    assert loader.mixup_enabled
    assert hard(loader) == [False] * 6
    loader.mixup_enabled = False
    assert not loader.mixup_enabled
    assert hard(loader) == [True] * 6
    loader.mixup_enabled = True
    assert hard(loader) == [False] * 6


def test_timms_own_switch_does_not_reach_persistent_workers():
    """What the test above is for; if timm repairs it, say so in the documentation."""
    theirs = timm.data.FastCollateMixup(
        1.0, 1.0, num_classes=24, label_smoothing=0.0, mode="elem"
    )  # fmt: skip
    loader = timms_loader(theirs)
    hard(loader)
    loader.mixup_enabled = False
    assert hard(loader) == [False] * 6


@pytest.mark.parametrize("prefetcher", [False, True])
def test_the_epoch_reaches_persistent_workers(prefetcher):
    mix = collate(off_epoch=1)
    loader = timms_loader(mix, prefetcher)
    seen = []
    for epoch in range(3):
        mix.set_epoch(epoch)
        seen.append(set(hard(loader)))
    assert seen == [{False}, {True}, {True}]
    with pytest.raises(bm.MixError, match="Call set_epoch"):
        next(iter(timms_loader(collate(off_epoch=1))))


@pytest.mark.parametrize(("count", "start"), [(1, "fork"), (2, "fork"), (3, "fork"), (2, "spawn")])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # 3 on two cores
def test_workers_do_not_matter(count, start):
    images = torch.arange(22, dtype=torch.uint8)[:, None, None, None].expand(22, 3, 8, 8)
    data = torch.utils.data.TensorDataset(images.contiguous(), torch.arange(22))
    mix, alone = collate(seed=5, rank=1), collate(seed=5, rank=1)
    workers = DataLoader(
        data, 4, collate_fn=mix, num_workers=count, persistent_workers=True,
        multiprocessing_context=start,
    )  # fmt: skip
    for epoch in (0, 1, 0):
        mix.set_epoch(epoch), alone.set_epoch(epoch)
        batches = list(workers)
        for one, two in zip(batches, DataLoader(data, 4, collate_fn=alone), strict=True):
            assert torch.equal(one[0], two[0])
            assert torch.equal(one[1], two[1])
    expected = images[16:20].clone()
    plan = mix.mixer.draw((expected, data.tensors[1][16:20]), step=4, epoch=0)
    assert torch.equal(batches[4][0], bm.mix(expected, plan, "NCHW"))


ROWS = [(np.zeros((1, 8, 8), np.uint8), k % 4) for k in range(16)]


def mixes(loader):
    """What each batch of a pass was mixed to."""
    return [targets.numpy().tobytes() for _, targets in loader]


@pytest.mark.parametrize(
    ("workers", "persistent", "start"),
    [(0, 0, None), (1, False, "fork"), (2, True, "fork"), (2, True, "spawn"), (4, True, "fork")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # 4 on two cores
def test_without_set_epoch_no_pass_repeats_another(workers, persistent, start):
    loader = DataLoader(
        ROWS, 4, collate_fn=collate(), num_workers=workers, persistent_workers=bool(persistent),
        multiprocessing_context=start,
    )  # fmt: skip
    seen = list(itertools.chain(*(mixes(loader) for _ in range(3))))
    assert len(set(seen)) == len(seen) == 12


@pytest.mark.parametrize("workers", [0, 2])
def test_one_object_in_two_loaders_and_after_a_peek(workers):
    """The batches of all of them are counted by one object."""
    mix = collate()
    one, two = (DataLoader(ROWS, 4, collate_fn=mix, num_workers=workers) for _ in range(2))
    peek = next(iter(one))[1].numpy().tobytes()
    seen = [peek, *mixes(one), *mixes(two), *mixes(one)]
    assert len(set(seen)) == len(seen) == 13


@pytest.mark.parametrize("workers", [0, 2])
def test_numpys_and_torchs_seed_replay_a_run(workers):
    """What a script seeds governs, with workers as without."""

    def run(seed):
        np.random.seed(seed), torch.manual_seed(seed)
        loader = DataLoader(ROWS, 4, collate_fn=collate(), num_workers=workers)
        return mixes(loader) + mixes(loader)

    assert run(3) == run(3)
    assert not set(run(3)) & set(run(4))


def test_a_second_pass_of_new_workers_needs_an_epoch_of_its_own():
    """Else it would repeat every mix of the first one in silence."""
    mix = collate()
    loader = DataLoader(ROWS, 4, collate_fn=mix, num_workers=1)
    mix.set_epoch(0)
    first = mixes(loader)
    with pytest.raises(bm.MixError, match="Call set_epoch"):
        next(iter(loader))
    mix.set_epoch(1)
    assert not set(mixes(loader)) & set(first)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_goes_on_in_the_middle_of_an_epoch(workers):
    """The first batches are not read again: the count is told where the pass begins."""
    mix, again = collate(seed=1), collate(seed=1)
    mix.set_epoch(3)
    whole = mixes(DataLoader(ROWS, 4, collate_fn=mix, num_workers=workers))
    again.set_epoch(3, step=2)
    assert mixes(DataLoader(ROWS[8:], 4, collate_fn=again, num_workers=workers)) == whole[2:]


class Greys(torch.utils.data.Dataset):
    """Image k is of value k everywhere; timm's transforms take it from there."""

    transform = None

    def __len__(self):
        return 64

    def __getitem__(self, k):
        image = PIL.Image.new("RGB", (40, 40), color=(k, k, k))
        return (image if self.transform is None else self.transform(image)), k


@pytest.mark.parametrize("sizes", [(8, 4), (9, 5)])
@pytest.mark.parametrize("workers", [0, 2])
def test_scheduled_batches_of_several_sizes(sizes, workers):
    """timm's sampler gives batches of other numbers of rows and cells; odd ones too, here."""
    loader = create_loader(
        Greys(), (3, 32, 32), 4, input_size_choices=(16, 32), batch_size_choices=sizes,
        is_training=True, no_aug=True, num_workers=workers, persistent_workers=workers > 0,
        collate_fn=FastCollateMixup(1.0, 1.0, mode="elem", label_smoothing=0.0, num_classes=64),
        device=torch.device("cpu"), mean=(0,) * 3, std=(1 / 255,) * 3, re_prob=0.0,
    )  # fmt: skip
    assert isinstance(loader.batch_sampler, ScheduledBatchSampler)
    seen, soft = set(), 0
    for images, targets in loader:
        seen.add((len(images), images.shape[-1]))
        shares = targets @ torch.arange(64.0)
        assert (images.mean((1, 2, 3)) - shares).abs().max() < 0.51
        soft += int((targets.max(1).values < 1).sum())
    assert seen == {(sizes[0], 16), (sizes[1], 32)}
    assert soft > 30


@pytest.mark.parametrize("prefetcher", [False, True])
@pytest.mark.parametrize("batch", [8, 7])
def test_the_steps_of_timms_training_script(prefetcher, batch):
    """Two epochs with validation; mixing off in the second; the loss is that of its plans."""
    options = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "label_smoothing": 0.1, "num_classes": 64}
    random_seed(42, 0)  # timm's, of NumPy too
    collate_fn = FastCollateMixup(**options) if prefetcher else None
    mixup_fn = None if prefetcher else Mixup(**options)
    common = {"use_prefetcher": prefetcher, "num_workers": 2, "device": torch.device("cpu")}
    train = create_loader(
        Greys(), (3, 16, 16), batch, is_training=True, no_aug=True, collate_fn=collate_fn, **common
    )
    held_out = create_loader(Greys(), (3, 16, 16), batch, **common)
    model, mixed = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 64)), []
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for epoch in range(2):
        if epoch >= 1:  # --mixup-off-epoch 1
            if prefetcher and train.mixup_enabled:
                train.mixup_enabled = False
            elif mixup_fn is not None:
                mixup_fn.mixup_enabled = False
        mixed.append(0)
        for images, target in train:
            if mixup_fn is not None:
                images, target = mixup_fn(images, target)
            assert len(images) == batch
            assert (target.sum(1) - 1).abs().max() < 1e-5
            mixed[-1] += int((target.sort(1).values[:, -2] > 0.01).sum())
            loss = SoftTargetCrossEntropy()(model(images), target)
            by_hand = -(target * model(images).log_softmax(1)).sum(1).mean()
            assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)
            optimizer.zero_grad(), loss.backward(), optimizer.step()
        ids = torch.cat([target for _, target in held_out])
        assert torch.equal(ids, torch.arange(64))
    assert mixed[0] > 32
    assert mixed[1] == 0


def test_example():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "timm_loader.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.endswith("mixed: True") for line in lines[:-1]] == [True, True, True, False]
    assert float(lines[-1].removeprefix("test accuracy: ")) > 0.5
