"""A user's program under type checkers, with the package as it is installed: for `make matrix`."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("typed_program.py")
# only its own marks count, and each must be needed
PYRIGHT = {
    "typeCheckingMode": "standard",
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": "error",
}
CHECKERS = {
    "mypy": ["--strict", "--config-file=", PROGRAM.name],
    "pyright": ["--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_right_lines_pass_and_marked_ones_are_errors(checker, tmp_path):
    pytest.importorskip("pyright", reason="`make types` has mypy; both are in `make matrix`")
    shutil.copy(PROGRAM, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    command = [sys.executable, "-m", checker, *CHECKERS[checker]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
