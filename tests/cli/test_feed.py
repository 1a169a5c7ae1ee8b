"""Batches are a function of (seed, epoch, row): whatever the workers, the start and the arm."""

import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import batchmix as bm
from batchmix.cli.lab.loading.feed import Feed, moments, prepare
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp
from made_rows import TRAINING, Files, equal, held, image_files, passes


@pytest.fixture
def files(tmp_path):
    return partial(image_files, tmp_path)


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


def test_batches_before_the_start_are_not_read(files):
    rows = files()
    training = replace(TRAINING, image_size=16)
    feed = Feed(rows, "image", training, train=True)
    before = rows.read.reads
    list(feed.epoch(0, start=2))
    assert rows.read.reads == before + 5


def test_a_row_has_its_crop_whatever_its_batch(files):
    training = replace(TRAINING, image_size=80, augment="light")
    small = {}
    for size in (4, 8):
        feed = Feed(files(), "image", replace(training, batch_size=size), train=True)
        small[size] = torch.cat([b.x for b in feed.epoch(0)])[:20]
    assert torch.equal(small[4], small[8])


def test_more_workers_than_cores_are_what_was_asked_for(files, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    feed = Feed(files(), "image", replace(TRAINING, image_size=16, workers=2), train=True)
    assert len(list(feed.epoch(0))) == feed.steps  # and nothing is said: warnings are errors


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
