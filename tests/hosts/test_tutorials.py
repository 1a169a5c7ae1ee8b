"""Tutorials of timm, as they work here: each makes its figures, in a process of its own."""

import subprocess
import sys

import pytest
from PIL import Image

import pages


@pytest.mark.parametrize("given", [False, True])
def test_timm(tmp_path, given):
    data = []
    if given:
        for k in range(16):
            path = tmp_path / "data" / "ab"[k % 2] / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 30), (k * 15, 100 * (k % 2), 50)).save(path)
        data = ["--data", str(tmp_path / "data")]
    script = pages.ROOT / "examples" / "seeds" / "timm_tutorial.py"
    words = [sys.executable, str(script), "--out", str(tmp_path / "out"), *data]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for mode in ("batch", "pair", "elem"):
        with Image.open(tmp_path / "out" / f"timm-{mode}.png") as figure:
            assert figure.width > 1000
            assert len(figure.convert("RGB").getcolors(1 << 24)) > 50  # something is drawn
