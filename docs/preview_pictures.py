"""Figures of `batchmix preview` for other data than images alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from photographs import Draw, small
from PIL import Image, ImageDraw

from batchmix.cli._mixing import Mixing
from batchmix.cli._words import parse
from batchmix.cli.lab import data
from batchmix.cli.show import pictures
from batchmix.cli.show.opened import choose, open_source
from batchmix.cli.show.shown import Batch, Shown

PHOTOS = Path(data.__file__).with_name("photos")
SIDE = 192
# outlines of what is in some of the photographs, x and y
OUTLINES: Mapping[str, Sequence[tuple[str, Sequence[int]]]] = {
    "astronaut-3": [
        ("person", (0, 88, 10, 75, 16, 30, 40, 8, 72, 14, 86, 50, 82, 88, 112, 150, 118, 190)),
        ("shuttle", (116, 104, 130, 45, 146, 2, 158, 40, 164, 136, 130, 138)),
    ],
    "coffee-0": [
        ("cup", (30, 28, 60, 10, 110, 8, 142, 32, 140, 80, 120, 118, 70, 128, 40, 146, 42, 100)),
        ("spoon", (104, 122, 124, 80, 143, 32, 150, 34, 138, 100, 142, 140, 120, 156, 104, 146)),
    ],
    "flower-0": [
        ("flower", (24, 100, 40, 54, 90, 32, 136, 48, 157, 98, 142, 146, 96, 168, 46, 150)),
    ],
    "rocket-0": [
        ("rocket", (90, 182, 92, 70, 97, 57, 103, 70, 104, 182)),
        ("tower", (148, 168, 152, 56, 156, 56, 164, 168)),
        ("tower", (30, 166, 38, 86, 43, 86, 47, 166)),
    ],
}  # fmt: skip
CLASSES = sorted({name for parts in OUTLINES.values() for name, _ in parts})


@contextmanager
def scenes() -> Iterator[Path]:
    """images/, instances.json and masks/ of the photographs."""
    images, annotations = [], []
    with tempfile.TemporaryDirectory() as made:
        top = Path(made)
        for name in ("images", "masks"):
            (top / name).mkdir()
        for number, (name, parts) in enumerate(OUTLINES.items()):
            file = f"{name.partition('-')[0]}.png"
            with Image.open(PHOTOS / name.partition("-")[0] / f"{name}.jpg") as photo:
                photo.save(top / "images" / file)
            images.append({"id": number, "file_name": file, "height": SIDE, "width": SIDE})
            mask = Image.new("L", (SIDE, SIDE))
            for part, outline in parts:
                points = np.reshape(outline, (-1, 2))
                low, high = points.min(0), points.max(0)
                label = CLASSES.index(part)
                annotations.append({
                    "image_id": number, "category_id": label, "segmentation": [list(outline)],
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                })  # fmt: skip
                ImageDraw.Draw(mask).polygon([tuple(p) for p in points.tolist()], fill=label + 1)
            mask.save(top / "masks" / file)
        names = [{"id": k, "name": name} for k, name in enumerate(CLASSES)]
        held = {"images": images, "annotations": annotations, "categories": names}
        (top / "instances.json").write_text(json.dumps(held))
        yield top


def table() -> Batch:
    """Rows of a table of people."""
    rng = np.random.default_rng(1)
    lines = ["age,height,town,smokes,income,pressure"]
    for _ in range(40):
        age, tall = rng.integers(20, 80), rng.normal(170, 9)
        town, smokes = rng.choice(["Oslo", "Lima", "Kyoto"]), rng.choice(["yes", "no"])
        pressure = 90 + 0.6 * age + 12 * (smokes == "yes")
        lines.append(f"{age},{tall:.0f},{town},{smokes},{rng.integers(20, 90)}000,{pressure:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "people.csv")
        path.write_text("\n".join(lines))
        return choose(open_source(str(path), target="pressure"), 8, Mixing())


def boxes() -> Batch:
    """The photographs with their boxes."""
    with scenes() as top:
        source = open_source(str(top / "images"), None, None, top / "instances.json")
        return choose(source, 4, Mixing(pairing="roll"))


def masks() -> Batch:
    """The photographs with their masks."""
    with scenes() as top:
        source = open_source(str(top / "images"), masks=top / "masks")
        return choose(source, 4, Mixing(pairing="roll"))


def rows(batch: Batch, words: str, title: str, scale: float, colours: int, first: int) -> Draw:
    """What policies make of the rows."""
    shown: list[Shown] = [batch.show(entry) for entry in parse(words, seen=batch.beside.hints)]
    return lambda theme: small(
        pictures.rows(title, shown, theme, only_mixed=True, first=first), scale, colours
    )


def previews() -> dict[str, Draw]:
    """Figures by their names."""
    return {
        "preview-boxes": rows(boxes(), "cutmix:1 copypaste:0.7", "images, seed 0", 0.62, 44, 2),
        "preview-masks": rows(masks(), "classmix", "images, seed 0", 0.6, 40, 3),
        "preview-table": rows(table(), "mixup:1 columns:0.3", "people.csv, seed 0", 0.8, 32, 3),
    }
