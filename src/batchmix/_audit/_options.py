"""How the code that is audited is called: which options there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batchmix._audit._checks import CHECKS
from batchmix._audit._probe import CALLS
from batchmix._errors import mix_error


def check_options(options: Mapping[str, Any], accept: Iterable[str]) -> None:
    """Refuse what cannot be run, before the code that is audited is even imported."""
    choices = {"call": list(CALLS), "labels": ["ids", "onehot"], "weight": ["own", "partner"]}
    wrong = [name for name, values in choices.items() if options[name] not in values]
    if wrong:
        raise _refused(f"{wrong[0]}={options[wrong[0]]!r}", f"It is one of {choices[wrong[0]]}.")
    layout, batch, keys = options["layout"], options["batch"], options["keys"]
    if layout[:1] != "N" or "C" not in layout or len(set(layout)) != len(layout):
        raise _refused(f"layout={layout!r}", "N comes first, and rows are told apart by channels.")
    if batch < 4 or batch % 2 or options["classes"] <= batch or options["calls"] < 2:
        got = ", ".join(f"{name}={options[name]}" for name in ("batch", "classes", "calls"))
        raise _refused(got, "batch is even and >= 4, classes are more than that, calls >= 2.")
    if not {"image", "label"} <= set(keys) <= {"image", "label", "mask", "id"}:
        raise _refused(f"keys={keys!r}", "They are those of image, label, and of mask and id.")
    if unknown := [name for name in accept if name not in CHECKS]:
        raise _refused(f"accept={unknown}", f"The checks are {list(CHECKS)}.")


def _refused(got: str, rule: str) -> Exception:
    return mix_error("audit()", f"got {got}.", rule, "See the arguments of batchmix.audit.")
