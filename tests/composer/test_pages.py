"""The page on Composer and its examples are true, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\b[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(*words):
    """What a process prints; it fails on an error."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_blocks_run(tmp_path):
    text = (ROOT / "docs" / "composer.md").read_text()
    blocks = ["\n" * text.count("\n", 0, m.start(1)) + m[1] for m in BLOCK.finditer(text)]
    assert len(blocks) > 5
    lines = [""] * text.count("\n")  # each block on the lines of the page
    for block in blocks:
        for number, line in enumerate(block.splitlines()):
            lines[number] = line or lines[number]
    program = tmp_path / "page.py"
    program.write_text("\n".join(lines) + "\nprint('ran to the end')\n")
    assert "ran to the end" in run(str(program))


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
