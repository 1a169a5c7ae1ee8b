"""Listing, splitting, checking and corrupting."""

import pickle
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli import main
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.split import checked, corrupt, in_proportion, split

ROOT = Path(__file__).parents[2]


def parts_of(data, seed, limit=None):
    return list(vars(split(data, seed, limit)).values())


def test_digits():
    data = open_data("digits")
    assert (data.shape, data.form, data.task.names) == ((8, 8, 1), "image", tuple("0123456789"))
    x = np.stack([data.train[i] for i in range(len(data.train))])
    assert (x.dtype, x.shape, x.min(), x.max()) == (np.uint8, (1797, 8, 8, 1), 0, 255)
    assert [len(p) for p in parts_of(data, 0, 600)] == [600, 299, 898]


def test_photos():
    data = open_data("photos")
    names = ("astronaut", "cat", "coffee", "flower", "galaxies", "retina", "rocket", "temple")
    assert (data.form, data.task.names, data.notes) == ("image", names, ())
    x = np.stack([data.train[i] for i in range(len(data.train))])
    assert (x.dtype, x.shape) == (np.uint8, (32, *data.shape))
    assert data.shape == (192, 192, 3)
    assert (data.train.y == np.repeat(np.arange(8), 4)).all()
    assert len({row.tobytes() for row in x}) == 32
    credits = (Path(data.root) / "CREDITS.md").read_text()
    assert all(f"| {name} | " in credits for name in names)


def test_photos_are_part_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = ROOT / "src" / "batchmix"
    told = settings["tool"]["setuptools"]["package-data"]["batchmix"]
    packed = {path for pattern in told for path in package.glob(pattern)}
    there = {path for path in (package / "cli/lab/data/photos").rglob("*") if path.is_file()}
    assert there <= packed


def test_a_folder_called_photos_is_told_apart(images, tmp_path, monkeypatch):
    images("photos")
    monkeypatch.chdir(tmp_path)
    assert open_data("photos").notes == (
        "the photographs of batchmix; the folder of this name is ./photos",
    )
    assert open_data("./photos").task.names == ("blue", "green", "red")


@pytest.mark.parametrize("words", [["compare"], ["tune"], ["train", "--policy", "none"]])
def test_nothing_is_trained_on_photos(words, tmp_path, capsys):
    command, *rest = words
    with pytest.raises(SystemExit) as stop:
        main([command, "photos", *rest, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1)
    assert "squares of eight photographs" in error
    assert not (tmp_path / "out").exists()


def test_a_split_is_drawn_by_seed_without_overlap_and_in_proportion():
    data = open_data("digits")
    parts = parts_of(data, 0)
    assert sorted(np.concatenate([p.picked for p in parts])) == list(range(1797))
    again = parts_of(data, 0)
    assert all((a.y == b.y).all() for a, b in zip(parts, again))
    assert not (parts_of(data, 1)[0].y == again[0].y).all()
    for part in again:
        assert (part.y == data.train.y[part.picked]).all()
        assert np.ptp(np.bincount(part.y) / np.bincount(data.train.y)) < 0.02


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (["."], [14, 2, 8]),
        (["train", "test"], [24, 6, 18]),
        (["train", "valid"], [24, 6, 18]),
        (["train", "val", "test"], [24, 24, 24]),
    ],
)
def test_a_folder_with_and_without_parts(images, tmp_path, names, sizes):
    for name in names:
        images(f"data/{name}")
    data = open_data(str(tmp_path / "data"))
    assert data.task.names == ("blue", "green", "red")
    assert [len(p) for p in parts_of(data, 0)] == sizes
    for part in parts_of(data, 0):
        assert [part[i].mean((0, 1)).argmax() for i in range(len(part))] == part.y.tolist()
        assert all((tmp_path / "data" / name).is_file() for name in part.names)


def test_names_are_listed_in_sorted_order_and_count_for_the_fingerprint(images, tmp_path):
    folder = images("data", rows=11)
    first = open_data(str(folder))
    assert first.train.names == sorted(first.train.names)
    assert first.train.names[1:3] == ["blue/1.png", "blue/10.png"]
    assert open_data(str(folder)).fingerprint == first.fingerprint
    (folder / "blue" / "1.png").rename(folder / "red" / "1x.png")
    moved = open_data(str(folder))
    with (folder / "red" / "2.png").open("ab") as file:
        file.write(b"x")
    longer = open_data(str(folder))
    assert len({first.fingerprint, moved.fingerprint, longer.fingerprint}) == 3


