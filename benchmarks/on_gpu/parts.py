"""The tables: which batches, and which lines on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch

import cases as c
import peers
from on_gpu import batches, formula, mixing
from on_gpu.batches import ROUNDING, Kind, Rounding
from on_gpu.machine import libraries
from on_gpu.measure import Absent, Run, Setting, Table, copies, lines_of, measured, reason

LIBRARIES = ("timm", "torchvision", "kornia")
MAIN = Kind("NCHW", c.LARGE)
SMALL = Kind("32 px", c.SMALL)
LAYOUTS = (
    Kind("channels-last", c.LARGE, channels_last=True),
    Kind("NCHW", c.LARGE, "float32"),
    Kind("NCHW", c.LARGE, "uint8"),
    Kind("NHWC", (256, 224, 224, 3), layout="NHWC"),
)
OTHERS = (
    Kind("video", (32, 3, 16, 112, 112), layout="NCTHW"),
    Kind("audio", (256, 1, 160_000), "float32", "NCT"),
)
NORMALISED = Kind("uint8 NHWC to bfloat16 NCHW", (256, 224, 224, 3), "uint8", "NHWC")
_AS_NORMALISED = Rounding(2.0**-7 * 1.01, 2.0**-4, 1e-5)  # numbers up to 2.7
_TINY = {"N": 6, "C": 3, "H": 16, "W": 16, "T": 8}  # on the CPU, where nothing is measured
_Lines = list[Sequence[c.Case] | Absent]


def sized(setting: Setting, kind: Kind) -> Kind:
    """As it is on a GPU; tiny elsewhere."""
    if setting.cuda:
        return kind
    shape = tuple(1 if n == 1 else _TINY[axis] for axis, n in zip(kind.layout, kind.shape))
    return Kind(kind.name, shape, kind.dtype, kind.layout, kind.channels_last)


def backend(setting: Setting) -> str:
    """Of torch.compile; the CPU's compiler would take minutes to show nothing."""
    return "inductor" if setting.cuda else "eager"


def main(setting: Setting) -> Iterator[Run]:
    """The batch that the targets are about: everything."""
    there = batches.sets(sized(setting, MAIN), setting.device)
    lines: _Lines = [
        *lines_of(copies, there),
        *lines_of(mixing.cases, there),
        # one batch, which is larger than the cache: each plan that is a constant compiles anew
        *_tried("batchmix", lambda b: [mixing.in_a_graph(b, backend(setting))], there[:1]),
        *_formula(setting, there),
        *_others(there, LIBRARIES),
        *_dali(),
    ]
    yield _table(setting, MAIN, there, lines)


def layouts(setting: Setting) -> Iterator[Run]:
    """The same images in other dtypes and memory layouts."""
    for kind in LAYOUTS if not setting.quick else LAYOUTS[:1]:
        there = batches.sets(sized(setting, kind), setting.device)
        lines: _Lines = [*lines_of(copies, there), *lines_of(_pixels, there)]
        if kind.layout == "NCHW" and kind.dtype != "uint8":
            lines += [*_formula(setting, there), *_others(there, LIBRARIES[:2])]
        yield _table(setting, kind, there, lines)


def small(setting: Setting) -> Iterator[Run]:
    """Small images, where launches and the host count."""
    there = batches.sets(sized(setting, SMALL), setting.device)
    lines: _Lines = [
        *lines_of(copies, there),
        *lines_of(_steps, there),
        *_formula(setting, there),
        *_others(there, LIBRARIES[:2]),
    ]
    yield _table(setting, SMALL, there, lines)


def shapes(setting: Setting) -> Iterator[Run]:
    """Video and sound."""
    for kind in OTHERS:
        there = batches.sets(sized(setting, kind), setting.device)
        yield _table(setting, kind, there, [*lines_of(copies, there), *lines_of(_pixels, there)])


def policies(setting: Setting) -> Iterator[Run]:
    """Plans of every form: a box, a mask, a source, layers."""
    there = batches.sets(sized(setting, MAIN), setting.device)
    kind = Kind("policies", MAIN.shape)
    lines: _Lines = [*lines_of(copies, there), *lines_of(mixing.by_policy, there)]
    yield _table(setting, kind, there, lines)


