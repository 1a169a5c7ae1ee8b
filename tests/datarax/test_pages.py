"""The page on Datarax is true, and its example makes four figures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from PIL import Image

import pages


def test_python_blocks_run(tmp_path):
    pages.run(pages.DOCS / "datarax.md", tmp_path)


def test_the_tutorial_makes_its_figures(tmp_path):
    script = pages.ROOT / "examples" / "seeds" / "datarax_tutorial.py"
    folder = tmp_path / "data" / "train"
    for k, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        for i in range(128):
            Image.new("RGB", (32, 32), (k * 200, i, 0)).save(folder / name / f"{i:03}.jpg")
    for data in ([], ["--data", str(tmp_path / "data")]):
        out = tmp_path / f"out{len(data)}"
        done = subprocess.run(
            [sys.executable, str(script), "--out", str(out), *data],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("label_idx is untouched: True") == 2
        figures = sorted(path.name for path in out.iterdir())
        assert figures == [
            "cv-cifar-cutmix-samples.png",
            "cv-cifar-mix-alpha.png",
            "cv-cifar-mix-labels.png",
            "cv-cifar-mixup-samples.png",
        ]
        for name in figures:
            image = Image.open(out / name).convert("L")
            assert image.width > 1000
            assert len(np.unique(np.asarray(image))) > 50  # something is drawn
