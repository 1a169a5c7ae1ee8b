"""What is done to rows: definitions, distributions, what is refused."""

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.cli.lab.loading.augment import View, _crop, draws, view_of
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.rows import Rows
from batchmix.cli.lab.training import Training
from made_rows import TRAINING as FILES
from made_rows import equal, image_files, passes

TRAINING = Training(model="mlp", epochs=1, batch_size=8, lr=0.1, augment="light")


@pytest.fixture
def files(tmp_path):
    return partial(image_files, tmp_path)


def test_numbers_of_a_row_depend_on_nothing_else():
    rows = np.random.default_rng(0).permutation(5000)
    some = draws(1, 2, rows[:7])
    assert np.array_equal(draws(1, 2, rows)[:7], some)
    assert not np.isin(draws(1, 3, rows[:7]), some).any()
    assert not np.isin(draws(2, 2, rows[:7]), some).any()


def test_numbers_are_uniform():
    found = draws(0, 0, np.arange(20000))
    assert ((found >= 0) & (found < 1)).all()
    assert np.abs(found.mean(0) - 0.5).max() < 0.01
    assert np.abs(found.std(0) - 12**-0.5).max() < 0.01
    assert np.abs(np.corrcoef(found.T) - np.eye(found.shape[1])).max() < 0.04


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (32, 20)])
def test_a_small_image_moves_over_zeros_and_flips(channels, size):
    view = View("image", "light", size)
    x = np.random.default_rng(0).integers(1, 256, (50, *size, channels), np.uint8)
    drawn = draws(0, 0, np.arange(50))
    found = view.moved(x, drawn)
    pad = min(4, size[0] // 4, size[1] // 4)
    for row, out, numbers in zip(x, found, drawn):
        padded = np.zeros((size[0] + 2 * pad, size[1] + 2 * pad, channels), np.uint8)
        padded[pad : pad + size[0], pad : pad + size[1]] = row
        top, left = (int(u * (2 * pad + 1)) for u in numbers[-3:-1])
        cut = padded[top : top + size[0], left : left + size[1]]
        assert np.array_equal(out, cut[:, ::-1] if numbers[-1] < 0.5 else cut)
        assert np.array_equal(view.moved(row[None], numbers[None])[0], out)


def test_crops_have_the_published_distribution():
    boxes = np.array([_crop(300, 400, numbers) for numbers in draws(0, 0, np.arange(4000))])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, ratio = wide * high / 120000, wide / high
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 400
    assert boxes[:, 3].max() <= 300
    assert 0.079 < area.min() < 0.09
    assert area.max() > 0.9
    assert 0.74 < ratio.min() < 0.76
    assert 1.32 < ratio.max() < 1.36
    import torch
    from torchvision.transforms import RandomResizedCrop  # the published one

    torch.manual_seed(0)
    image = torch.zeros(3, 300, 400)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(4000)]
    )
    for ours, other in [(boxes[:, 1], 0), (boxes[:, 0], 1), (high, 2), (wide, 3)]:
        assert abs(ours.mean() - theirs[:, other].mean()) < 0.05 * theirs[:, other].std() + 2


def test_a_crop_of_a_very_long_image_falls_back_to_its_centre():
    assert _crop(10, 1000, draws(0, 0, np.arange(1))[0]) == (493, 0, 506, 10)


def test_a_large_image_is_evaluated_on_its_centre():
    x = np.zeros((160, 320, 3), np.uint8)
    x[10:150, 90:230] = 255  # 7/8 of the shorter side, in the middle
    view = View("image", "light", (80, 80))
    assert (view.still(x)[1:-1, 1:-1] == 255).all()
    assert view.still(x).shape == (80, 80, 3)
    assert View("image", "none", (80, 80)).still(x).min() == 0
    assert View("image", "none", (160, 320)).still(x) is x


def test_a_large_image_is_flipped_half_of_the_time():
    x = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (100, 1, 1))
    view = View("image", "light", (70, 70))
    flips = [view.cropped(x, d) for d in draws(0, 0, np.arange(100))]
    share = np.mean([f[0, 0, 0] > f[0, -1, 0] for f in flips])
    assert 0.35 < share < 0.65


