"""What the page gives to take along: a picture, the plan, the rows, the code. Made in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchmix._errors import mix_error
from batchmix._saved import arrays
from batchmix.cli.explore._code import code_of
from batchmix.cli.explore._scene import Scene, plan
from batchmix.cli.explore._view import View

KINDS: Mapping[str, tuple[str, str]] = {
    "png": ("batchmix.png", "image/png"),
    "plan": ("batchmix-plan.npz", "application/octet-stream"),
    "rows": ("batchmix-rows.npz", "application/octet-stream"),
    "code": ("batchmix_view.py", "text/x-python; charset=utf-8"),
}


def file_of(kind: str, view: View, scene: Scene) -> bytes:
    """The content of a download."""
    if kind == "png":
        from batchmix.cli.show import pictures

        shown = [scene.show(view, second) for second in view.sides]
        title = f"{scene.source.data.name}, seed {view.seed}, step {view.step}"
        return pictures.rows(title, shown)
    if kind == "plan":
        made = plan(scene, view)
        return _npz(arrays(made.form, made.columns()))
    if kind == "rows":
        return _npz({"x": scene.x, "y": scene.y, "classes": np.array(scene.source.classes)})
    if kind == "code":
        return code_of(view, scene).encode()
    raise mix_error("file", f"got {kind!r}.", f"It is one of {', '.join(KINDS)}.", "Name one.")


def _npz(content: Mapping[str, Any]) -> bytes:
    """As `np.savez` writes it, and no file."""
    made = io.BytesIO()
    np.savez(made, **content)
    return made.getvalue()
