"""Readers of files in a process of their own that may not have much memory."""

import json
import subprocess
import sys

MB = 2**20
_CHILD = """
import json, resource, sys
import batchmix
{setup}
# the address space, of which libraries map more than they use
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = repr({call})
    except batchmix.MixError as error:
        said = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([said, grown * 1024]))
"""


def read(call, paths, setup="", limit=2 * 2**30):
    """For each `path`, what the call returns or refuses, and by how many bytes the memory grew."""
    code = _CHILD.format(call=call, setup=setup, limit=limit)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
