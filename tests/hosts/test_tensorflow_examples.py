"""The examples for TensorFlow and Keras, each in a process of its own."""

import gzip
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(words):
    """What a process prints; it fails on an error."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_example_of_tf_data():
    printed = run(["examples/tf_data.py"])
    assert "two runs are the same: True" in printed
    assert "two epochs are the same: False" in printed
    assert "the same as before: True" in printed


def accuracies(printed):
    """The figures without and with mixup."""
    found = re.findall(r"test accuracy (without|with) mixup: ([\d.]+)%", printed)
    assert [name for name, _ in found] == ["without", "with"]
    return [float(figure) for _, figure in found]


def test_example_of_keras(tmp_path):
    """Well above chance, which is 10 %, after some epochs on digits; and a figure."""
    figure = tmp_path / "mixed.png"
    printed = run(["examples/seeds/keras_mixup.py", "--epochs", "4", "--figure", str(figure)])
    assert min(accuracies(printed)) > 30
    assert figure.read_bytes().startswith(b"\x89PNG")


def loaded(folder):
    """What the example reads from a folder."""
    return runpy.run_path(str(ROOT / "examples" / "seeds" / "keras_mixup.py"))["load"](folder, 50)


@pytest.mark.parametrize("packed", [False, True])
def test_example_of_keras_reads_idx_files(tmp_path, packed):
    rng, arrays = np.random.default_rng(0), {}
    for part, rows in {"train": 60, "t10k": 40}.items():
        arrays[f"{part}-images-idx3"] = rng.integers(0, 256, (rows, 28, 28)).astype(np.uint8)
        arrays[f"{part}-labels-idx1"] = rng.integers(0, 10, rows).astype(np.uint8)
    for name, array in arrays.items():
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        data, end = head + array.tobytes(), "-ubyte.gz" if packed else "-ubyte"
        (tmp_path / f"{name}{end}").write_bytes(gzip.compress(data) if packed else data)
    for part, (images, ids) in zip(("train", "t10k"), loaded(tmp_path), strict=True):
        np.testing.assert_array_equal(images[..., 0], arrays[f"{part}-images-idx3"][:50])
        np.testing.assert_array_equal(ids, arrays[f"{part}-labels-idx1"][:50])


def test_example_of_keras_reads_folders(tmp_path):
    import tensorflow as tf

    for part in ("train", "test"):
        for name, value in {"bright": 200, "dark": 10}.items():
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for k in range(30):
                image = np.full((16, 16, 3), value + k, np.uint8)
                (folder / f"{k}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
    for images, ids in loaded(tmp_path):
        assert (images.shape, images.dtype) == ((50, 16, 16, 3), np.uint8)
        np.testing.assert_array_equal(images.mean((1, 2, 3)) < 100, ids == 1)
        assert len(np.unique(images.mean((1, 2, 3)).round())) == 50
        assert 10 < ids[:40].sum() < 30  # in a random order
