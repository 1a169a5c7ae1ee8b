"""WebDataset: MixCollate where its workers make batches, and a Mixer after its WebLoader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds
from torch.utils.data import default_collate

import batchmix as bm
from batchmix.adapters.torch import MixCollate
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
# WebDataset leaves it to Python to close a shard that was not read to its end
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ROWS, BATCH, SHARDS, SIDE = 48, 4, 4, 8
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
FIELDS = {0: Image("NHWC"), 1: Labels(ROWS)}


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """Row k is filled with 5 k, so that pixels say whose they are."""
    folder = tmp_path_factory.mktemp("shards")
    pattern = str(folder / "rows-%02d.tar")
    with wds.ShardWriter(pattern, maxcount=ROWS // SHARDS, verbose=0) as shards:
        for k in range(ROWS):
            image = np.full((SIDE, SIDE, 3), 5 * k, np.uint8)
            shards.write({"__key__": f"{k:03}", "image.npy": image, "cls": k})
    return sorted(map(str, folder.glob("*.tar")))


def mixer(policy=POLICY, **options):
    return bm.Mixer(policy, FIELDS, seed=3, **options)


def rows(urls, **options):
    return wds.WebDataset(urls, shardshuffle=False, **options).decode()


def loader(urls, mix, workers=2, **options):
    batches = rows(urls, **options).to_tuple("image.npy", "cls").batched(BATCH, collation_fn=mix)
    return wds.WebLoader(batches, batch_size=None, num_workers=workers)


def digest(batches):
    return [targets.numpy().tobytes() for _, targets in batches]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_batch_has_a_plan_of_its_own(urls, workers):
    """That of its epoch and of a number which no other worker gives."""
    mix = MixCollate(mixer())
    for epoch in range(2):
        mix.set_epoch(epoch)
        mixed = list(loader(urls, mix, workers))
        plain = list(loader(urls, default_collate, workers))
        assert len(mixed) == len(plain) == ROWS // BATCH
        for step, (one, two) in enumerate(zip(mixed, plain)):
            expected = mixer()(two, step=step, epoch=epoch)
            assert torch.equal(one[0], expected[0])
            assert torch.equal(one[1], expected[1])


def test_labels_match_pixels(urls):
    mix = MixCollate(mixer())
    mix.set_epoch(0)
    for images, targets in loader(urls, mix):
        assert images.dtype == torch.uint8
        content = images.double().mean((1, 2, 3))
        expected = targets.double() @ (5.0 * torch.arange(ROWS)).double()
        assert torch.allclose(content, expected, atol=0.51)


def test_an_epoch_replays_and_another_differs(urls):
    passes = []
    for epoch in (0, 1, 0):
        mix = MixCollate(mixer())
        mix.set_epoch(epoch)
        passes.append(digest(loader(urls, mix)))
    assert passes[0] == passes[2]
    assert not set(passes[0]) & set(passes[1])


def test_a_schedule_by_epoch(urls):
    mix = MixCollate(mixer(Schedule.off_after(MixUp(1.0), epoch=1)))
    hard = []
    for epoch in range(2):
        mix.set_epoch(epoch)
        hard.append([bool((t.amax(1) == 1).all()) for _, t in loader(urls, mix)])
    assert not any(hard[0])
    assert all(hard[1])


def test_rows_may_be_dicts(urls):
    fields = {"image.npy": Image("NHWC"), "cls": Labels(ROWS)}
    mix = MixCollate(mixer().but(fields=fields))
    first = next(iter(rows(urls).batched(BATCH, collation_fn=mix)))
    assert first["cls"].shape == (BATCH, ROWS)
    assert first["__key__"] == ["000", "001", "002", "003"]


def test_a_mixer_after_the_workers(urls):
    """Batches of all workers are taken apart and made anew; the count goes on from pass to pass."""
    plain = rows(urls).to_tuple("image.npy", "cls").batched(BATCH)
    after = mixer()
    made = wds.WebLoader(plain, batch_size=None, num_workers=2)
    made = made.unbatched().batched(6).map(after)
    passes = [digest(made), digest(made)]
    assert len(passes[0]) == ROWS // 6
    assert not set(passes[0]) & set(passes[1])
    after.set_epoch(0)
    assert digest(made) == passes[0]


def test_a_pass_that_is_cut(urls):
    """Shards drawn without end: the workers go on counting when shards come back."""
    mix = MixCollate(mixer())
    steps = 2 * ROWS // BATCH
    made = loader(urls, mix, resampled=True, seed=0).with_epoch(steps)
    mix.set_epoch(0)
    assert len(set(digest(made))) == steps


def test_processes_differ(urls, monkeypatch):
    """Each reads shards of its own, and the same rows would be mixed in another way."""
    seen = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        mix = MixCollate(mixer())
        mix.set_epoch(0)
        both = loader(urls[:1] * 2, mix, workers=1, nodesplitter=wds.split_by_node)
        seen.append(digest(both))
    assert len(seen[0]) == len(seen[1]) == ROWS // SHARDS // BATCH
    assert not set(seen[0]) & set(seen[1])


@pytest.mark.parametrize("in_workers", ["set_epoch", "MixCollate"])
def test_what_would_repeat_is_refused(urls, in_workers):
    if in_workers == "set_epoch":
        made = loader(urls, MixCollate(mixer()))
    else:
        batches = rows(urls).to_tuple("image.npy", "cls").batched(BATCH).map(mixer())
        made = wds.WebLoader(batches, batch_size=None, num_workers=1)
    with pytest.raises(bm.MixError, match=in_workers):
        list(made)


def test_example():
    words = [sys.executable, "examples/webdataset_shards.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("test accuracy:")[1].split()[0]) > 0.8
