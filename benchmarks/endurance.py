"""Does anything grow? Long runs of what a program calls over and over: memory and open files.

    python benchmarks/endurance.py [--share 0.01] [--only draws ...] [--json FILE]
    .venv-hosts/bin/python benchmarks/endurance.py --hosts      Keras, TensorFlow, Grain, ...

After each part of the work, resident memory and open files are read; a line through the second half
says how much grows from there to the end. Memory must stay under MOST, and files under two: what
has ended may wait for the garbage collector.
With --share less is done, of everything alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import endured
import endured_hosts

MOST = 8.0  # MB that the second half may add: what an allocator does by itself is within it
PARTS = 40  # of each work
ALL = endured.WORKS | endured_hosts.WORKS


def memory() -> float:
    """MB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(work: endured.Work, times: int) -> dict[str, Any]:
    """Do it so often; what memory and open files did in the second half."""
    began, parts = time.monotonic(), min(PARTS, times)
    held, files = [], []
    for once in work():
        for part in range(parts):
            for _ in range(times * (part + 1) // parts - times * part // parts):
                once()
            gc.collect()
            held.append(memory())
            files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    half = len(held) // 2
    added = [
        float(np.polyfit(np.arange(len(held) - half), each[half:], 1)[0]) * (len(held) - half - 1)
        for each in (held, files)
    ]
    return {
        "times": times,
        "memory_mb": [round(held[i], 1) for i in (0, half, -1)],
        "second_half_adds_mb": round(added[0], 2),
        "files": [files[i] for i in (0, half, -1)],
        "second_half_adds_files": round(added[1], 2),
        "seconds": round(time.monotonic() - began),
    }


def options() -> argparse.Namespace:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    words.add_argument("--share", type=float, default=1.0, help="of the whole work")
    words.add_argument("--only", choices=ALL, nargs="+", help="these works alone")
    words.add_argument("--hosts", action="store_true", help="works of other hosts")
    words.add_argument("--json", type=Path, help="where the figures are written")
    return words.parse_args()


if __name__ == "__main__":
    given = options()
    works = given.only or (endured_hosts.WORKS if given.hosts else endured.WORKS)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    found: dict[str, Any] = {"python": platform.python_version(), "gil": gil, "works": {}}
    grown = []
    for name in works:
        work, times = ALL[name]
        one = found["works"][name] = measure(work, max(4, round(times * given.share)))
        print(name, json.dumps(one), flush=True)
        if one["second_half_adds_mb"] > MOST or one["second_half_adds_files"] >= 2:
            grown.append(name)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(f"grows: {', '.join(grown)}" if grown else 0)
