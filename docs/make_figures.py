"""Makes the figures of the documentation: python docs/make_figures.py

No network and no choice: the rows are scikit-learn's digits, by seed, and pieces of its two
photographs. compare.png is drawn from the report.json of `batchmix compare` that is kept as
benchmarks/evidence/digits.json; make_explore_figure.py makes those of the page.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import label, median_filter
from sklearn.datasets import load_sample_images

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli._output import write
from batchmix.cli._words import parse
from batchmix.cli.lab.data.digits import Memory
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.show import figure, pictures
from batchmix.cli.show.record import of_json
from batchmix.cli.show.shown import Batch, Shown, Source, choose, open_source
from batchmix.policies import (
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
BATCH = choose(open_source("digits"), 8, Mixing())
BOTH = Switch([MixUp(0.8), CutMix(1.0)])
_SIDE, _PIECE = 112, 230  # px shown, of so many
_CORNERS = (((60, 10), (90, 150)), ((100, 40), (60, 230)), ((90, 110), (130, 100)))


def _photographs() -> Batch:
    """Six pieces of scikit-learn's photographs, of a temple and of a flower in turns."""
    photographs = load_sample_images().images
    pieces = [
        photo[top : top + _PIECE, left : left + _PIECE]
        for corners in _CORNERS
        for photo, (top, left) in zip(photographs, corners)
    ]
    x = np.stack([np.asarray(Image.fromarray(p).resize((_SIDE, _SIDE))) for p in pieces])
    y = np.arange(len(x)) % 2
    rows = Rows([f"piece {k}" for k in y], y, Memory(x))
    task = Task("classes", ("temple", "flower"))
    source = Source(Data("photographs", "", "image", task, rows, shape=x.shape[1:]))
    return Batch(source, x, y, Mixing())


PHOTOGRAPHS = _photographs()


def shown(
    name: str,
    policy: Policy,
    key: bm.Key = bm.Key(0),  # noqa: B008  an immutable value
    pairing: bm.pairing.Pairing = bm.pairing.Derangement(),  # noqa: B008  an immutable value
    batch: Batch = BATCH,
    hints: Mapping[str, Any] | None = None,
) -> Shown:
    """A policy on the rows of a figure."""
    plan = bm.draw(policy, key, len(batch), batch.size, pairing=pairing, hints=hints)
    return batch.apply(name, plan)


def photographs(title: str, hints: Mapping[str, Any] | None = None, **policies: Policy) -> bytes:
    """Policies on the photographs; neighbours are partners, so that classes differ."""
    roll = bm.pairing.Roll(1)
    names = {name.replace("_", " "): policy for name, policy in policies.items()}
    drawn = [shown(name, p, bm.Key(5), roll, PHOTOGRAPHS, hints) for name, p in names.items()]
    content = pictures.rows(title, drawn)
    return _fewer_colours(content) if content else content


def _fewer_colours(content: bytes) -> bytes:
    """A third of the bytes."""
    made, whole = io.BytesIO(), Image.open(io.BytesIO(content)).convert("RGB")
    whole.quantize(palette=whole.quantize(256)).save(made, "png", optimize=True)
    return made.getvalue()


