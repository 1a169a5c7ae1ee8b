"""The page on Composer and its examples are true, each in a process of its own."""

import re
import subprocess
import sys

import pages


def run(*words):
    """What a process prints; it fails on an error."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=pages.ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_blocks_run(tmp_path):
    pages.run(pages.DOCS / "composer.md", tmp_path)


def test_the_example_learns():
    """Chance is 10 %."""
    printed = run("examples/composer_trainer.py", "--epochs", "4")
    found = re.findall(r"mixing (\w+): held-out accuracy ([\d.]+)%", printed)
    assert [name for name, _ in found] == ["nothing", "MixUp", "CutMix", "both"]
    assert min(float(figure) for _, figure in found) > 30


def test_the_tutorial_is_true():
    printed = run("examples/seeds/composer_tutorial.py", "--epochs", "4")
    first, last = map(
        float, re.search(r"loss ([\d.]+) in the .* ([\d.]+) in the", printed).groups()
    )
    assert last < first
    figures = [float(f) for f in re.findall(r"held-out accuracy ([\d.]+)%", printed)]
    assert len(figures) == 3
    assert min(figures) > 25
    boxes = re.findall(r"in (\d+)% of batches, the middle in (\d+)%", printed)
    (corner, middle), (even_corner, even_middle) = [map(int, pair) for pair in boxes]
    assert middle > 2 * corner
    assert abs(even_middle - even_corner) <= 4
