"""A training step with and without mixing: what mixing adds, and whether anything waits for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile, record_function

import batchmix as bm
import cases as c
import peers
from batchmix.fields import Field, Image, Labels
from on_gpu import batches, trace
from on_gpu.batches import ROUNDING
from on_gpu.measure import Absent, Run, Setting, Table, freed, measured, reason
from on_gpu.parts import MAIN, sized
from ours import SWITCH

GROUP = "ResNet-50 step, channels-last, bfloat16"
WORK, MIXING = "training step", "mixing"
KERNELS = "its kernels in the trace"
_TRACED, _SECONDS = 4, 2.0  # steps; seconds of each line
_Step = Callable[[Any, Any], Any]


@dataclass
class Net:
    """A model, and the step that trains it."""

    model: Any
    optimizer: Any
    device: str

    def __call__(self, x: Any, y: Any) -> Any:
        """One step on labels of any form; what is returned is the loss, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, cache_enabled=False):
            loss = cross_entropy(self.model(x).float(), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def net(setting: Setting) -> Net:
    """ResNet-50 of torchvision, or of timm; on the CPU the smallest of them."""
    name = "resnet50" if setting.cuda else "resnet18"
    try:
        from torchvision import models

        model = models.get_model(name, num_classes=c.CLASSES)
    except ImportError:
        import timm

        model = timm.create_model(name, num_classes=c.CLASSES)
    torch.backends.cudnn.benchmark = True  # the fastest step, of which mixing is the largest share
    model = model.to(setting.device, memory_format=torch.channels_last).train()
    return Net(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), setting.device)


def step(setting: Setting) -> Iterator[Run]:
    """The table of the step, with what its trace says."""
    kind = sized(setting, replace(MAIN, channels_last=True))
    there = [batches.batch(kind, setting.device, seed) for seed in range(3)]
    train = net(setting)
    lines = [tuple(_case(train, b, library, how, mix) for b in there)
             for library, how, mix in _mixes()]  # fmt: skip
    group = GROUP if setting.cuda else GROUP.replace("50", "18")
    limited = replace(setting, seconds=_SECONDS if setting.cuda else 0.0)
    absent = [Absent(name, "not installed") for name in ("timm",) if _absent(name)]
    rounding = ROUNDING[kind.dtype]
    run = measured(
        limited, Table(group, kind.shape, kind.bytes, rounding, there[0], [*lines, *absent])
    )
    run["waits"] = waits(setting, there[0])
    run["traces"] = {
        "with": _traced(setting, train, there, mixer(), "step.trace.json.gz"),
        "without": _traced(setting, train, there, lambda pair: pair, "unmixed.trace.json.gz"),
    }
    told = run["traces"]["with"]
    found = told.get("share")
    if found and not found["launches"]:  # a trace of another form; nothing is no small share
        told["failed"] = "no launch of mixing is found in it"
    elif found:
        for how, value in ((KERNELS, found["part"]), ("whole step in the trace", found["step"])):
            ms = dict.fromkeys(("median", "q1", "q3", "min"), value) | {"samples": _TRACED}
            run["cases"].append({"library": "batchmix", "work": MIXING, "how": how, "ms": ms})
    del train
    freed(setting)
    yield run


def _mixes() -> Iterator[tuple[str, str, _Step]]:
    """What comes before the step, of each line."""
    yield "PyTorch", "no mixing", lambda x, y: (x, y)
    yield "batchmix", "Mixer", mixer()
    yield "batchmix", "Mixer, in place", mixer(inplace=True)
    if not _absent("timm"):
        theirs: Any = peers.load("timm")
        yield "timm", "elem, in place", theirs.mixup()
        yield "timm", "batch, in place", theirs.mixup(mode="batch")


def mixer(*, inplace: bool = False) -> bm.Mixer:
    """MixUp or CutMix of each row."""
    fields: dict[int, Field] = {0: Image("NCHW"), 1: Labels(c.CLASSES)}
    return bm.Mixer(SWITCH, fields, seed=0, inplace=inplace)


def _absent(library: str) -> bool:
    return isinstance(peers.load(library), str)


def _case(train: Net, batch: c.Batch, library: str, how: str, mix: Any) -> c.Case:
    """Mix, then train."""
    x = batch.work if "in place" in how else batch.x
    pair = isinstance(mix, bm.Mixer)

    def call() -> Any:
        return train(*(mix((x, batch.y)) if pair else mix(x, batch.y)))

    return c.Case(library, WORK, how, call)


def waits(setting: Setting, batch: c.Batch) -> str | None:
    """What in mixing makes the host wait for the device; None if nothing does."""
    if not setting.cuda:
        return "not measured: no GPU"
    for inplace in (False, True):
        mix, x = mixer(inplace=inplace), batch.work if inplace else batch.x
        mix((x, batch.y))
        try:
            with _no_waiting():
                mix((x, batch.y))
        except RuntimeError as problem:
            return reason(problem)
    return None


@contextmanager
def _no_waiting() -> Iterator[None]:
    """A wait for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _traced(
    setting: Setting, train: Net, there: Sequence[c.Batch], mix: Any, name: str
) -> dict[str, Any]:
    """The share of a step that the kernels of mixing take, and how long the device waits."""
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * setting.cuda]
    count = _TRACED if setting.cuda else 1

    def steps(count: int) -> None:
        for i in range(count):
            batch = there[i % len(there)]
            with record_function(MIXING):
                given = mix((batch.x, batch.y))
            train(*given)
        if setting.cuda:
            torch.cuda.synchronize()

    try:
        steps(count)  # what happens once only
        with profile(activities=activities) as profiler:
            steps(count)
        with tempfile.TemporaryDirectory() as folder:
            path = (setting.out or Path(folder)) / name
            profiler.export_chrome_trace(str(path))
            found = trace.share(trace.load(path), MIXING, count)
    except Exception as problem:
        return {"failed": reason(problem)}
    return {"file": name if setting.out else None, "share": found and found._asdict()}
