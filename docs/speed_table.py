"""Writes the tables of speed.md from benchmarks/results.json: python docs/speed_table.py."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
BENCHMARKS = DOCS.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from report import Report  # noqa: E402

PAGE, MARK = DOCS / "speed.md", "<!-- what speed_table.py writes -->\n"
SIZES, END = "<!-- by size, as speed_table.py writes it -->\n", "<!-- until here -->\n"
WORKS = ["MixUp, one lam", "CutMix, one box", "MixUp, per row", "both, per row"]
FORMULAS = ("limit", "NumPy formula", "PyTorch formula")  # no libraries
LARGE = ["MixUp, one lam", "CutMix, one box", "both, per row", "uint8 to float32"]
SMALL = ["MixUp, one lam", "both, one draw", "both, per row"]
TABLES = [  # title, groups, shape, works
    ("256 images of 3 x 224 x 224", ("float32", "uint8"), (256, 3, 224, 224), LARGE),
    ("The front door, 128 images of 3 x 32 x 32", ("front door",), (128, 3, 32, 32), SMALL),
]


def tables(report):
    """Milliseconds of the whole step with one thread, and how many times batchmix' fastest."""
    parts = []
    for title, groups, shape, works in TABLES:
        found = report.find(threads=1, shape=shape)
        lines = [row for work in works for row in _rows(found, groups, work)]
        if lines:
            parts.append("\n".join([f"{title}, {_machine(report)}", "", *_HEAD, *lines]))
    return "\n" + "\n\n".join(parts) + "\n"


_HEAD = [
    "| work | library | how | warm ms | times ours | shipped ms | times ours |",
    "|---|---|---|---:|---:|---:|---:|",
]


def _machine(report):
    """Where and when."""
    machine, date = report.head["machine"], report.head["date"]
    return f"the whole step with one thread: {machine['cpu']}, PyTorch {machine['torch']}, {date}."


def _rows(report, groups, work):
    """The lines of one work, the fastest first."""
    warm, shipped = (
        {
            (line.library, line.how): line.median
            for group in groups
            for line in report.find(allocator=allocator, group=group, work=work).lines
            if "pixels only" not in line.how
        }
        for allocator in ("warm", "shipped")
    )
    if not warm:
        return
    best = [min(ms[key] for key in ms if key[0] == "batchmix") for ms in (warm, shipped)]
    digits = 1 if best[0] >= 1 else 2
    for key in sorted(warm, key=warm.get):
        cells = [
            f"{ms[key]:.{digits}f} | {ms[key] / least:.1f}"
            for ms, least in zip((warm, shipped), best, strict=True)
        ]
        yield f"| {' | '.join((work, *key, *cells))} |"


def by_size(report):
    """Per size and work: the fastest of all other libraries, and batchmix, warm, one thread."""
    found = report.find(threads=1, allocator="warm", group="float32")
    lines = ["| images | MB | work | fastest other | ms | batchmix, ms | times |"]
    lines.append("|---|---:|---|---|---:|---:|---:|")
    for shape, size in sorted({(one.shape, one.bytes) for one in found.lines}, key=_by_bytes):
        for work in WORKS:
            steps = [
                one
                for one in found.find(shape=shape, work=work).lines
                if one.ms and one.library not in FORMULAS and "pixels only" not in one.how
            ]
            theirs = min((one for one in steps if one.library != "batchmix"), key=_median)
            ours = min((one for one in steps if one.library == "batchmix"), key=_median)
            times = theirs.median / ours.median
            said = f"**{times:.2f}**" if times < 1 else f"{times:.1f}"
            where, name = " x ".join(map(str, shape)), f"{theirs.library}, {theirs.how}"
            row = where, f"{size / 1e6:.1f}", work, name, _ms(theirs), _ms(ours), said
            lines.append(f"| {' | '.join(row)} |")
    return "\n" + "\n".join(lines) + "\n\n"


def _by_bytes(at):
    return at[1], at[0]


def _median(line):
    return line.median


def _ms(line):
    """Milliseconds with the digits that count."""
    return f"{line.median:.{1 if line.median >= 10 else 2 if line.median >= 1 else 3}f}"


def page(text, report):
    """The page with the tables of a report."""
    head, _, rest = text.partition(MARK)[0].partition(SIZES)
    return head + SIZES + by_size(report) + END + rest.partition(END)[2] + MARK + tables(report)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), Report.load(BENCHMARKS / "results.json")))