def normalize(setting: Setting) -> Iterator[Run]:
    """Mixed and normalised at once; the unit is a copy of as many bytes as are read and written."""
    kind = sized(setting, NORMALISED)
    there = batches.sets(kind, setting.device)
    rows, height, width, channels = kind.shape
    shape = (rows, channels, height, width)
    out = torch.zeros(shape, dtype=torch.bfloat16, device=setting.device)
    touched = kind.bytes + out.nbytes  # each byte of a copy is read and written
    flat = Kind("bytes", (rows, touched // 2 // rows), "uint8", "NC")
    units = batches.sets(flat, setting.device)[: len(there)]
    lines: _Lines = [
        *lines_of(copies, units),
        *lines_of(mixing.normalised, there, out),
    ]
    lines += _tried("torch.compile", lambda b: formula.normalised(b, out, backend(setting)), there)
    lines += _tried("torchvision", _torchvision_normalised, there)
    made = Table(NORMALISED.group, kind.shape, touched // 2, _AS_NORMALISED, there[0], lines)
    yield measured(setting, made)


def labels(setting: Setting) -> Iterator[Run]:
    """What comes with the pixels."""
    there = batches.sets(sized(setting, SMALL), setting.device)[:2]
    lines: _Lines = list(lines_of(mixing.labels, there))
    if not isinstance(peers.load("timm"), str):
        lines += lines_of(_timm_labels, there)
    yield _table(setting, Kind("labels, 1000 classes", SMALL.shape, SMALL.dtype), there, lines)


def _table(setting: Setting, kind: Kind, there: Sequence[c.Batch], lines: _Lines) -> Run:
    """Of a kind of batch."""
    kind = sized(setting, kind)
    rounding = ROUNDING[kind.dtype]
    return measured(setting, Table(kind.group, kind.shape, kind.bytes, rounding, there[0], lines))


def _pixels(batch: c.Batch) -> Iterator[c.Case]:
    """batchmix, the pixels alone."""
    for work, policy in mixing.works(batch).items():
        if work in (c.MIXUP_ROWS, c.CUTMIX_ROWS, c.ROWS):
            yield from mixing.pixels(batch, work, policy)


def _steps(batch: c.Batch) -> Iterator[c.Case]:
    """batchmix, whole steps too."""
    yield from _pixels(batch)
    for inplace in (False, True):
        yield mixing.mixer(batch, inplace)
    yield mixing.resident(batch)


def _formula(setting: Setting, there: Sequence[c.Batch]) -> _Lines:
    return _tried("torch.compile", lambda b: formula.cases(b, backend(setting)), there)


def _others(there: Sequence[c.Batch], libraries: Sequence[str]) -> _Lines:
    """Libraries as they are called; what is not installed is a line that says so."""
    lines: _Lines = []
    for name in libraries:
        module = peers.load(name)
        if isinstance(module, ModuleType):
            lines += _tried(name, module.cases, there)
        else:
            lines.append(Absent(name, _not_there(module)))
    return lines


def _dali() -> _Lines:
    """DALI is told of, and has no line: it mixes in its own pipeline, not in a training loop."""
    versions = [v for name, v in libraries().items() if "dali" in name and v]
    why = f"{versions[0]} is installed, and has no line yet" if versions else "not installed"
    return [Absent("DALI", why)]


def _not_there(problem: str) -> str:
    return "not installed" if problem.startswith("ModuleNotFoundError: ") else problem


def _tried(library: str, make: Callable[[c.Batch], Any], there: Sequence[c.Batch]) -> _Lines:
    """Lines that may not even be made, or why there are none."""
    try:
        return list(lines_of(make, there))
    except Exception as problem:
        return [Absent(library, reason(problem))]


def _torchvision_normalised(batch: c.Batch) -> Iterator[c.Case]:
    """Normalise the batch, then MixUp or CutMix of it."""
    from torchvision.transforms import v2

    from images import MEAN, STD, normalise
    from peers.torchvision import with_plan

    widened = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    mixes = [v2.MixUp(num_classes=batch.classes), v2.CutMix(num_classes=batch.classes)]
    mix = v2.RandomChoice(mixes)

    def call() -> Any:
        pixels, soft = mix(widened(batch.x.permute(0, 3, 1, 2)), batch.y)
        return pixels.to(torch.bfloat16), soft

    def seen() -> c.Mixed:
        (pixels, soft), plan = with_plan(call, mixes, len(batch), batch.size)
        return c.Mixed(pixels, plan, soft, finish=normalise)

    yield c.Case("torchvision", c.BOTH, "new array", call, seen)


def _timm_labels(batch: c.Batch) -> Iterator[c.Case]:
    """One lam per row, on the device."""
    from timm.data.mixup import mixup_target

    lam = torch.rand(len(batch), 1, device=batch.x.device)
    soft = partial(mixup_target, batch.y, c.CLASSES, lam)
    yield c.Case("timm", "soft labels", "dense", soft)


PARTS: dict[str, Callable[[Setting], Iterator[Run]]] = {
    "main": main, "normalize": normalize, "labels": labels, "small": small, "policies": policies,
    "layouts": layouts, "shapes": shapes,
}  # fmt: skip
