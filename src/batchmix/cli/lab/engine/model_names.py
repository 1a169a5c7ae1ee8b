"""Which models there are, known without importing torch or timm."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from batchmix._errors import mix_error
from batchmix.cli.lab.rows import Form

TIMM = "timm:"
FORMS: dict[str, tuple[Form, ...]] = {
    "mlp": ("image", "mel", "wave", "table"),
    "convnet": ("image", "mel"),
    "resnet20": ("image", "mel"),
    "m5": ("wave",),
}  # what each is made for; timm's are for images and mel


def check_model(name: str, pretrained: bool = False, form: Form = "image") -> None:
    """The name is known, fits what the rows are, and has weights where they are asked for."""
    known: Sequence[str] = [*FORMS, f"{TIMM}NAME"]
    if name.startswith(TIMM):
        known = [TIMM + other for other in timm_models()]
    if name.partition(".")[0] not in known:  # timm:NAME.TAG is one of several sets of weights
        near = difflib.get_close_matches(name[:100], known, n=1)
        raise mix_error(
            "--model",
            f"got {name[:100]!r}.",
            f"It is one of {', '.join(FORMS)} or {TIMM}NAME.",
            f"Did you mean {near[0]!r}?" if near else "Leave it out for the default.",
        )
    fits = FORMS.get(name, ("image", "mel"))
    if form not in fits:
        others = [other for other, forms in FORMS.items() if form in forms]
        raise mix_error(
            "--model",
            f"got {name!r} for rows of the form {form!r}.",
            f"It is made for {' and '.join(fits)}.",
            f"Use one of {', '.join(others)}.",
        )
    if pretrained and not name.startswith(TIMM):
        raise mix_error(
            "--pretrained",
            f"got it with --model {name}.",
            "Weights that are trained already are timm's.",
            "Use for example --model timm:resnet18, or leave --pretrained out.",
        )


@cache
def timm_models() -> tuple[str, ...]:
    """The names that timm's modules register, read from its files; importing it takes seconds."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise mix_error(
            "--model",
            "timm is not installed.",
            "Models named timm:NAME come from it.",
            "Install it, and the torchvision that fits this torch: pip install 'batchmix[timm]'",
        )
    files = (Path(spec.submodule_search_locations[0]) / "models").glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return tuple(sorted(re.findall(r"^@register_model\s*\ndef (\w+)\(", text, re.MULTILINE)))
