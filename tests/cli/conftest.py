"""What the tests of the command line share."""

import numpy as np
import pytest
from PIL import Image

from batchmix.cli import main


@pytest.fixture
def run(capsys):
    """Call the command line in this process: (exit code, standard output, standard error)."""

    def call(*argv):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in argv])
        return (stop.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def images(tmp_path):
    """A maker of image folders: CLASS/N.png, each class in its own colour."""

    def make(where, classes=("blue", "green", "red"), rows=8, size=8):
        rng = np.random.default_rng(0)
        for channel, name in enumerate(classes):
            folder = tmp_path / where / name
            folder.mkdir(parents=True)
            for i in range(rows):
                pixels = rng.integers(0, 90, (size, size, 3), np.uint8)
                pixels[..., channel % 3] += 120
                Image.fromarray(pixels).save(folder / f"{i}.png")
        return tmp_path / where

    return make
