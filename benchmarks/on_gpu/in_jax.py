"""The formulas in JAX, in a process of their own: two frameworks share no device well.

`python benchmarks/on_gpu/in_jax.py SPECIFICATION RESULT`, as `gpu.py` starts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import cases as c
from on_gpu import batches, measure
from on_gpu.batches import ROUNDING
from on_gpu.measure import Run, Setting, Table
from on_gpu.parts import MAIN, sized

GROUP = "JAX, bfloat16"
_CALLS, _LONGEST = 8, 240  # between two waits; seconds of the process


def jax(setting: Setting) -> Iterator[Run]:
    """The table that the process wrote, or why there is none."""
    measure.freed(setting)
    platform = "cuda" if setting.cuda else "cpu"
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_PLATFORMS": platform}
    told = json.dumps({"device": setting.device, "seconds": setting.seconds})
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result")
        try:
            done = subprocess.run(
                [sys.executable, __file__, told, str(result)], env=os.environ | environment,
                timeout=_LONGEST, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"its process was not done after {_LONGEST} seconds") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            if said == "ModuleNotFoundError: No module named 'jax'":
                raise ModuleNotFoundError(said, name="jax")
            raise RuntimeError(f"its process ended with code {done.returncode}: {said}")
        found: Run = json.loads(result.read_text())
    yield found


class Waiting:
    """Several calls, then a wait for all of their results."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def prepared(self, case: c.Case) -> None:
        """Compile and warm up."""
        self(case)

    def __call__(self, case: c.Case) -> float:
        """Seconds of one call, on average."""
        from jax import block_until_ready

        start = time.perf_counter()
        results = [_arrays(case.call()) for _ in range(self.calls)]
        block_until_ready(results)
        return (time.perf_counter() - start) / self.calls

    def host(self, case: c.Case) -> list[float]:
        """Not told apart from the device here."""
        return []


def _arrays(result: Any) -> Any:
    """Without the plan, which is no array of JAX."""
    return result[:2] if isinstance(result, tuple) else result


def run(spec: dict[str, Any]) -> Run:
    """The table."""
    import jax.numpy as jnp

    from peers import jax as peer

    clock: Any = Waiting(_CALLS if spec["device"] == "cuda" else 1)
    setting = Setting("cpu", False, spec["seconds"], clock)
    kind = sized(replace(setting, device=spec["device"]), MAIN)
    told = [batches.batch(kind, "cpu", seed) for seed in range(3 if clock.calls > 1 else 1)]
    there = [replace(batch, x=batch.x.float()) for batch in told]  # NumPy has no bfloat16

    def array(value: Any) -> Any:
        given = jnp.asarray(value)
        return given.astype(jnp.bfloat16) if value.dtype.kind == "f" else given

    lines = measure.lines_of(_limit, there, array)
    lines += measure.lines_of(peer.cases, there, array, lambda results: results)
    rounding = replace(ROUNDING[kind.dtype], ours=ROUNDING[kind.dtype].theirs)
    return measure.measured(
        setting, Table(GROUP, kind.shape, kind.bytes, rounding, there[0], lines)
    )


def _limit(batch: c.Batch, array: Any) -> Iterator[c.Case]:
    """What reads and writes each number once."""
    from jax import jit

    x, negative = array(c.host(batch.x)), jit(lambda x: -x)
    yield c.Case("limit", "limit", "copy: jitted negative", lambda: negative(x))


def main(argv: Sequence[str]) -> None:
    """Measure, and write what was found."""
    Path(argv[1]).write_text(json.dumps(run(json.loads(argv[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
