"""What the tests of the page share: a folder of images and one of sounds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from batchmix.cli.explore import open_sources


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Three classes of eight images and of eight sounds, one of them of another length."""
    rng = np.random.default_rng(0)
    top = tmp_path_factory.mktemp("data")
    for name in ("ant", 'a "bee"', "cat & dog"):
        for kind in ("drawn", "sounds"):
            (top / kind / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (12, 20, 3), np.uint8)
            Image.fromarray(pixels).save(top / "drawn" / name / f"{i}.png")
            wave = rng.integers(-30000, 30000, 900 + 10 * i).astype(np.int16)
            wavfile.write(top / "sounds" / name / f"{i}.wav", 1000, wave)
    return top


@pytest.fixture(scope="session")
def sources(folders: Path):
    """Photographs, digits, drawn images and sounds."""
    given = [str(folders / "drawn"), str(folders / "sounds")]
    return open_sources(given, seconds=0.93)
