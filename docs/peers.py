"""Writes what was measured of each library into its page: python docs/peers.py

Each page of docs/peers is written by hand up to the mark. What follows is made here, from
docs/audit.json, benchmarks/results.json, benchmarks/front-door.json and docs/peers_features.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
BENCHMARKS = DOCS.parent / "benchmarks"
sys.path[:0] = [str(DOCS), str(BENCHMARKS)]

from peers_features import OURS, ROWS, THEIRS, VERSIONS  # noqa: E402

from report import Report  # noqa: E402

MARK = "<!-- what peers.py writes -->\n"

Entry = dict[str, Any]


class Peer(NamedTuple):
    """Where a library stands in the audit and in the benchmarks."""

    name: str
    audited: str  # how the names of its entries begin
    ours: str = ""  # and those of what stands in for it here
    library: str = ""  # in the benchmarks; more than one with a *
    groups: tuple[str, ...] = ("float32",)
    file: str = "results.json"


PEERS = {
    "timm": Peer("timm", "timm ", "batchmix for timm", "timm", ("front door",), "front-door.json"),
    "torchvision": Peer(
        "torchvision", "torchvision ", "batchmix for torchvision", "torchvision",
        ("front door",), "front-door.json",
    ),
    "keras": Peer(
        "Keras", "Keras ", "batchmix for Keras", "Keras*",
        ("float32, own process", "JAX", "TensorFlow"),
    ),
    "albumentations": Peer("albumentations", "albumentations "),
    "monai": Peer("MONAI", "MONAI "),
    "ultralytics": Peer("Ultralytics", "Ultralytics "),
    "ffcv": Peer("FFCV", "FFCV's "),
    "fastai": Peer("fastai", "fastai ", "batchmix for fastai", "fastai"),
    "composer": Peer("Composer", "Composer ", "batchmix for Composer", "Composer"),
    "kornia": Peer("kornia", "kornia ", "", "kornia"),
    "datarax": Peer("Datarax", "Datarax ", "batchmix for Datarax", "Datarax", ("JAX, NHWC",)),
}  # fmt: skip

SAYS = {
    "label error": "the label is not the share of the pixels",
    "pixel sum": "pixels are no average of the rows",
    "label sum": "labels do not sum to 1",
    "other dtype": "images come back in another dtype",
    "own partners": "a row is its own partner, share of rows",
    "unmixed rows": "too many rows stay unmixed",
    "writes to inputs": "the batch that is given is written to",
    "global generator": "draws from a generator that all code shares",
    "repeated mixes": "the next pass repeats the mixes of this one",
    "NaN leaks": "a NaN spreads to rows that do not show it, share of rows",
    "changed ids": "ids or masks hold numbers that are not those of the pixels",
}
READ = {
    "own partners": "as in the papers' code",
    "global generator": "a seed for all code governs it, and all code changes it",
    "other dtype": "not wrong; more memory where images were bytes or halves",
}


def found(entries: list[Entry]) -> dict[str, dict[str, float | None]]:
    """Per check that found something: the callables, with the worst number of each."""
    checks: dict[str, dict[str, float | None]] = {}
    for entry in entries:
        for finding in entry["findings"]:
            if finding["verdict"] == "found":
                checks.setdefault(finding["check"], {})[entry["name"]] = finding.get("number")
    return checks


def audited(peer: Peer, entries: list[Entry]) -> str:
    """What the audit found in one library, and in what stands in for it here."""
    theirs = [entry for entry in entries if entry["name"].startswith(peer.audited)]
    head = "## What the audit found\n\n"
    if not theirs:
        return (
            f"{head}{peer.name} was not audited: [here is why]"
            "(../audit.md#what-it-finds-in-other-libraries).\n"
        )
    versions = ", ".join(sorted({entry["version"] for entry in theirs}))
    heads = dict.fromkeys(entry["name"].partition(", ")[0] for entry in theirs)
    tails = dict.fromkeys(entry["name"].partition(", ")[2] for entry in theirs)
    names = ", ".join(f"`{head.removeprefix(peer.audited)}`" for head in heads)
    names += f", each with {', '.join(tails)}" if any(tails) else ""
    lines = [
        "[`batchmix audit`](../audit.md) calls mixing code with images that show whose pixels they "
        f"hold. Version {versions}; audited: {names}. A number is the worst of 16 calls.",
        "",
        "| Found | In | Worst |",
        "|---|---|---:|",
    ]
    checks = found(theirs)
    for (known, where), kinds in _alike(checks).items():
        said = SAYS[known] + (f": {', '.join(kinds)}" if kinds else "")
        said += f" ({READ[known]})" if known in READ else ""
        numbers = [
            number
            for check, at in checks.items() if check.startswith(known) and tuple(at) == where
            for number in at.values() if number is not None
        ]  # fmt: skip
        worst = f"{max(numbers):.2g}" if numbers else ""
        lines.append(f"| {said} | {_short(list(where), theirs, peer)} | {worst} |")
    lines += ["", *_rest(peer, theirs, entries)]
    return head + "\n".join(lines if checks else lines[:1] + lines[4:]) + "\n"


def _alike(checks: dict[str, dict[str, float | None]]) -> dict[tuple[str, tuple[str, ...]], Any]:
    """The kinds of batches of each check that found something in the same callables."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for check, where in checks.items():
        known, _, kind = check.partition(", ")
        groups.setdefault((known, tuple(where)), []).extend([kind] if kind else [])
    return groups


