"""Tutorials of timm, as they work here: each makes its figures, in a process of its own."""

import json
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


def test_the_notebook_draws_the_same_figures(tmp_path):
    notebook = json.loads((pages.DOCS / "tutorials" / "timm.ipynb").read_text())
    cells = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
    (tmp_path / "notebook.py").write_text("\n".join(cells))
    (tmp_path / "IPython").mkdir()  # stands in for Jupyter's, which shows what it is given
    (tmp_path / "IPython" / "__init__.py").write_text(
        "version_info = 9, 0\ndef get_ipython(): pass\n"  # which Matplotlib asks for
    )
    (tmp_path / "IPython" / "display.py").write_text("Image, display = str, print\n")
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for mode in ("batch", "pair", "elem"):
        assert f"timm-{mode}.png\n" in done.stdout.partition("elem.png")[2]
        assert (tmp_path / "figures" / f"timm-{mode}.png").is_file()
