"""Ray Train: two workers, one of which fails and is started anew."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = [
    "worker 0, stopped and resumed: as if it had not",
    "worker 1, stopped and resumed: as if it had not",
    "the two draw: different mixes",
]


def test_workers_differ_and_go_on_after_a_failure():
    """Each batch of both is compared with that of a loader which nobody interrupted."""
    words = [sys.executable, "examples/ray_train.py"]
    environment = os.environ | {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    *found, accuracy = done.stdout.splitlines()[-4:]
    assert found == LINES
    assert float(accuracy.split(":")[1]) > 0.8
