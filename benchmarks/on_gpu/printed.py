"""The tables as they are printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from report import Line, Report
from tables import Grid, milliseconds, spread, verdict
from targets import times

_NOTE = (
    "GPU ms: median of device time per call and quartiles, behind a full queue, caches cold. "
    "x copy: over the copy of as many bytes. GB/s: twice the bytes of the batch over that time. "
    "host ms: until the call returns."
)
_ON_CPU = (
    "TRIED ON A CPU, with tiny batches: everything runs. These are no figures of a GPU, and no "
    "target is judged by them."
)


def title(content: Mapping[str, Any]) -> str:
    """Where and with what."""
    machine = content["machine"]
    there = [f"{name} {version}" for name, version in content["libraries"].items() if version]
    absent = [name for name, version in content["libraries"].items() if not version]
    gpu = machine["gpu"]
    where = f"{gpu['name']}, {gpu['memory_gib']:g} GiB" if gpu else _ON_CPU
    return (
        f"{content['command']}, {content['date']}\n{where}\n{machine['cores']} cores, Python "
        f"{machine['python']}, PyTorch {machine['torch']} (CUDA {machine['cuda']}), batchmix "
        f"{machine['batchmix']} {machine['kernels']}; {', '.join(there)}. Not installed: "
        f"{', '.join(absent) or 'nothing'}.\n{_NOTE if gpu else ''}"
    )


def grid(table: Report, device: str = "cuda") -> Grid:
    """Lines of one work together, fastest first."""
    first = table.lines[0]
    copy = table.median(library="limit")
    works = list(dict.fromkeys(line.work for line in table.lines))
    rows = [
        [
            line.work, line.library, line.how,
            spread(line),
            f"{line.median / copy:.2f}" if copy and line.ms else "",
            _rate(line) if copy else "",
            milliseconds(line.host_ms) if line.ms else "",
            verdict(line),
        ]
        for line in sorted(table.lines, key=lambda line: (works.index(line.work), line.median))
    ]  # fmt: skip
    clock = "GPU ms" if device == "cuda" else "CPU ms"
    headings = ["work", "library", "how", clock, "x copy", "GB/s", "host ms", "check"]
    return Grid(f"{first.group}, {times(first.shape)}", headings, rows)


def _rate(line: Line) -> str:
    """Bytes read and written, if each is touched once."""
    return f"{2 * line.bytes / line.median / 1e6:.0f}" if line.ms and line.median else ""


def notes(content: Mapping[str, Any]) -> Iterator[str]:
    """What is no table: parts that failed, waits, the share of a step."""
    for name, part in content["parts"].items():
        if "failed" in part:
            yield f"part {name} failed: {part['failed']}"
    for run in content["runs"]:
        if "waits" in run:
            yield f"What mixing waits for: {run['waits'] or 'nothing'}"
        for how, found in run.get("traces", {}).items():
            if "failed" in found:
                yield f"The trace {how} mixing failed: {found['failed']}"
            elif found.get("share"):
                yield f"The trace {how} mixing: {_share(found['share'])}"


def _share(share: Mapping[str, float]) -> str:
    """Of one step."""
    percent = 100 * share["part"] / share["step"]
    return (
        f"a step takes {share['step']:.3g} ms, the kernels of mixing {share['part']:.3g} ms of it "
        f"({percent:.2g} %) in {share['launches']:g} launches; the device idles "
        f"{share['idle']:.3g} ms."
    )
