"""What Triton makes of the kernels for GPUs that need not be there: its compiler is enough."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("compiled_programs.py")
WIDE = ("boxes", "whole rows", "float32", "uint8", "in place", "layers")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Instructions that touch memory, by program; in a process that does not interpret."""
    interpreted = ("TRITON_INTERPRET", "BATCHMIX_KERNEL")
    env = {name: value for name, value in os.environ.items() if name not in interpreted}
    env["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run(
        [sys.executable, str(FILE)], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_compile(programs):
    assert len(programs) == 28


def test_rows_are_read_and_written_16_bytes_at_a_time(programs):
    for name, seen in programs.items():
        if name.split(",")[0] in WIDE:
            stored = {op for op in seen if op.startswith("st.global")}
            assert stored == {"st.global.v4.b32"}, name
            # what else is loaded are single numbers of the plan
            loaded = {op for op in seen if op.startswith("ld.global")}
            assert loaded <= {"ld.global.v4.b32", "ld.global.b32"}, name


def test_nothing_is_spilled_or_exchanged_between_threads(programs):
    """A thread writes what it read itself: where rows are written in place, that is needed."""
    for name, seen in programs.items():
        assert not [op for op in seen if "local" in op], name
        if name.split(",")[0] in WIDE:  # Triton 3.6 exchanges what it gathered of a source
            assert not [op for op in seen if "shared" in op], name
    assert programs["in place, 90"]["bar.sync"] == 1
    assert "bar.sync" not in programs["boxes, 90"]


def test_products_are_rounded_before_they_are_added(programs):
    """As on the host, so that results are equal bit by bit."""
    assert not any(op.startswith("fma") for seen in programs.values() for op in seen)
