"""Loading, splitting and corrupting."""

import numpy as np
import pytest

import batchmix as bm
from batchmix.cli.compare import memorised
from batchmix.cli.lab.data import load
from batchmix.cli.lab.split import corrupt, split


def test_digits():
    data = load("digits")
    assert data.image == (1, 8, 8)
    assert data.train.x.dtype == np.uint8
    assert (data.train.x.min(), data.train.x.max()) == (0, 255)
    parts = split(data, seed=0, limit_train=600)
    assert [len(p) for p in vars(parts).values()] == [600, 299, 898]


def test_a_split_is_drawn_by_seed_without_overlap_and_in_proportion():
    data = load("digits")
    data.train.x[:, 0, 0, 0], data.train.x[:, 0, 1, 0] = np.divmod(np.arange(1797), 256)
    number = [256 * p.x[:, 0, 0, 0].astype(int) + p.x[:, 0, 1, 0] for p in parts_of(data, 0)]
    assert sorted(np.concatenate(number)) == list(range(1797))
    again = parts_of(data, 0)
    assert all((a.y == b.y).all() for a, b in zip(parts_of(data, 0), again))
    assert not (parts_of(data, 1)[0].y == again[0].y).all()
    for part in again:
        assert np.ptp(np.bincount(part.y) / np.bincount(data.train.y)) < 0.02


def parts_of(data, seed):
    return list(vars(split(data, seed)).values())


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (["."], [14, 2, 8]),
        (["train", "test"], [24, 6, 18]),
        (["train", "val"], [24, 6, 18]),
        (["train", "val", "test"], [24, 24, 24]),
    ],
)
def test_a_folder_with_and_without_parts(images, tmp_path, names, sizes):
    for name in names:
        images(f"data/{name}")
    data = load(str(tmp_path / "data"))
    assert data.classes == ("blue", "green", "red")
    assert data.image == (3, 8, 8)
    assert [len(p) for p in parts_of(data, 0)] == sizes
    assert (data.train.x.mean((1, 2)).argmax(1) == data.train.y).all()


def test_images_of_other_sizes_and_modes_are_converted(images, tmp_path):
    from PIL import Image

    folder = images("data", rows=3)
    Image.new("L", (5, 9), 7).save(folder / "red" / "grey.png")
    data = load(str(folder), image_size=6)
    assert data.image == (3, 6, 6)
    assert (data.train.x[-1] == 7).all()


def test_wrong_labels_are_wrong_and_as_many_as_asked_for():
    y = np.arange(1000) % 7
    noisy, wrong = corrupt(y, 0.4, 7, seed=3)
    assert wrong.sum() == 400
    assert ((noisy != y) == wrong).all()
    assert set(noisy) == set(range(7))
    assert (corrupt(y, 0.4, 7, seed=3)[0] == noisy).all()


def test_memorised_is_the_share_of_wrong_labels_that_are_predicted():
    logits = np.eye(3)[[0, 1, 2, 0]]
    labels, wrong = np.array([0, 1, 1, 2]), np.array([False, True, True, True])
    assert memorised(logits, labels, wrong) == pytest.approx(1 / 3)


def test_a_hub_that_cannot_be_reached(monkeypatch):
    import datasets

    def unreachable(name):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(bm.MixError, match="'someone/thing' is not a folder here, and the Hugging"):
        load("someone/thing")


def test_a_hub_data_set(monkeypatch):
    import datasets
    from PIL import Image

    features = datasets.Features(
        picture=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
    )
    rows = {"picture": [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(8)], "label": [0, 1] * 4}
    table = datasets.Dataset.from_dict(rows, features)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table, "test": table})
    data = load("someone/thing")
    assert data.classes == ("cat", "dog")
    assert data.train.x[:, 0, 0, 0].tolist() == list(range(8))
    assert data.test.y.tolist() == [0, 1] * 4
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"test": table})
    with pytest.raises(bm.MixError, match="A part 'train', one column of images"):
        load("someone/thing")
