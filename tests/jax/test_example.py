"""The example trains: both runs reach what a small network reaches on digits."""

import re
import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "flax_nnx.py"


def test_flax_nnx(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    found = re.findall(r"^(.+): test accuracy (0\.\d+)$", capsys.readouterr().out, re.MULTILINE)
    assert [name for name, _ in found] == ["no mixing", "mixing"]
    assert all(float(accuracy) > 0.9 for _, accuracy in found)