def test_data_go_to_other_processes_small_and_read_there(images):
    data = open_data(str(images("data")))
    kept = pickle.dumps(split(data, 0))
    again = pickle.loads(kept)
    assert (again.test[3] == split(data, 0).test[3]).all()
    # the list of names is there once for names and reader, and a name costs little more than itself
    assert len(pickle.dumps(data)) < 24 * 24 + 1200


def test_nothing_is_looked_up_for_a_folder(images, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setitem(sys.modules, "datasets", None)
    data = checked(open_data(str(images("data"))), [0], None)
    assert data.shape == (8, 8, 3)
    for name in (str(images("more")) + "/nowhere", "./x/y", "~/nowhere/at", "a/b/c", "", "\0"):
        with pytest.raises(bm.MixError, match="is not a folder"):
            open_data(name)
    monkeypatch.chdir(images("cats"))
    with pytest.raises(bm.MixError, match="'red/thing' is not a folder"):
        open_data("red/thing")


def test_listing_a_folder_imports_nothing_heavy(images):
    heavy = "{'torch', 'PIL', 'scipy', 'sklearn', 'datasets', 'matplotlib'}"
    code = (
        f"import sys\nfrom batchmix.cli.lab.data import open_data\nopen_data({str(images('d'))!r})"
    )
    code += f"\nimport batchmix.cli.lab.split\nprint({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_only_rows_that_are_used_are_read(images, monkeypatch):
    folder = images("data/train", rows=20)
    images("data/test", rows=4)
    data = open_data(str(folder.parent))
    done = []
    checked(data, [0], 6, tell=lambda *seen: done.append(seen))
    assert done == [(i + 1, 18) for i in range(18)]
    used = set(split(data, 0, 6).train.names)
    unused = next(name for name in data.train.names if name not in used)
    (folder.parent / unused).write_bytes(b"")
    assert checked(data, [0], 6).skipped == ()
    with pytest.raises(bm.MixError, match="cannot be decoded"):
        checked(data, [0], None)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_bad_row_is_named_or_all_are_skipped(images, workers):
    folder = images("data", rows=40)
    for name in ("green/7.png", "red/3.png", "blue/9.png"):
        (folder / name).write_bytes(b"no image")
    data = open_data(str(folder))
    with pytest.raises(bm.MixError, match=r"blue/9\.png: the image cannot be decoded"):
        checked(data, [0], None, workers=workers)
    good = checked(data, [0], None, skip_bad=True, workers=workers)
    why = "the image cannot be decoded (no image that can be read)."
    assert good.skipped == (("blue/9.png", why), ("green/7.png", why), ("red/3.png", why))
    assert sum(map(len, parts_of(good, 0))) == 117
    assert not {name for name, _ in good.skipped} & {n for p in parts_of(good, 3) for n in p.names}


def test_rows_that_replace_skipped_ones_are_checked_too(images):
    folder = images("data/train", rows=30)
    images("data/test", rows=4)
    for i in range(0, 30, 2):
        (folder / "red" / f"{i}.png").write_bytes(b"no image")
    good = checked(open_data(str(folder.parent)), [0, 1], 12, skip_bad=True)
    for seed in (0, 1):
        for part in parts_of(good, seed, 12):
            assert all(part[i].shape == (8, 8, 3) for i in range(len(part)))


def test_more_than_half_of_the_rows_are_not_skipped(images):
    folder = images("data")
    for name in ("red", "blue"):
        for file in (folder / name).iterdir():
            file.write_bytes(b"")
    with pytest.raises(
        bm.MixError, match=r"16 of 24 rows cannot be read, the first is 'blue/0\.png'"
    ):
        checked(open_data(str(folder)), [0], None, skip_bad=True)


def test_sizes_that_differ_have_no_shape(images):
    folder = images("data")
    assert checked(open_data(str(folder)), [0], None, pixels=False).shape == (8, 8, 3)
    Image.new("RGB", (9, 8)).save(folder / "red" / "7.png")
    assert checked(open_data(str(folder)), [0], None).shape is None


def test_headers_alone_do_not_see_a_file_cut_short(images):
    folder = images("data", size=32)
    file = folder / "red" / "0.png"
    file.write_bytes(file.read_bytes()[:300])
    data = open_data(str(folder))
    assert checked(data, [0], None, pixels=False).shape == (32, 32, 3)
    with pytest.raises(
        bm.MixError, match=r"red/0\.png: the image cannot be decoded \(image file is"
    ):
        checked(data, [0], None)


def test_too_little_to_learn(images):
    with pytest.raises(bm.MixError, match="there is one class only, 'cat'"):
        split(open_data(str(images("one", ("cat",)))), 0)
    with pytest.raises(bm.MixError, match="no part may be empty"):
        split(open_data(str(images("few", rows=1))), 0)
    with pytest.raises(bm.MixError, match="Every class needs a training row"):
        split(open_data("digits"), 0, 3)


def test_wrong_labels_are_wrong_and_as_many_as_asked_for():
    y = np.arange(1000) % 7
    noisy, wrong = corrupt(y, 0.4, 7, seed=3)
    assert wrong.sum() == 400
    assert ((noisy != y) == wrong).all()
    assert set(noisy) == set(range(7))
    assert (corrupt(y, 0.4, 7, seed=3)[0] == noisy).all()
    assert (corrupt(y, 0.4, 7, seed=3, stream=2)[0] != noisy).any()


def test_an_order_in_proportion():
    data = open_data("digits")
    order = in_proportion(data, data.train, np.random.default_rng(0))
    assert sorted(order) == list(range(1797))
    assert np.ptp(np.bincount(data.train.y[order[:500]])) < 10


@pytest.fixture
def known(monkeypatch):
    """The hub has every data set."""
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda self, name, **_: name)