def _short(where: list[str], theirs: list[Entry], peer: Peer) -> str:
    """Names of callables; what differs only after the comma stands together, "all" is all."""
    every = [entry["name"] for entry in theirs if entry["findings"]]
    if len(where) == len(theirs) > 1:
        return "all"
    said = []
    for head in dict.fromkeys(name.partition(", ")[0] for name in where):
        tails, known = (
            [name.partition(", ")[2] for name in names if name.partition(", ")[0] == head]
            for names in (where, every)
        )
        short = head.removeprefix(peer.audited)
        said.append(short if tails == known else f"{short} ({', '.join(tails)})")
    return ", ".join(said)


def _rest(peer: Peer, theirs: list[Entry], entries: list[Entry]) -> list[str]:
    """What is right, what raised, and the same audit of what stands in for it here."""
    lines = []
    clean = [entry["name"] for entry in theirs if entry["findings"] and not found([entry])]
    if clean:
        lines.append(f"Nothing was found in {', '.join(clean)}.")
    right = [name for name in SAYS if not _any(theirs, name, "found") and _any(theirs, name, "ok")]
    if right:
        lines.append(
            f"Checked, and right: {', '.join(right)}. [What each check asks](../audit.md)."
        )
    raised = sorted({
        finding["check"].removeprefix("label error, ")
        for entry in theirs for finding in entry["findings"]
        if finding["verdict"] == "could not run"
    })  # fmt: skip
    if raised:
        lines.append(f"Refused with an exception, in one of them at least: {', '.join(raised)}.")
    for entry in theirs:
        if "could_not_run" in entry:
            said = entry["could_not_run"].partition("raised ")[2].partition(". ")[0]
            lines.append(f"{entry['name']} did not take the plain batch: {said.rstrip('…. ')}.")
    if peer.ours:
        same = [entry for entry in entries if entry["name"].startswith(peer.ours)]
        names = ", ".join(found(same)) or "nothing"
        lines.append(f"The same audit of the classes here that stand in for these found: {names}.")
    return [line for one in lines for line in (one, "")][:-1]


def _any(entries: list[Entry], check: str, verdict: str) -> bool:
    """Whether a check, or one of its kinds, has a verdict somewhere."""
    return any(
        finding["check"].startswith(check) and finding["verdict"] == verdict
        for entry in entries
        for finding in entry["findings"]
    )


