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
from pathlib import Path
from typing import Any

import numpy
import torch

import batchmix
from batchmix.cli.bench import Setting, peers

_WARM = {  # glibc: keep what is freed, and hand it out again, to every thread
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 34),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
_THREADS = (  # of torch, NumPy, JAX and TensorFlow
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_all(
    settings: Sequence[Setting], command: str, datarax: Path | None = None
) -> dict[str, Any]:
    """Every setting in turn, behind a progress bar; nothing runs beside a measurement.

    `datarax` is the Python of the environment that Datarax is installed in.
    """
    from rich.console import Console
    from rich.progress import Progress

    jobs = [(setting, process) for setting in settings for process in peers.PROCESSES]
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
            if name != "formula"
        },
        "runs": runs,
    }


def _steps(setting: Setting, process: peers.Process) -> int:
    """What `_child` prints a line for."""
    if process == peers.MAIN:
        return len(setting.shapes) + 3 * len(_images(setting))
    return len(setting.headline)


def _images(setting: Setting) -> list[Any]:
    """uint8 images are measured at the first of the headline shapes."""
    return list(setting.headline[:1])


def _run(
    setting: Setting, process: peers.Process, python: Path | None, advance: Any
) -> dict[str, Any]:
    """One process; if it dies, its libraries are absent for that reason."""
    if python is None:
        reason = "needs an environment of its own: name its Python with --datarax"
        return {"absent": dict.fromkeys(process.libraries, reason), "runs": []}
    main = process == peers.MAIN
    spec = {
        "group": process.group,
        "libraries": process.libraries,
        "threads": setting.threads,
        "shapes": setting.shapes if main else setting.headline,
        "image_shapes": _images(setting) if main else [],
        "seconds": setting.seconds,
    }
    environment = os.environ | dict.fromkeys(_THREADS, str(setting.threads))
    environment |= {"KERAS_BACKEND": process.keras}
    environment |= _WARM if setting.allocator == "warm" else {}
    with tempfile.TemporaryDirectory() as folder:
        result, errors = Path(folder, "result"), Path(folder, "errors")
        words = ["-m", "batchmix.cli.bench._child", json.dumps(spec), str(result)]
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
