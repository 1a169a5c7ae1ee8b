"""Draws what the page "Try it" shows: a picture and a label for each of its settings.

`mkdocs build` runs it (hooks: docs/make_try.py), so that nothing of it is stored; to look at the
files alone: python docs/make_try.py FOLDER
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import batchmix as bm
from batchmix import policies
from batchmix.cli._mixing import Mixing
from batchmix.cli.show.opened import choose, open_source
from batchmix.cli.show.shown import Batch

SIDE, GAP, ROWS, STEPS = 128, 8, 5, 5  # px of a row as it is shown, and between rows
ALPHAS = (0.1, 0.2, 0.4, 1, 2, 8)
_NEVER = (None,)  # of policies that have no alpha
# {} is alpha
POLICIES = {
    "CutMix": ("CutMix({})", ALPHAS),
    "MixUp": ("MixUp({})", ALPHAS),
    "MixUp or CutMix": ("Switch([MixUp({}), CutMix({})])", ALPHAS),
    "FMix": ("FMix({})", ALPHAS),
    "GridMix": ("GridMix(alpha={})", ALPHAS),
    "ResizeMix": ("ResizeMix()", _NEVER),
    "SmoothMix": ("SmoothMix()", _NEVER),
    "Mosaic": ("Mosaic()", _NEVER),
}


def code(call: str, step: int) -> str:
    """The line that draws the plan of a setting."""
    return f'plan = bm.draw({call}, bm.Key(seed=0, step={step}), {ROWS}, {{"H": 192, "W": 192}})'


def name(policy: str, alpha: float | None, step: int) -> str:
    """The name of the picture of a setting; try.js writes the same."""
    words = [policy.lower().replace(" ", "-"), *([] if alpha is None else [f"{alpha:g}"])]
    return "-".join([*words, str(step)])


@cache
def batch() -> Batch:
    """The first photographs, one of each class."""
    return choose(open_source("photos"), ROWS, Mixing())


def settings() -> Iterator[tuple[str, str, bm.Plan]]:
    """(name, code, plan) of everything that can be chosen."""
    for policy, (call, alphas) in POLICIES.items():
        for alpha in alphas:
            for step in range(STEPS):
                text = code(call if alpha is None else call.replace("{}", f"{alpha:g}"), step)
                names: dict[str, Any] = {"bm": bm, **vars(policies)}
                exec(text, names)
                yield name(policy, alpha, step), text, names["plan"]


def strip(rows: Any) -> bytes:
    """Rows beside each other, as WebP."""
    made, side = io.BytesIO(), (SIDE, SIDE)
    whole = Image.new("RGBA", (len(rows) * (SIDE + GAP) - GAP, SIDE))
    for i, row in enumerate(rows):
        small = Image.fromarray(row).resize(side, Image.Resampling.LANCZOS)
        whole.paste(small, (i * (SIDE + GAP), 0))
    whole.save(made, "webp", quality=80, method=4)
    return made.getvalue()


def files() -> Iterator[tuple[str, bytes]]:
    """Every file of the page by its name."""
    rows, views = batch(), {}
    names = [rows.name(i) for i in range(ROWS)]
    yield "rows.webp", strip(rows.x)
    for title, text, plan in settings():
        shown = rows.apply(title, plan)
        yield f"{title}.webp", strip(shown.mixed)
        parts = [
            [[part.name, round(part.share, 3), part.whose] for part in shown.parts(row)]
            for row in range(ROWS)
        ]
        partners = [names[k] for k in plan.partner.tolist()]
        views[title] = {"code": text, "parts": parts, "partners": partners}
    for step in range(STEPS):
        plan = bm.draw(None, bm.Key(seed=0, step=step), ROWS, rows.size)
        yield f"partners-{step}.webp", strip(rows.x[np.asarray(plan.partner)])
    offered = {
        policy: alphas if alphas != _NEVER else [] for policy, (_, alphas) in POLICIES.items()
    }
    document = {"policies": offered, "steps": STEPS, "rows": names, "views": views}
    yield "settings.json", json.dumps(document, separators=(",", ":")).encode()


def on_files(files_of_site: Any, config: Any) -> Any:
    """For mkdocs: the files stand beside the page."""
    from mkdocs.structure.files import File

    for title, content in files():
        files_of_site.append(File.generated(config, f"try/{title}", content=content))
    return files_of_site


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for title, content in files():
        (folder / title).write_bytes(content)
    print(folder)
