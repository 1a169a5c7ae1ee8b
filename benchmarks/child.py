"""One process of a benchmark: `python benchmarks/child.py SPECIFICATION RESULT`.

Threads and allocator are set for a process, so every setting of them has one of its own.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import batchmix as bm
import by_policy
import cases as c
import front_door
import images
import limits
import loader
import ours
import peers
from batchmix import backends
from batchmix.pairing import Derangement, Reverse
from check import check
from clock import Clock, interleave, summary, timed
from images import Images

Run = dict[str, Any]  # a table: what stands in `Line`, and its cases
_IN_CACHE = 32 << 20  # a batch up to this is timed warm
_SAMPLE, _CALLS = 16 << 20, 32  # of the front door: small batches are timed by several calls


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Every group that is asked for, at every shape."""
    torch.set_num_threads(spec["threads"])
    backends.set_threads(spec["threads"])
    loaded = {library: peers.load(library) for library in spec["libraries"]}
    absent = {library: found for library, found in loaded.items() if isinstance(found, str)}
    modules = {k: found for k, found in loaded.items() if isinstance(found, ModuleType)}
    versions = {library: peers.version(library) for library in modules if library != "formula"}
    found = {"absent": absent, "versions": versions, "runs": _runs(spec, modules)}
    return found | {"kernel": backends.kernels()["host"]}


def _runs(spec: dict[str, Any], modules: dict[str, ModuleType]) -> list[Run]:
    """The tables of a process."""
    group, budget = spec["group"], spec["seconds"]
    if group == peers.FRONT_DOOR.group:
        runs = [_front_door(shape, modules, budget) for shape in spec["shapes"]]
        return [*runs, _draws(c.LARGE, budget)]
    if group == peers.POLICIES.group:
        return [run for shape in spec["shapes"] for run in _by_policy(shape, modules, budget)]
    if group != peers.MAIN.group:  # batchmix alone is no comparison
        return [_floats(group, shape, modules, budget) for shape in spec["shapes"] if modules]
    runs = [_floats(group, shape, modules, budget) for shape in spec["shapes"]]
    for shape in spec["image_shapes"]:
        runs += [made(shape, modules, budget) for made in (_uint8, _loaders, _parts)]
    return runs


