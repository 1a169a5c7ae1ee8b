"""Rows that are decoded once are the same rows, in every process."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from batchmix.cli.lab.loading.cache import cached, forget
from batchmix.cli.lab.loading.feed import Feed
from batchmix.cli.lab.rows import Data, Task
from made_rows import TRAINING, equal, held, image_files, passes


@pytest.fixture
def files(tmp_path):
    return partial(image_files, tmp_path)


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


def test_what_is_not_small_is_not_cached(files, tmp_path, monkeypatch):
    monkeypatch.setattr("batchmix.cli.lab.loading.cache._LIMIT", 21 * 16 * 16 * 3 - 1)
    data = data_of(files())
    assert cached(data, replace(TRAINING, image_size=16), tmp_path / "cache") is data
    assert cached(data, replace(TRAINING, image_size=15), tmp_path / "cache") is not data
    assert cached(data, TRAINING, tmp_path / "cache") is data  # shapes may differ
    full = data_of(held())
    assert cached(full, TRAINING, tmp_path / "cache") is full


def test_only_rows_are_forgotten(tmp_path):
    """--out may be a folder with a cache of somebody else's."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("rows-0123.npy", ".rows-0123.npy.55", "mine.npy"):
        (cache / name).touch()
    forget(cache)
    assert [path.name for path in cache.iterdir()] == ["mine.npy"]
    (cache / "mine.npy").unlink()
    forget(cache)
    assert not cache.exists()
    forget(cache)
