"""WebDataset: MixCollate where its workers make batches, and a Mixer after its WebLoader."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import webdataset as wds

import batchmix as bm
from batchmix.adapters.torch import MixCollate
from batchmix.fields import Image, Labels
from hosts.stream import BATCH, BATCHES, COUNT, FIELDS, POLICY, ROWS, Adapter, contract

ROOT = Path(__file__).parents[2]
pytestmark = [
    # WebDataset leaves it to Python to close a shard that was not read to its end
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # four workers on a machine of two cores
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """Each batch is a shard, so that workers do not decide which rows are in a batch."""
    pattern = str(tmp_path_factory.mktemp("shards") / "rows-%02d.tar")
    with wds.ShardWriter(pattern, maxcount=BATCH, verbose=0) as shards:
        for k, (image, label) in enumerate(ROWS):
            shards.write({"__key__": f"{k:03}", "png": image, "cls": label})
    return [pattern % k for k in range(BATCHES)]


def mixer():
    return bm.Mixer(POLICY, FIELDS, seed=3)


def rows(urls, **options):
    return wds.WebDataset(urls, shardshuffle=False, empty_check=False, **options).decode("rgb8")


def loader(data, mix, **options):
    batches = data.to_tuple("png", "cls").batched(BATCH, collation_fn=mix)
    return wds.WebLoader(batches, batch_size=None, **{"num_workers": 2} | options)


def digest(batches):
    return [targets.numpy().tobytes() for _, targets in batches]


@contract(MixCollate=Adapter(None, in_workers=True, counts=False))
def test_stream(check, adapter, urls):
    def of_collate(policy, seed, rank, **options):
        mix = MixCollate(bm.Mixer(policy, FIELDS, seed=seed, rank=rank))
        made = loader(rows(urls), mix, **{"num_workers": 0} | options)

        def run(epoch=None, start=0):
            if epoch is not None:
                mix.set_epoch(epoch, start)
            rest = loader(rows(urls[start:]), mix, **{"num_workers": 0} | options)
            return list(rest if start else made)

        return run

    check(replace(adapter, make=of_collate))


def test_labels_match_pixels(urls):
    mix = MixCollate(mixer())
    mix.set_epoch(0)
    for images, targets in loader(rows(urls), mix):
        assert images.dtype == torch.uint8
        content = images.double().mean((1, 2, 3))
        expected = targets.double() @ (10.0 * torch.arange(COUNT)).double()
        assert torch.allclose(content, expected, atol=0.51)


def test_rows_may_be_dicts(urls):
    fields = {"png": Image("NHWC"), "cls": Labels(COUNT)}
    mix = MixCollate(mixer().but(fields=fields))
    first = next(iter(rows(urls).batched(BATCH, collation_fn=mix)))
    assert first["cls"].shape == (BATCH, COUNT)
    assert first["__key__"] == ["000", "001", "002", "003"]


def test_a_mixer_after_the_workers(urls):
    """Batches of all workers are taken apart and made anew; the count goes on from pass to pass."""
    plain = rows(urls).to_tuple("png", "cls").batched(BATCH)
    after = mixer()
    made = wds.WebLoader(plain, batch_size=None, num_workers=2)
    made = made.unbatched().batched(6).map(after)
    passes = [digest(made), digest(made)]
    assert len(passes[0]) == 4
    assert not set(passes[0]) & set(passes[1])
    after.set_epoch(0)
    assert digest(made) == passes[0]


def test_a_pass_that_is_cut(urls):
    """Shards drawn without end: the workers go on counting when shards come back."""
    mix = MixCollate(mixer())
    steps = 2 * BATCHES
    made = loader(rows(urls, resampled=True, seed=0), mix).with_epoch(steps)
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
        both = rows(urls[:1] * 2, nodesplitter=wds.split_by_node)
        seen.append(digest(loader(both, mix, num_workers=1)))
    assert len(seen[0]) == len(seen[1]) == 1
    assert not set(seen[0]) & set(seen[1])


@pytest.mark.parametrize("in_workers", ["set_epoch", "MixCollate"])
def test_what_would_repeat_is_refused(urls, in_workers):
    if in_workers == "set_epoch":
        made = loader(rows(urls), MixCollate(mixer()))
    else:
        batches = rows(urls).to_tuple("png", "cls").batched(BATCH).map(mixer())
        made = wds.WebLoader(batches, batch_size=None, num_workers=1)
    with pytest.raises(bm.MixError, match=in_workers):
        list(made)


def test_example():
    words = [sys.executable, "examples/webdataset_shards.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("test accuracy:")[1].split()[0]) > 0.8