def figures() -> dict[str, bytes]:
    """Every figure by its name."""
    entries = parse("none smooth:0.1 mixup:1 cutmix:1")
    off = Schedule.off_after(BOTH, epoch=90)
    mutual = bm.pairing.Reverse()
    return {
        "mixup.png": pictures.rows("MixUp(1.0)", [shown("MixUp", MixUp(1.0))]),
        "cutmix.png": pictures.rows("CutMix(1.0)", [shown("CutMix", CutMix(1.0))]),
        "switch-rows.png": pictures.rows(
            "Switch([MixUp(0.8), CutMix(1.0)])", [shown("Switch", BOTH)]
        ),
        "sometimes.png": pictures.rows(
            "Sometimes(CutMix(1.0), prob=0.5)", [shown("Sometimes", Sometimes(CutMix(1.0), 0.5))]
        ),
        "sharing.png": pictures.rows(
            "The same rows and partners: one draw per row, per pair, per batch",
            [
                shown("per row", CutMix(1.0), pairing=mutual),
                shown("PerPair", PerPair(CutMix(1.0)), pairing=mutual),
                shown("PerBatch", PerBatch(CutMix(1.0)), pairing=mutual),
            ],
        ),
        "schedule.png": pictures.rows(
            "Schedule.off_after(policy, epoch=90)",
            [shown(f"epoch {n}", off, bm.Key(0, epoch=n)) for n in (89, 90)],
        ),
        "resizemix.png": photographs("ResizeMix()", ResizeMix=ResizeMix()),
        "fmix.png": photographs(
            "FMix(decay=3), and decay=1.5", FMix=FMix(), ragged=FMix(decay=1.5)
        ),
        "gridmix.png": photographs(
            "GridMix(4), and GridMix(14)", GridMix=GridMix(), cells_14=GridMix(14)
        ),
        "smoothmix.png": photographs("SmoothMix()", SmoothMix=SmoothMix()),
        "columns.png": pictures.rows("Columns(0.3)", [shown("Columns", Columns(0.3))]),
        "layers.png": photographs(
            "Layers([MixUp(0.8), CutMix(1.0)]), and three times CutMix",
            Layers=Layers([MixUp(0.8), CutMix(1.0)]),
            three_boxes=Layers([CutMix(1.0)] * 3),
        ),
        "mosaic.png": photographs(
            "Mosaic(), and RICAP: Mosaic('crop', beta=0.3)",
            Mosaic=Mosaic(),
            RICAP=Mosaic("crop", beta=0.3),
        ),
        **_read(),
        "mixup-alpha.png": pictures.alphas("MixUp(alpha)", BATCH, parse("mixup:1")),
        "cutmix-alpha.png": pictures.alphas("CutMix(alpha)", BATCH, parse("cutmix:1")),
        "labels.png": pictures.labels("Soft labels of the digits", BATCH, entries),
    }


def _read() -> dict[str, bytes]:
    """Those of policies that look at the rows, and of one that changes."""
    x = PHOTOGRAPHS.x
    shades = median_filter(np.digitize(x.mean(-1), [70, 150]), (1, 5, 5))  # dark, grey, light
    temple, flower = x.mean(-1) < 130, x[..., 0] > 1.3 * x[..., 1]
    things = np.where((PHOTOGRAPHS.y == 0)[:, None, None], temple, flower)
    instances = np.stack([label(median_filter(one, 9))[0] for one in things])
    rare = ReMix(MixUp(1.0), counts=[900, 100] * 5)
    ramp = Ramp(MixUp(dominant=True), "alpha", 0.1, 8, last=90)
    return {
        "saliencymix.png": photographs(
            "SaliencyMix(1.0)", {"image": x}, SaliencyMix=SaliencyMix(1.0)
        ),
        "classmix.png": photographs(
            "ClassMix(), classes: dark, grey, light", {"mask": shades}, ClassMix=ClassMix()
        ),
        "copypaste.png": photographs(
            "CopyPaste(0.7, min_area=300), instances: temples and flowers",
            {"instances": instances},
            CopyPaste=CopyPaste(0.7, min_area=300),
        ),
        "remix.png": pictures.rows(
            "ReMix(MixUp(1.0), counts=[900, 100] * 5)",
            [shown("ReMix", rare, hints={"label": BATCH.y})],
        ),
        "ramp.png": pictures.rows(
            'Ramp(MixUp(dominant=True), "alpha", 0.1, 8, last=90)',
            [shown(f"epoch {n}", ramp, bm.Key(0, epoch=n)) for n in (0, 45, 90)],
        ),
    }


def compared() -> bytes:
    """What the comparison found, as it is kept."""
    return figure.figure(of_json(json.loads(COMPARED.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    made = figures() | ({"compare.png": compared()} if COMPARED.exists() else {})
    for name, content in made.items():
        write(HERE / name, content)
        print(HERE / name)
