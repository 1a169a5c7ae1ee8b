"""`batchmix stats`: how much a policy pastes with its settings, before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._mixing import PAIRINGS, Pairs
from batchmix.cli._output import MOST_SEED, AsJson, Quiet, check_folder, print_json, shown, write
from batchmix.cli._words import KNOWN, check_unseen, parse

if TYPE_CHECKING:
    from batchmix._stats import Stats

_MOST_CELLS, _MOST_ROWS, _MOST_POLICIES = 65536, 10_000_000, 64
_BINS = 12  # of the histogram in the table, so that it fits 80 columns


def stats(
    policies: Annotated[
        list[str],
        Argument(metavar="POLICY", help=f"As for compare: {KNOWN}."),
    ],
    size: Annotated[str, Option(help="Cells: N for N x N, HxW, or DxHxW.")] = "32",
    pairing: Annotated[Pairs, Option(help="Who is whose partner.")] = "derangement",
    batch_size: Annotated[int, Option(min=1, help="Rows of a plan.")] = 64,
    batches: Annotated[int, Option(min=1, help="Plans that are drawn.")] = 1024,
    seed: Annotated[int, Option(min=0, max=MOST_SEED, help="Of the plans.")] = 0,
    margin: Annotated[
        float, Option(min=0.0, max=0.5, help="Own weights this close to 0 or 1 are nearly unmixed.")
    ] = 0.05,
    out: Annotated[Path, Option(help="Folder for stats.png.")] = Path("batchmix-stats"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Count what settings really do: pasted share, unmixed rows, own partners, weights.

    Nothing is trained and no data is read. Prints a table and writes stats.png.
    """
    words = " ".join(policies)
    _check_count("POLICY", len(words.split()), _MOST_POLICIES, "policies")
    entries, cells = parse(words, "POLICY"), _cells(size)
    check_unseen(entries, "POLICY")
    _check_count("--batches", batches * batch_size, _MOST_ROWS, "rows")
    check_folder(out)

    import batchmix as bm

    found = {
        entry.name: bm.stats(
            entry.policy, cells, batch=batch_size, batches=batches, pairing=PAIRINGS[pairing],
            seed=seed, margin=margin,
        )
        for entry in entries
    }  # fmt: skip
    title = (
        f"{' x '.join(map(str, cells.values()))} cells, {batches} batches of {batch_size}, "
        f"{pairing}"
    )
    write(out / "stats.png", histograms(title, found))
    if as_json:
        how = {"size": cells, "batches": batches, "batch_size": batch_size, "pairing": pairing}
        how |= {"seed": seed, "margin": margin}
        counted = [{"policy": name} | _numbers(one) for name, one in found.items()]
        print_json(how | {"policies": counted, "files": [out / "stats.png"]})
    else:
        _print(title, found, quiet)
        print(shown(out / "stats.png"))


def _numbers(found: Stats) -> dict[str, Any]:
    """Shares of 0..1, as in the table."""
    low, middle, high = found.quantiles(0.05, 0.5, 0.95)
    return {
        "pasted": found.pasted,
        "own_weight": {"5": low, "50": middle, "95": high},
        "unmixed": found.unmixed,
        "own_partner": found.self_pairs,
        "empty_box": found.empty,
        "left_alone": found.alone,
        "nearly_unmixed": found.nearly,
        "histogram": found.histogram().tolist(),
    }


def _check_count(option: str, count: int, most: int, what: str) -> None:
    """All that is asked for fits into memory and into one figure."""
    if count > most:
        raise mix_error(
            option,
            f"that makes {count:,} {what}.",
            f"At most {most:,} are counted.",
            "Ask for less.",
        )


def _cells(text: str) -> dict[str, int]:
    """Cells per axis."""
    try:
        numbers = [int(word) for word in text.lower().split("x")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(1 <= n <= _MOST_CELLS for n in numbers):
        raise mix_error(
            "--size", f"got {text!r}.", f"It is N, HxW or DxHxW, each 1..{_MOST_CELLS}.",
            "Try --size 32.",
        )  # fmt: skip
    numbers = numbers * 2 if len(numbers) == 1 else numbers
    return dict(zip("DHW"[-len(numbers) :], numbers))


def _print(title: str, found: dict[str, Stats], quiet: bool) -> None:
    """A line per policy, and what the columns are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=0,
    )  # fmt: skip
    headings = (
        "policy\n", "pasted\n%", "own weight\n5 %..50 %..95 %", "unmixed\n%", "own\npair",
        "empty\nbox", "nearly\n%", "own weight\n0 .. 1",
    )  # fmt: skip
    for heading in headings:
        left = heading == headings[0]
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for name, s in found.items():
        low, middle, high = s.quantiles(0.05, 0.5, 0.95)
        shares = (s.unmixed, s.self_pairs, s.empty, s.nearly)
        table.add_row(
            name, f"{100 * s.pasted:.1f}", f"{low:.2f}..{middle:.2f}..{high:.2f}",
            *(f"{100 * share:.1f}" for share in shares), _bars(s.sparkline(_BINS)),
        )  # fmt: skip
    console = Console()
    console.print(table)
    if not quiet:
        console.print(
            "\npasted: mean weight of the partner. unmixed: own weight 1, among them rows that are "
            "their own pair or whose box is empty. nearly: mixed, own weight within "
            f"{s.margin:g} of 0 or 1.\n",
            style="dim", highlight=False,
        )  # fmt: skip


def _bars(line: str) -> str:
    """A line of bars; heights 1..8 as digits where the output has no such characters."""
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return line.translate(str.maketrans("▁▂▃▄▅▆▇█", "12345678"))
    return line


def histograms(title: str, found: dict[str, Stats]) -> bytes:
    """A PNG: a histogram of the own weight per policy, unmixed rows in grey."""
    import io

    import numpy as np
    from matplotlib.figure import Figure

    from batchmix.cli.show.theme import LIGHT

    canvas = Figure(figsize=(6, 1.5 * len(found) + 0.8), layout="constrained")
    canvas.suptitle(f"Weight of a row's own content ({title})", x=0.01, ha="left", fontsize=9)
    for axes, (name, s) in zip(canvas.subplots(len(found), 1, squeeze=False)[:, 0], found.items()):
        edges = np.linspace(0, 1, 41)
        parts = [s.lam[s.lam < 1], s.lam[s.lam == 1]]
        shares = [np.full(len(part), 100 / len(s.lam)) for part in parts]
        axes.hist(parts, edges, weights=shares, stacked=True, color=[LIGHT["own"], "#999999"])
        axes.axvline(1 - s.pasted, color=LIGHT["partner"], lw=1.5)
        axes.set_title(
            f"{name}: pasted {s.pasted:.2f}, unmixed {s.unmixed:.1%}, nearly {s.nearly:.1%}",
            loc="left", fontsize=8,
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylabel("% of rows", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=150)
    return content.getvalue()
