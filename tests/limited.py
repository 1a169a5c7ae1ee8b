"""Readers of files in a process of their own that may not have much memory. Linux only."""

import json
import subprocess
import sys

import pytest

MB = 2**20
_CHILD = """
import json, re, resource, sys
import batchmix
{setup}

def peak():  # getrusage would begin with that of the parent
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(r"VmHWM:\\s+([0-9]+)", file.read())[1])

def forget():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

# the address space, of which libraries map more than they use
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
for path in sys.argv[1:]:
    forget()
    before = peak()
    try:
        said = repr({call})
    except batchmix.MixError as error:
        said = str(error)
    print(json.dumps([said, peak() - before]))
"""


def read(call, paths, setup="", limit=2 * 2**30):
    """For each `path`, what the call returns or refuses, and by how many bytes the memory grew."""
    if sys.platform != "linux":
        pytest.skip("memory is measured on Linux")
    code = _CHILD.format(call=call, setup=setup, limit=limit)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
