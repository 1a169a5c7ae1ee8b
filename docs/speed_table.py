"""Writes the table of speed.md from benchmarks/results.json: python docs/speed_table.py."""

import json
from pathlib import Path

DOCS = Path(__file__).parent
PAGE, MARK = DOCS / "speed.md", "<!-- what speed_table.py writes -->\n"
SHAPE, GROUPS = [256, 3, 224, 224], ("float32", "uint8")
WORKS = ["MixUp, one lam", "CutMix, one box", "both, per row", "uint8 to float32"]


def table(report):
    """Milliseconds of the whole step with one thread, and how many times batchmix' fastest."""
    warm, shipped = (_medians(report, allocator) for allocator in ("warm", "shipped"))
    lines = ["| work | library | how | warm ms | times ours | shipped ms | times ours |"]
    lines.append("|---|---|---|---:|---:|---:|---:|")
    for work in WORKS:
        found = [key for key in warm if key[0] == work and "pixels only" not in key[2]]
        ours = [key for key in found if key[1] == "batchmix"]
        best = [min(ms[key] for key in ours) for ms in (warm, shipped)]
        for key in sorted(found, key=warm.get):
            times = [ms[key] / least for ms, least in zip((warm, shipped), best, strict=True)]
            lines.append(
                f"| {' | '.join(key)} | {warm[key]:.1f} | {times[0]:.1f} | "
                f"{shipped[key]:.1f} | {times[1]:.1f} |"
            )
    head = f"\n{report_line(report)}\n\n"
    return head + "\n".join(lines) + "\n"


def report_line(report):
    """The machine and the date."""
    machine = report["machine"]
    return (
        f"256 images of 3 x 224 x 224, the whole step with one thread: {machine['cpu']}, "
        f"PyTorch {machine['torch']}, {report['date']}."
    )


def _medians(report, allocator):
    """(work, library, how): milliseconds."""
    return {
        (case["work"], case["library"], case["how"]): case["ms"]["median"]
        for run in report["runs"]
        if (run["threads"], run["allocator"], run["shape"]) == (1, allocator, SHAPE)
        and run["group"] in GROUPS
        for case in run["cases"]
    }


def page(text, report):
    """The page with the table of a report."""
    return text.partition(MARK)[0] + MARK + table(report)


if __name__ == "__main__":
    results = json.loads((DOCS.parent / "benchmarks" / "results.json").read_text())
    PAGE.write_text(page(PAGE.read_text(), results))
