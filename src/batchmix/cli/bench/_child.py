"""One process of a benchmark: `python -m batchmix.cli.bench._child SPECIFICATION RESULT`.

Threads and allocator are set for a process, so every setting of them has one of its own.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import batchmix as bm
from batchmix.cli.bench import _images, _limits, _loader, _ours, peers
from batchmix.cli.bench._cases import CLASSES, DRAW, LABELS, LIMIT, Batch, Case
from batchmix.cli.bench._images import Images
from batchmix.cli.bench._oracle import check
from batchmix.cli.bench._timing import interleave, summary, timed
from batchmix.pairing import Derangement, Pairing, Reverse

Line = dict[str, Any]
Checker = Callable[[Case], Line]


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Every group that is asked for, at every shape."""
    torch.set_num_threads(spec["threads"])
    bm.set_threads(spec["threads"])
    loaded = {library: peers.load(library) for library in spec["libraries"]}
    absent = {library: found for library, found in loaded.items() if isinstance(found, str)}
    modules = {k: found for k, found in loaded.items() if isinstance(found, ModuleType)}
    budget, runs = spec["seconds"], []
    if modules or spec["group"] == peers.MAIN.group:  # batchmix alone is no comparison
        runs += [_floats(spec["group"], shape, modules, budget) for shape in spec["shapes"]]
    for shape in spec["image_shapes"]:
        runs.append(_uint8(shape, modules, budget))
        runs.append(_loaders(shape, modules, budget))
        runs.append(_parts(shape, modules, budget))
    versions = {library: peers.version(library) for library in modules if library != "formula"}
    found = {"absent": absent, "versions": versions, "runs": runs}
    return found | {"kernel": bm.kernels()["host"]}


def _floats(group: str, shape: Any, modules: dict[str, ModuleType], budget: float) -> Line:
    """A float32 batch, in place and out of place."""
    batch = Batch.random(shape)

    def checked(case: Case) -> Line:
        batch.work.copy_(batch.x)
        return {} if case.seen is None else _verdict(case, batch.x, batch.y, "CHW")

    cases = [*_limits.cases(batch), *_ours.cases(batch)]
    theirs = [case for module in modules.values() for case in module.cases(batch)]
    if any(case.library == "batchmix" for case in theirs):  # on arrays of their framework
        cases = [case for case in cases if case.library == LIMIT]
    elif group != peers.MAIN.group:  # only what these libraries have, beside the same of batchmix
        works = {LIMIT, *(case.work for case in theirs)}
        cases = [case for case in cases if case.work in works]
    cases += theirs
    return _measure(group, shape, cases, budget, checked, timed)


def _uint8(shape: Any, modules: dict[str, ModuleType], budget: float) -> Line:
    """A list of decoded images; the limit is a copy of the float32 batch that is made of it."""
    images = Images.random(shape)
    copies = [case for case in _limits.cases(Batch.random(shape)) if _limits.COPY in case.how]
    routes = [_images.ours, *_routes(_images, modules)]
    cases = [*copies, *(case for route in routes for case in route(images))]

    def checked(case: Case) -> Line:
        return {} if case.seen is None else _verdict(case, images.rows, images.y, "HWC")

    return _measure("uint8", shape, cases, budget, checked, timed)


def _loaders(shape: Any, modules: dict[str, ModuleType], budget: float) -> Line:
    """The same through a DataLoader."""
    images = Images.random(shape)
    routes = [_loader.ours, *_routes(_loader, modules)]
    cases = [case for route in routes for case in route(images)]

    def checked(case: Case) -> Line:
        return {} if case.seen is None else _verdict(case, images.rows, images.y, "HWC")

    return _measure("loader", shape, cases, budget, checked, _loader.seconds)


def _routes(group: ModuleType, modules: dict[str, ModuleType]) -> list[Callable[[Images], Any]]:
    """The libraries that have a way of their own from images to a batch."""
    return [getattr(group, name) for name in ("timm", "torchvision") if name in modules]


def _parts(shape: Any, modules: dict[str, ModuleType], budget: float) -> Line:
    """Drawing and labels alone."""
    rows, size = shape[0], dict(zip("HW", shape[2:]))
    y = torch.randint(CLASSES, (rows,))
    pairings: dict[str, Pairing] = {
        "per row, Derangement": Derangement(),
        "per row, Reverse": Reverse(),
    }
    draws = {how: _ours.plans(_ours.BOTH, rows, size, pairing) for how, pairing in pairings.items()}
    cases = [Case("batchmix", DRAW, how, draw) for how, draw in draws.items()]
    plan = cases[0].call()
    cases.append(Case("batchmix", LABELS, "dense", lambda: bm.mix_labels(y, plan, CLASSES)))
    cases.append(Case("batchmix", LABELS, "pairs", lambda: bm.pairs(y, plan)))
    for module in modules.values():
        cases += getattr(module, "parts", _none)(rows, size)
    return _measure("parts", shape, cases, budget, lambda case: {}, timed, size=0)


def _none(rows: int, size: dict[str, int]) -> Iterator[Case]:
    """A library of which only the whole is measured."""
    return iter(())


def _verdict(case: Case, x: Sequence[Any], y: Any, layout: str) -> Line:
    """How a case differs from the oracle."""
    assert case.seen is not None
    return {"check": check(case.seen(), x, y, layout)._asdict()}


def _measure(
    group: str, shape: Any, cases: Sequence[Case], budget: float,
    checked: Checker, clock: Callable[[Case], float], size: int | None = None,
) -> Line:  # fmt: skip
    """Check, warm up and time; a case that fails is a line with the reason."""
    size = 4 * math.prod(shape) if size is None else size
    lines, works = [], []
    for case in cases:
        line: Line = {"library": case.library, "work": case.work, "how": case.how}
        try:
            line |= checked(case)
            case.call()
            works.append((case, line))
        except Exception as problem:
            line["failed"] = f"{type(problem).__name__}: {problem}".splitlines()[0]
        lines.append(line)
    samples = interleave([case for case, _ in works], budget, size, clock)
    for (_, line), found in zip(works, samples):
        line["ms"] = summary(found)
    print("done", group, *shape, flush=True)  # for the progress bar
    return {"group": group, "shape": list(shape), "bytes": 4 * math.prod(shape), "cases": lines}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = run(json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(found))
