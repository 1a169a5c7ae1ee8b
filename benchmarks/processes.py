"""The processes of a benchmark, one per setting, and what they found, as one report."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

import batchmix
import cases as c
import peers

_WARM = {  # glibc: keep what is freed, and hand it out again, to every thread
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
_CHILD = Path(__file__).with_name("child.py")
_THREADS = (  # of torch, NumPy, JAX and TensorFlow
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Threads and allocator of a process, and the shapes that are run with them."""

    threads: int
    allocator: str
    shapes: list[c.Shape]
    headline: list[c.Shape]  # of uint8 images, and of the libraries that need their own process
    doors: list[c.Shape]  # of the front door
    seconds: float


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_all(
    settings: Sequence[Setting], command: str, datarax: Path | None = None,
    processes: Sequence[peers.Process] = peers.PROCESSES,
) -> dict[str, Any]:  # fmt: skip
    """Every setting in turn, under a progress bar; nothing runs beside a measurement.

    `datarax` is the Python of the environment that Datarax is installed in.
    """
    from rich.console import Console
    from rich.progress import Progress

    jobs = [(setting, process) for setting in settings for process in processes]
    absent: dict[str, str] = {}
    versions: dict[str, str | None] = {}
    runs, kernel = [], ""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=sum(_steps(*job) for job in jobs))
        for setting, process in jobs:
            python = datarax if process == peers.DATARAX else Path(sys.executable)
            found = _run(setting, process, python, lambda: progress.advance(task))
            absent |= found["absent"]
            versions |= found.get("versions", {})
            kernel = found.get("kernel", kernel)
            place = {"threads": setting.threads, "allocator": setting.allocator}
            runs += [place | line for line in found["runs"]]
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(kernel),
        "libraries": {
            name: {"version": versions.get(name), "absent": absent.get(name)}
            for name in peers.MODULES
            if name in versions or name in absent
        },
        "runs": runs,
    }


def _steps(setting: Setting, process: peers.Process) -> int:
    """What child.py prints a line for: a table."""
    spec = specification(setting, process)
    if process == peers.POLICIES:
        return 3 * len(spec["shapes"])
    of_its_own = 1 if process == peers.FRONT_DOOR else 3 * len(spec["image_shapes"])
    return len(spec["shapes"]) + of_its_own


def specification(setting: Setting, process: peers.Process) -> dict[str, Any]:
    """What child.py is told."""
    shapes = {peers.MAIN: setting.shapes, peers.FRONT_DOOR: setting.doors}
    return {
        "group": process.group,
        "libraries": process.libraries,
        "threads": setting.threads,
        "shapes": shapes.get(process, setting.headline),
        "image_shapes": setting.headline[:1] if process == peers.MAIN else [],
        "seconds": setting.seconds,
    }


def _run(
    setting: Setting, process: peers.Process, python: Path | None, advance: Any
) -> dict[str, Any]:
    """One process; if it dies, its libraries are absent for that reason."""
    if python is None:
        reason = "needs an environment of its own: name its Python with --datarax"
        return {"absent": dict.fromkeys(process.libraries, reason), "runs": []}
    environment = os.environ | dict.fromkeys(_THREADS, str(setting.threads))
    environment |= {"KERAS_BACKEND": process.keras}
    environment |= _WARM if setting.allocator == "warm" else {}
    with tempfile.TemporaryDirectory() as folder:
        result, errors = Path(folder, "result"), Path(folder, "errors")
        words = [str(_CHILD), json.dumps(specification(setting, process)), str(result)]
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(
                [str(python), *words], env=environment, stdout=subprocess.PIPE, stderr=stderr
            ) as child,
        ):
            for line in child.stdout or ():
                if line.startswith(b"done "):
                    advance()
        if child.returncode == 0:
            found: dict[str, Any] = json.loads(result.read_text())
            return found
        said = errors.read_text(errors="replace").strip().splitlines() or ["nothing said"]
    reason = f"its process ended with code {child.returncode}: {said[-1]}"
    return {"absent": dict.fromkeys(process.libraries, reason), "runs": []}


def _machine(kernel: str) -> dict[str, Any]:
    """What a number is worth nothing without."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch.__version__,
        "batchmix": batchmix.__version__,
        "kernel": kernel,
    }


def _cpu() -> str:
    """The model's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