@pytest.mark.parametrize(("form", "axis"), [("wave", 1), ("mel", 2)])
def test_sound_moves_in_time_over_silence(form, axis):
    x = np.random.default_rng(0).normal(size=(99, 50, 2) if form == "wave" else (99, 6, 50, 1))
    x = x.astype(np.float32)
    drawn = draws(0, 0, np.arange(99))
    found = View(form, "light").moved(x, drawn)
    seen = set()
    for row, out, numbers in zip(x, found, drawn):
        step = int(numbers[0] * 11) - 5
        seen.add(step)
        expected = np.roll(row, step, axis - 1)
        cells = [slice(None)] * (axis - 1)
        cells.append(slice(0, step) if step >= 0 else slice(step, None))
        expected[tuple(cells)] = 0 if form == "wave" else row.min()
        assert np.array_equal(out, expected)
    assert seen == set(range(-5, 6))


def test_sixteen_bits_are_read_as_floats():
    x = np.array([[-32768], [0], [16384]], np.int16)
    assert View("wave", "none").still(x).ravel().tolist() == [-1, 0, 0.5]


def test_timm_is_refused_for_sound_and_where_it_is_missing(monkeypatch):
    rows = Rows(["a"], np.zeros(1, np.int64), lambda i: np.zeros((9, 1), np.float32))
    timm = replace(TRAINING, augment="timm")
    with pytest.raises(bm.MixError, match="--augment timm: the rows are sound"):
        view_of(rows, "wave", timm)
    from batchmix.cli.lab.loading.timm_augment import TimmTransform

    monkeypatch.setitem(__import__("sys").modules, "timm.data", None)
    with pytest.raises(bm.MixError, match=r"pip install 'batchmix\[timm\]'"):
        TimmTransform((80, 80))


@pytest.mark.parametrize("channels", [1, 3])
def test_timm_gives_bytes_and_erases_to_noise(channels):
    from batchmix.cli.lab.loading.timm_augment import MEAN, STD, TimmTransform

    transform = TimmTransform((64, 64))
    x = np.full((90, 90, channels), 200, np.uint8)
    found = [transform(x, seed) for seed in range(40)]
    assert all(f.shape == (64, 64, channels) and f.dtype == np.uint8 for f in found)
    assert np.array_equal(found[3], transform(x, 3))
    noisy = [f for f in found if len(np.unique(f)) > 100]
    assert 3 <= len(noisy) <= 20
    if channels == 3:
        transform._erase.probability = 1.0
        transform._transform = lambda image: np.full((3, 64, 64), 7, np.uint8)
        cells = np.concatenate([c[(c != 7).any(-1)] for c in (transform(x, s) for s in range(60))])
        assert np.abs(cells.mean(0) / 255 - MEAN).max() < 0.01
        assert np.abs(cells.std(0) / 255 - STD).max() < 0.01


@pytest.mark.parametrize("augment", ["none", "light", "timm"])
def test_workers_and_start_change_nothing(files, augment):
    rows = files()
    training = replace(FILES, image_size=80, augment=augment)
    here = passes(rows, training)
    assert not torch.equal(here[0][0].x, here[1][0].x)
    assert here[0][0].x.shape == (8, 80, 80, 3)
    for one, other in zip(here, passes(rows, replace(training, workers=2))):
        assert equal(one, other)
    later = passes(rows, training, epochs=[1], start=2)[0]
    assert equal(later, here[1][2:])
    assert equal(passes(rows, replace(training, workers=1), epochs=[1], start=2)[0], later)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", ["light", "timm"])
def test_a_pass_leaves_the_global_generators_alone(files, workers, augment):
    training = replace(FILES, image_size=70, augment=augment, workers=workers)
    feed = Feed(files(), "image", training, train=True)

    def numbers():
        return random.random(), np.random.rand(), torch.rand(1).item()

    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(0)
    expected = numbers()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(0)
    list(feed.epoch(0))
    assert numbers() == expected
