"""Batches are a function of (seed, epoch, row): whatever the workers, the start and the arm."""

import multiprocessing
import os
import pickle
import random
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import batchmix as bm
from batchmix._errors import mix_error
from batchmix.cli.lab.loading.cache import cached
from batchmix.cli.lab.loading.feed import Feed, moments, prepare
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.lab.training import Training
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp

TRAINING = Training(model="mlp", epochs=2, batch_size=8, lr=0.1, seed=3)


@dataclass
class Held:
    """A reader of rows in memory."""

    x: np.ndarray

    def __call__(self, i):
        return self.x[i]


@dataclass
class Files:
    """A reader of image files."""

    folder: str
    reads: int = 0

    def __call__(self, i):
        self.reads += 1
        try:
            with Picture.open(f"{self.folder}/{i}.png") as image:
                return np.asarray(image.convert("RGB"))
        except OSError:
            raise mix_error(f"DATA {i}.png", "it is broken.", "It is read.", "Repair it.") from None


def held(count=30, size=8, channels=1):
    x = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)
    return Rows([str(i) for i in range(count)], np.arange(count) % 3, Held(x))


@pytest.fixture
def files(tmp_path):
    """A maker of rows that are files: count, (H, W) of each."""

    def make(count=21, size=(90, 100)):
        rng = np.random.default_rng(1)
        for i in range(count):
            pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
            Picture.fromarray(pixels).resize(size[::-1]).save(tmp_path / f"{i}.png")
        return Rows([f"{i}.png" for i in range(count)], np.arange(count) % 3, Files(str(tmp_path)))

    return make


def passes(rows, training, form="image", epochs=(0, 1), start=0, **options):
    feed = Feed(rows, form, training, train=True, **options)
    return [list(feed.epoch(epoch, start)) for epoch in epochs]


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.mixed == b.mixed
        for a, b in zip(one, other)
    )


def test_the_order_is_that_of_a_distributed_sampler_on_every_rank():
    rows = held(30)
    for rank in range(2):
        feed = Feed(rows, "image", TRAINING, train=True, rank=rank, world=2)
        sampler = torch.utils.data.DistributedSampler(range(30), 2, rank, seed=3)
        sampler.set_epoch(5)
        order = torch.tensor(list(sampler))
        assert torch.equal(
            torch.cat([b.x for b in feed.epoch(5)]), torch.tensor(rows.read.x)[order]
        )


def test_evaluation_takes_every_row_once_in_its_order():
    rows = held(30)
    feed = Feed(rows, "image", TRAINING, train=False)
    assert np.array_equal(torch.cat([b.x for b in feed.epoch(0)]), rows.read.x)
    assert sum(1 for _ in feed.epoch(0)) == feed.steps


@pytest.mark.parametrize(("count", "steps"), [(16, 2), (17, 2), (18, 3), (1, 1)])
def test_a_last_batch_of_one_row_does_not_train(count, steps):
    feed = Feed(held(count), "image", TRAINING, train=True)
    assert feed.steps == len(list(feed.epoch(0))) == steps
    assert (
        sum(len(b.y) for b in Feed(held(count), "image", TRAINING, train=False).epoch(0)) == count
    )


@pytest.mark.parametrize("augment", ["none", "light", "timm"])
def test_workers_and_start_change_nothing(files, augment):
    rows = files()
    training = replace(TRAINING, image_size=80, augment=augment)
    here = passes(rows, training)
    assert not torch.equal(here[0][0].x, here[1][0].x)
    assert here[0][0].x.shape == (8, 80, 80, 3)
    for one, other in zip(here, passes(rows, replace(training, workers=2))):
        assert equal(one, other)
    later = passes(rows, training, epochs=[1], start=2)[0]
    assert equal(later, here[1][2:])
    assert equal(passes(rows, replace(training, workers=1), epochs=[1], start=2)[0], later)


def test_batches_before_the_start_are_not_read(files):
    rows = files()
    training = replace(TRAINING, image_size=16)
    feed = Feed(rows, "image", training, train=True)
    before = rows.read.reads
    list(feed.epoch(0, start=2))
    assert rows.read.reads == before + 5


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", ["light", "timm"])
def test_a_pass_leaves_the_global_generators_alone(files, workers, augment):
    training = replace(TRAINING, image_size=70, augment=augment, workers=workers)
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


