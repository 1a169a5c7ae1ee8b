"""Makes the figures of the documentation, for light and dark pages: python docs/make_figures.py

No network. NAME-dark.png is NAME.png for a dark page. The rows are the photographs that come with
batchmix, and keys were chosen whose shares are well seen: the figures of alpha show how they really
spread. A comparison is that of scikit-learn's digits which benchmarks/evidence keeps.
make_explore_figure.py makes those of the explorer's page. Names as arguments: only these.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit_figure import worst_call
from audit_matrix import matrices
from detection_pictures import FIGURES as DETECTION
from gallery import gallery
from make_sounds import figures as sounds
from photographs import FIVE, THEMES, Draw, instances, photographs, shades, shown, small
from preview_pictures import previews
from segmentation_figure import segmentation
from table_figure import table

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli._output import write
from batchmix.cli._words import parse
from batchmix.cli.show import figure, pictures
from batchmix.cli.show.opened import choose, open_source
from batchmix.cli.show.record import of_json
from batchmix.cli.show.report import Report
from batchmix.cli.show.shown import Shown
from batchmix.policies import (
    Blend,
    ClassMix,
    Columns,
    CopyPaste,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    PerBatch,
    PerPair,
    Policy,
    Ramp,
    ReMix,
    ResizeMix,
    SaliencyMix,
    Schedule,
    SmoothMix,
    Sometimes,
    Switch,
)

HERE = Path(__file__).parent / "figures"
COMPARED = HERE.parents[1] / "benchmarks" / "evidence" / "digits.json"
BOTH = Switch([MixUp(0.8), CutMix(1.0)])


def rows(title: str, *lines: Shown, scale: float = 0.7, colours: int = 128) -> Draw:
    """The rows, their partners, and what each of the lines makes of them; of one, its mask too."""
    several = len(lines) > 1
    return lambda theme: small(
        pictures.rows(title, lines, theme, only_mixed=several), scale, colours
    )


def policies(
    title: str, hints: Mapping[str, Any] | None = None, seed: int = 5, **lines: Policy
) -> Draw:
    """Policies on the five photographs, each by its name."""
    made = (shown(name, p, bm.Key(seed), hints=hints) for name, p in lines.items())
    return rows(title, *made, colours=128 if len(lines) == 1 else 64)


def figures() -> dict[str, Draw]:
    """Every figure by its name."""
    digits = choose(open_source("digits"), 8, Mixing())
    off, mutual = Schedule.off_after(BOTH, epoch=90), bm.pairing.Reverse()
    fade = {"Ramp": Ramp(MixUp(dominant=True), "alpha", 0.1, 8, last=90)}
    cut, four = CutMix(1.0), photographs("cat-0", "flower-1", "temple-1", "coffee-1")
    return {
        "hero": rows(
            "", shown("CutMix", cut, bm.Key(7)), shown("MixUp", MixUp(1.0), bm.Key(404)),
            scale=0.8, colours=256,
        ),
        "mixup": policies("MixUp(1.0)", seed=404, MixUp=MixUp(1.0)),
        "cutmix": policies("CutMix(1.0)", seed=7, CutMix=cut),
        "blend": rows(
            "Blend(0.45, 0.55)", shown("Blend", Blend(), bm.Key(5)), scale=0.6, colours=64
        ),
        "switch-rows": policies("Switch([MixUp(0.8), CutMix(1.0)])", seed=18, Switch=BOTH),
        "sometimes": policies("Sometimes(CutMix(1.0), prob=0.5)", Sometimes=Sometimes(cut, 0.5)),
        "sharing": rows(
            "The same rows and partners: one draw per row, per pair, per batch",
            *(
                shown(name, policy, bm.Key(7), mutual, four)
                for name, policy in (
                    ("per row", cut), ("PerPair", PerPair(cut)), ("PerBatch", PerBatch(cut)),
                )
            ),
        ),
        "schedule": _epochs("Schedule.off_after(policy, epoch=90)", off, (89, 90)),
        "ramp": _epochs(
            'Ramp(MixUp(dominant=True), "alpha", 0.1, 8, last=90)', fade["Ramp"], (0, 45, 90)
        ),
        "resizemix": policies("ResizeMix()", ResizeMix=ResizeMix()),
        "fmix": policies(
            "FMix(decay=3), and decay=1.5", **{"decay 3": FMix(), "decay 1.5": FMix(decay=1.5)}
        ),
        "gridmix": policies(
            "GridMix(4), and GridMix(12)", **{"4 x 4": GridMix(), "12 x 12": GridMix(12)}
        ),
        "smoothmix": policies("SmoothMix()", SmoothMix=SmoothMix()),
        "columns": rows("Columns(0.3)", shown("Columns", Columns(0.3), batch=digits)),
        "table": lambda theme: small(table(theme), colours=32),
        "layers": policies(
            "Layers([MixUp(0.8), CutMix(1.0)]), and three times CutMix",
            **{"MixUp, then\nCutMix": Layers([MixUp(0.8), cut]), "three boxes": Layers([cut] * 3)},
        ),
        "mosaic": policies(
            "Mosaic(), and RICAP: Mosaic('crop', beta=0.3)",
            Mosaic=Mosaic(), RICAP=Mosaic("crop", beta=0.3),
        ),
        **_read(),
        **_spread(),
        "segmentation": segmentation,
        **DETECTION,
        "compare": lambda theme: small(figure.figure(_compared(), theme), 0.8, 64),
        **{f"gallery-{name}": draw for name, draw in gallery().items()},
        **sounds(),
        **worst_call(),
        **matrices(),
        **previews(),
    }  # fmt: skip


def _compared() -> Report:
    """What the comparison found, as it is kept."""
    return of_json(json.loads(COMPARED.read_text(encoding="utf-8")))


def _epochs(title: str, policy: Policy, epochs: Sequence[int]) -> Draw:
    """One policy in some epochs."""
    lines = [shown(f"epoch {n}", policy, bm.Key(0, epoch=n)) for n in epochs]
    return rows(title, *lines, colours=64)


def _read() -> dict[str, Draw]:
    """Those of policies that look at the rows."""
    x = FIVE.x
    things = photographs("flower-0", "astronaut-0", "retina-0", "flower-2", "astronaut-3")
    rare = ReMix(MixUp(1.0), counts=[900, 100] * 4)
    return {
        "saliencymix": policies("SaliencyMix(1.0)", {"image": x}, SaliencyMix=SaliencyMix(1.0)),
        "classmix": policies(
            "ClassMix(), classes: dark, grey, light", {"mask": shades(x)}, ClassMix=ClassMix()
        ),
        "copypaste": rows(
            "CopyPaste(0.7, min_area=300)",
            shown(
                "CopyPaste", CopyPaste(0.7, min_area=300), bm.Key(5), batch=things,
                hints={"instances": instances(things.x)},
            ),
        ),
        "remix": rows(
            "ReMix(MixUp(1.0), counts=[900, 100] * 4)",
            shown("ReMix", rare, bm.Key(404), hints={"label": FIVE.y}),
        ),
    }  # fmt: skip


def _spread() -> dict[str, Draw]:
    """How shares and labels spread."""
    entries = parse("none smooth:0.1 mixup:1 cutmix:1")
    made: dict[str, Draw] = {
        f"{name}-alpha": lambda theme, name=name, title=title: small(
            pictures.alphas(title, FIVE, parse(f"{name}:1"), theme), 0.7
        )
        for name, title in (("mixup", "MixUp(alpha)"), ("cutmix", "CutMix(alpha)"))
    }
    return made | {
        "labels": lambda theme: small(pictures.labels("Soft labels", FIVE, entries, theme), 0.8),
    }


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for name, draw in figures().items():
        for suffix, theme in THEMES.items() if not wanted or name in wanted else ():
            path = HERE / f"{name}{suffix}.png"
            write(path, draw(theme))
            print(path)