def hub(datasets, rows=8):
    features = datasets.Features(
        picture=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
    )
    pictures = [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(rows)]
    return datasets.Dataset.from_dict(
        {"picture": pictures, "label": [0, 1] * (rows // 2)}, features
    )


def test_a_hub_that_cannot_be_reached(known, monkeypatch):
    import datasets

    def unreachable(name):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        bm.MixError, match="'someone/thing' is not a folder here, and the Hugging"
    ) as refused:
        open_data("someone/thing")
    assert "'photos' to look at" in str(refused.value)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("network", [False, True])
def test_an_unknown_name_of_the_hub_is_refused_without_datasets(
    monkeypatch, tmp_path, network, kept
):
    from huggingface_hub.errors import RepositoryNotFoundError

    def info(self, name, **_):
        if network:
            raise RepositoryNotFoundError("404", response=mock.MagicMock())
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", info)
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    if kept:
        (tmp_path / "someone___thing").mkdir()
    if kept and not network:  # it may be the one that is asked for
        with pytest.raises(ModuleNotFoundError):
            open_data("someone/thing")
    else:
        why = "no such data set" if network else "Name or service not known"
        with pytest.raises(bm.MixError, match=why):
            open_data("someone/thing")


def test_a_hub_data_set_is_decoded_row_by_row(known, monkeypatch, tmp_path):
    import datasets

    table = hub(datasets)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table, "test": table})
    data = open_data("someone/thing")
    assert data.task.names == ("cat", "dog")
    assert [int(data.train[i][0, 0, 0]) for i in range(8)] == list(range(8))
    assert data.test.y.tolist() == [0, 1] * 4
    assert checked(data, [0], None).shape == (4, 4, 3)
    again = pickle.loads(pickle.dumps(data))
    assert (again.train[5] == data.train[5]).all()

    (tmp_path / "one.png").write_bytes(b"no image")
    files = {"picture": [str(tmp_path / "one.png")] * 8, "label": [0, 1] * 4}
    table = datasets.Dataset.from_dict(files, table.features)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table})
    with pytest.raises(bm.MixError, match="someone/thing train row 0: the image cannot be decoded"):
        checked(open_data("someone/thing"), [0], None)


def test_a_hub_data_set_without_the_columns(known, monkeypatch):
    import datasets

    table = hub(datasets)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"test": table})
    with pytest.raises(bm.MixError, match="A part 'train', one column of images"):
        open_data("someone/thing")
    two = datasets.concatenate_datasets(
        [table, table.select_columns("picture").rename_column("picture", "second")], axis=1
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": two})
    with pytest.raises(bm.MixError, match=r"\['picture', 'second'\] hold images and \['label'\]"):
        open_data("someone/thing")
    blind = table.remove_columns("label").add_column(
        "label", [-1] * 8, feature=table.features["label"]
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": blind})
    with pytest.raises(bm.MixError, match="train row 0: it has no label"):
        open_data("someone/thing")