def test_a_row_has_its_crop_whatever_its_batch(files):
    training = replace(TRAINING, image_size=80, augment="light")
    small = {}
    for size in (4, 8):
        feed = Feed(files(), "image", replace(training, batch_size=size), train=True)
        small[size] = torch.cat([b.x for b in feed.epoch(0)])[:20]
    assert torch.equal(small[4], small[8])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_became_unreadable_is_named(files, tmp_path, workers):
    rows = files()
    (tmp_path / "7.png").write_bytes(b"no image")
    feed = Feed(rows, "image", replace(TRAINING, image_size=16, workers=workers), train=True)
    with pytest.raises(bm.MixError, match=r"^DATA 7\.png: it is broken") as error:
        list(feed.epoch(0))
    assert "Traceback" not in str(error.value)


def test_a_worker_that_is_killed_is_told_of(files):
    rows = files()
    feed = Feed(rows, "image", replace(TRAINING, image_size=16, workers=1), train=True)
    rows.read.__class__ = Killed
    with pytest.raises(bm.MixError, match=r"--workers: a worker that reads rows was ended"):
        list(feed.epoch(0))


class Killed(Files):
    def __call__(self, i):
        os.kill(os.getpid(), 9)


def test_rows_of_two_shapes_are_named(files, tmp_path):
    rows = files()
    Picture.new("RGB", (5, 5)).save(tmp_path / "20.png")
    with pytest.raises(bm.MixError, match=r"(?s)'20\.png'.*\(5, 5, 3\).*--image-size"):
        list(Feed(rows, "image", TRAINING, train=False).epoch(0))


def test_workers_mix_by_the_plan_of_the_device(files):
    training = replace(TRAINING, image_size=16, batch_size=6)

    def mixer(layout):
        return bm.Mixer(CutMix(1.0), {0: Image(layout), 1: Labels(3)}, seed=3, rank=0)

    plain = passes(files(), training)
    mixed = passes(files(), replace(training, workers=2), mixer=mixer("NHWC"))
    for epoch in (0, 1):
        for step, (one, other) in enumerate(zip(plain[epoch], mixed[epoch])):
            x, y = mixer("NCHW")((one.x.movedim(-1, 1).float(), one.y), step=step, epoch=epoch)
            assert other.mixed
            assert not one.mixed
            assert torch.equal(other.x.movedim(-1, 1).float(), x)  # pastes; blends are rounded
            assert torch.equal(other.y, y)


def test_blends_in_workers_differ_by_rounding_alone(files):
    training = replace(TRAINING, image_size=16, batch_size=7)
    mixers = [
        bm.Mixer(MixUp(1.0), {0: Image(layout), 1: Labels(3)}, seed=3, rank=0)
        for layout in ("NHWC", "NCHW")
    ]
    mixed = passes(files(), training, mixer=mixers[0])[1]
    for step, (one, other) in enumerate(zip(passes(files(), training)[1], mixed)):
        x, y = mixers[1]((prepare(one.x, [0.0] * 3, [1.0] * 3, "image"), one.y), step=step, epoch=1)
        found = prepare(other.x, [0.0] * 3, [1.0] * 3, "image")
        assert 0 < (found - x).abs().max() <= 1 / 510 + 1e-6
        assert torch.equal(other.y, y)


def test_prepare_puts_channels_first_and_normalises():
    x = torch.arange(2 * 3 * 4 * 2, dtype=torch.uint8).reshape(2, 3, 4, 2)
    found = prepare(x, [0.1, 0.2], [0.5, 0.25], "image")
    for c, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25)]):
        torch.testing.assert_close(found[:, c], (x[..., c] / 255 - mean) / std)
    assert found.is_contiguous()
    assert found.dtype == torch.float32
    wave = torch.randn(2, 7, 3)
    kept = wave.clone()
    found = prepare(wave, [0.0] * 3, [2.0] * 3, "wave")
    assert torch.equal(kept, wave)
    assert torch.equal(found, wave.movedim(-1, 1) / 2)
    assert torch.equal(prepare(wave[..., None], [0.0], [1.0], "mel")[:, 0], wave)


def test_moments_are_those_of_all_rows_of_a_small_set():
    rows = held(30, channels=3)
    std, mean = torch.std_mean(torch.from_numpy(rows.read.x).float() / 255, (0, 1, 2))
    found = moments(rows, "image", TRAINING)
    torch.testing.assert_close(torch.tensor(found), torch.stack([mean, std]))
    assert moments(rows, "image", replace(TRAINING, pretrained=True))[0][0] == 0.485


def data_of(rows, **options):
    names = Task("classes", ("a", "b", "c"))
    return Data("d", "", "image", names, rows, fingerprint="f", **options)