def speed(peer: Peer) -> str:
    """Milliseconds of both at each size that was timed, with those where theirs is faster."""
    if not peer.library:
        return f"## Speed\n\n{peer.name} was not timed.\n"
    report = Report.load(BENCHMARKS / peer.file).find(threads=1, allocator="warm")
    rows = [row for group in peer.groups for row in _timed(report, group, peer)]
    faster = sum(row[-1] < 1 for row in rows)
    machine = report.head["machine"]
    lines = [
        f"Whole steps, labels too, with one thread: {machine['cpu']}, {report.head['date']}. "
        "Memory is warm, which is where other libraries are at their best. What is mixed in place "
        "is compared with the same in place, a new array with a new array. Above 1, batchmix is "
        f"faster. {_faster(faster, len(rows), peer.name)}",
        "",
        *FRONT_DOOR[peer.file != "front-door.json" :],
        f"| Batch | MB | Work | Result | {peer.name}, ms | batchmix, ms | times |",
        "|---|---:|---|---|---:|---:|---:|",
    ]
    for shape, size, work, way, theirs, mine, ratio in rows:
        times = f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.1f}"
        cells = shape, f"{size:.1f}", work, way, _ms(theirs), _ms(mine), times
        lines.append(f"| {' | '.join(cells)} |")
    return "## Speed\n\n" + "\n".join(lines) + "\n\n[How it was measured](../speed.md).\n"


def _faster(count: int, of: int, name: str) -> str:
    """How often the other library wins, in words."""
    if not count:
        return f"{name} is faster in none of the {of} rows."
    return f"{name} is faster in {count} of the {of} rows: those in bold."


def _timed(report: Report, group: str, peer: Peer) -> list[tuple[Any, ...]]:
    """Per shape and work that both have: the fastest of each, and the quotient."""
    rows = []
    lines = report.find(group=group).lines
    for shape, size in sorted({(line.shape, line.bytes) for line in lines}, key=lambda at: at[1]):
        for work in dict.fromkeys(line.work for line in lines):
            at = report.find(group=group, shape=shape, work=work)
            theirs = _fastest(at.find(library=peer.library))
            for way, ms in theirs.items():
                mine = _fastest(at.find(library="batchmix")).get(way)
                if mine is not None:
                    where = " x ".join(map(str, shape))
                    name = work if len(peer.groups) == 1 else f"{work} ({GROUPS[group]})"
                    rows.append((where, size / 1e6, name, way, ms, mine, ms / mine))
    return rows


FRONT_DOOR = [
    "Here everything is called as a user calls it, and draws for itself. The machine is slower at "
    "Python than that of [Speed](../speed.md): compare within this table, not with the ones there.",
    "",
]

GROUPS = {"float32, own process": "torch", "JAX": "JAX", "TensorFlow": "TensorFlow"}


def _fastest(report: Report) -> dict[str, float]:
    """The median of the fastest whole step of each way: in place, a new array, jitted."""
    ways: dict[str, float] = {}
    for line in report.lines:
        way = "in place" if line.how.startswith("in place") else "new array"
        way += ", jitted" if "jitted" in line.how else ""
        if line.ms is not None and "pixels only" not in line.how and "out=" not in line.how:
            ways[way] = min(line.median, ways.get(way, line.median))
    return ways


def _ms(median: float) -> str:
    """Milliseconds with two or three digits that count."""
    return f"{median:.{1 if median >= 10 else 2 if median >= 1 else 3}f}"


def features(name: str) -> str:
    """The features table of one library."""
    lines = [f"| | {VERSIONS[name]} | batchmix |", "|---|---|---|"]
    cells = zip(ROWS, THEIRS[name], OURS, strict=True)
    lines += [f"| {row} | {theirs} | {ours} |" for row, theirs, ours in cells]
    return "## Feature by feature\n\n" + "\n".join(lines) + "\n"


def page(name: str, text: str, entries: list[Entry]) -> str:
    """The page with all that is made."""
    peer = PEERS[name]
    parts = features(name), audited(peer, entries), speed(peer)
    return text.partition(MARK)[0] + MARK + "\n" + "\n".join(parts)


def main() -> None:
    """Every page, written again."""
    entries = json.loads((DOCS / "audit.json").read_text())
    for name in PEERS:
        path = DOCS / "peers" / f"{name}.md"
        path.write_text(page(name, path.read_text(), entries))


if __name__ == "__main__":
    main()
