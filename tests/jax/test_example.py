"""The example trains: both runs reach what a small network reaches on digits."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "flax_nnx.py"


def test_flax_nnx():
    words = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(.+): test accuracy (0\.\d+)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in found] == ["no mixing", "mixing"]
    assert all(float(accuracy) > 0.9 for _, accuracy in found)