def _floats(group: str, shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Run:
    """A float32 batch, in place and out of place."""
    batch = c.Batch.random(shape)
    cases = [*limits.cases(batch), *ours.cases(batch)]
    theirs = [case for module in modules.values() for case in module.cases(batch)]
    if any(case.library == "batchmix" for case in theirs):  # on arrays of their framework
        cases = [case for case in cases if case.library == "limit"]
    elif group != peers.MAIN.group:  # only what these libraries have, beside the same of batchmix
        works = {"limit", *(case.work for case in theirs)}
        cases = [case for case in cases if case.work in works]
    return _measure(group, shape, [*cases, *theirs], budget, partial(_checked, batch))


def _front_door(shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Run:
    """A float32 batch through `Mixer` and the drop-ins; small images have few classes."""
    batch = c.Batch.random(shape, c.CLASSES if shape[-1] > 64 else 10)
    cases = [*limits.cases(batch), *front_door.cases(batch, modules)]
    calls = max(1, min(_CALLS, _SAMPLE // (4 * math.prod(shape))))
    clock = partial(timed, calls=calls)
    group = peers.FRONT_DOOR.group
    return _measure(group, shape, cases, budget / calls, partial(_checked, batch), clock)


def _draws(shape: c.Shape, budget: float) -> Run:
    """Plans alone, beside the random numbers that they need."""
    cases = front_door.draws(shape[0], dict(zip("HW", shape[2:])))
    return _measure(
        "draw", shape, cases, budget / _CALLS, clock=partial(timed, calls=_CALLS), warm=True
    )


def _by_policy(shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Iterator[Run]:
    """Each policy: on floats, on 8-bit images, and its plans alone."""
    for dtype in (torch.float32, torch.uint8):
        batch = by_policy.images(shape, dtype)
        name = f"{peers.POLICIES.group}, {str(dtype).removeprefix('torch.')}"
        cases = by_policy.cases(batch, modules)
        yield _measure(name, shape, cases, budget, partial(_checked, batch))
    yield _measure(
        f"{peers.POLICIES.group}, plans", shape, by_policy.draws(batch), budget, warm=True
    )


def _uint8(shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Run:
    """A list of decoded images; the limit is a copy of the float32 batch that is made of it."""
    batch = Images.random(shape)
    copies = [case for case in limits.cases(c.Batch.random(shape)) if "copy" in case.how]
    cases = [*copies, *_routes(images, modules, batch)]
    return _measure("uint8", shape, cases, budget, partial(_checked, batch))


def _loaders(shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Run:
    """The same through a DataLoader."""
    batch = Images.random(shape)
    cases = _routes(loader, modules, batch)
    return _measure(
        "loader", shape, cases, budget, partial(_checked, batch), loader.seconds, warm=False
    )


def _routes(group: ModuleType, modules: dict[str, ModuleType], batch: Images) -> list[c.Case]:
    """batchmix, and the libraries that have a way of their own from images to a batch."""
    names = ["ours", *(name for name in ("timm", "torchvision") if name in modules)]
    return [case for name in names for case in getattr(group, name)(batch)]


def _parts(shape: c.Shape, modules: dict[str, ModuleType], budget: float) -> Run:
    """Drawing and labels alone."""
    rows, size = shape[0], dict(zip("HW", shape[2:]))
    y = torch.randint(c.CLASSES, (rows,))
    cases = [
        c.Case(
            "batchmix", "draw parameters", f"per row, {type(pairing).__name__}",
            ours.plans(ours.SWITCH, rows, size, pairing),
        )
        for pairing in (Derangement(), Reverse())
    ]  # fmt: skip
    plan = cases[0].call()
    dense, pairs = (lambda: bm.mix_labels(y, plan, c.CLASSES)), (lambda: bm.pairs(y, plan))
    cases.append(c.Case("batchmix", "soft labels", "dense", dense))
    cases.append(c.Case("batchmix", "soft labels", "pairs", pairs))
    for module in modules.values():
        cases += module.parts(rows, size) if hasattr(module, "parts") else ()
    return _measure("parts", shape, cases, budget, warm=True)


def _checked(batch: c.Batch | Images, case: c.Case) -> dict[str, Any]:
    """How a case differs from the oracle."""
    if isinstance(batch, c.Batch) and batch.work is not batch.x:
        batch.work.copy_(batch.x)
    if case.seen is None:
        return {}
    x, layout = (batch.x, "NCHW") if isinstance(batch, c.Batch) else (batch.rows, "NHWC")
    return {"check": check(case.seen(), x, batch.y, layout)._asdict()}


def _measure(
    group: str, shape: c.Shape, cases: Iterable[c.Case], budget: float,
    checked: Callable[[c.Case], dict[str, Any]] = lambda case: {}, clock: Clock = timed,
    warm: bool | None = None,
) -> Run:  # fmt: skip
    """Check, warm up and time; a case that fails is a line with the reason."""
    size = 4 * math.prod(shape)
    lines: list[dict[str, Any]] = []
    works: list[tuple[c.Case, dict[str, Any]]] = []
    for case in cases:
        line: dict[str, Any] = {"library": case.library, "work": case.work, "how": case.how}
        try:
            line |= checked(case)
            case.call()
            works.append((case, line))
        except Exception as problem:
            line["failed"] = f"{type(problem).__name__}: {problem}".splitlines()[0]
        lines.append(line)
    warm = size < _IN_CACHE if warm is None else warm
    samples = interleave([case for case, _ in works], budget, warm, clock)
    for (_, line), found in zip(works, samples):
        line["ms"] = summary(found)
    print("done", group, *shape, flush=True)  # for the progress bar
    return {"group": group, "shape": list(shape), "bytes": size, "cases": lines}


def main(argv: Sequence[str]) -> None:
    """Measure, and write what was found."""
    warnings.simplefilter("ignore")
    Path(argv[1]).write_text(json.dumps(run(json.loads(argv[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