@pytest.mark.parametrize(
    ("augment", "size"), [("none", 70), ("light", 20), ("light", 70), ("timm", 20)]
)
def test_cached_rows_are_the_same(files, tmp_path, augment, size):
    training = replace(TRAINING, image_size=size, augment=augment)
    data = data_of(files().take(np.arange(15)), test=files().take(np.arange(15, 21)))
    data = replace(data, shape=(90, 100, 3))
    told = []
    found = cached(data, training, tmp_path / "cache", lambda *count: told.append(count))
    assert told[-1] == (21, 21)
    assert isinstance(found.train.read(0), np.ndarray)
    again = pickle.loads(pickle.dumps(found))
    assert len(pickle.dumps(found.train.read)) < 1000
    for rows in (found.train, again.train):
        for one, other in zip(passes(data.train, training), passes(rows, training)):
            assert equal(one, other)
    for one, other in [(data.train, found.train), (data.test, found.test)]:
        a, b = (list(Feed(r, "image", training, train=False).epoch(0)) for r in (one, other))
        assert torch.equal(torch.cat([x.x for x in a]), torch.cat([x.x for x in b]))


def test_a_cache_is_found_again_and_not_when_it_is_broken(files, tmp_path):
    training = replace(TRAINING, image_size=16)
    data, folder = data_of(files()), tmp_path / "cache"
    cached(data, training, folder)
    (file,) = folder.iterdir()
    told = []
    cached(data, training, folder, lambda *count: told.append(count))
    assert not told
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    cached(data, training, folder, lambda *count: told.append(count))
    assert told
    assert file.read_bytes() == whole
    assert cached(replace(data, fingerprint="g"), training, folder).train.read.path != file


def test_rows_that_are_skipped_are_not_cached(files, tmp_path):
    rows = files()
    (tmp_path / "0.png").write_bytes(b"no image")
    data = data_of(rows, skipped=(("0.png", "broken"),))
    found = cached(data, replace(TRAINING, image_size=16), tmp_path / "cache")
    assert len(found.train) == 21
    assert len(found.train.read.x) == 20
    good = np.arange(1, 21)
    training = replace(TRAINING, image_size=16)
    assert all(
        map(equal, passes(rows.take(good), training), passes(found.train.take(good), training))
    )


def test_only_rows_that_are_used_are_cached(files, tmp_path):
    rows = files()
    (tmp_path / "3.png").write_bytes(b"no image")
    training = replace(TRAINING, image_size=16)
    found = cached(data_of(rows), training, tmp_path / "cache", used={"20.png", "4.png"})
    some = np.array([4, 20])
    assert all(
        map(equal, passes(rows.take(some), training), passes(found.train.take(some), training))
    )
    other = cached(data_of(rows), training, tmp_path / "cache", used={"20.png", "5.png"})
    assert other.train.read.path != found.train.read.path


def _trial(rows, training, told):
    """What a process of a comparison does, broken off in a pass."""
    global _kept
    _kept = Feed(rows, "image", training, train=True).epoch(0)
    next(_kept)
    told.put([child.pid for child in multiprocessing.active_children()])


@pytest.mark.skipif(sys.platform != "linux", reason="fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_workers_end_with_the_process_whatever_it_was_doing(files):
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    training = replace(TRAINING, image_size=16, workers=2, batch_size=2)
    process = context.Process(target=_trial, args=(files(), training, told))
    process.start()
    workers = told.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_workers_read_on_after_the_signals_that_end_a_run(files):
    training = replace(TRAINING, image_size=16, workers=1, batch_size=2)
    feed = Feed(files(), "image", training, train=True)
    others = set(multiprocessing.active_children())
    batches = feed.epoch(0)
    found = [next(batches)]
    (worker,) = set(multiprocessing.active_children()) - others
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert equal([*found, *batches], passes(files(), replace(training, workers=0))[0])


def test_what_is_not_small_is_not_cached(files, tmp_path, monkeypatch):
    monkeypatch.setattr("batchmix.cli.lab.loading.cache._LIMIT", 21 * 16 * 16 * 3 - 1)
    data = data_of(files())
    assert cached(data, replace(TRAINING, image_size=16), tmp_path / "cache") is data
    assert cached(data, replace(TRAINING, image_size=15), tmp_path / "cache") is not data
    assert cached(data, TRAINING, tmp_path / "cache") is data  # shapes may differ
    full = data_of(held())
    assert cached(full, TRAINING, tmp_path / "cache") is full
