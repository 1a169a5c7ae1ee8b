"""Six kills at places where a write is half done, and errors of the disk. More: break_runs.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("break_runs.py")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("fault", "at"),
    [
        # a checkpoint half written, written and not renamed, renamed and its folder not synced; the
        # store of trials with half a line; a search after its first candidate; a run that has all
        # but its result, where another one was
        ("kill", ["train:121~:60-:20+", "compare:9~", "tune:20-", "anew:220-"]),
        ("full", ["train:120-", "train:190-"]),
    ],
)
def test_what_is_broken_goes_on_to_the_same_end(fault, at):
    words = [word for moment in at for word in ("--at", moment)]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--fault", fault, *words], capture_output=True, text=True
    )
    assert "{" in done.stdout, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert found["wrong"] == []
    assert sum(found["breaks"].values()) == sum(moment.count(":") for moment in at)
