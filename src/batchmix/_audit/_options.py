"""How the code that is audited is called: which options there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batchmix._audit._boxes import FORMATS
from batchmix._audit._checks import CHECKS
from batchmix._audit._probe import CALLS
from batchmix._errors import mix_error

LABELS = ["ids", "onehot", "boxes"]
KEYS = {"image", "label", "mask", "onehot_mask", "boxes", "id"}


def check_options(options: Mapping[str, Any], accept: Iterable[str]) -> None:
    """Refuse what cannot be run, before the code that is audited is even imported."""
    choices = {"call": list(CALLS), "labels": LABELS, "weight": ["own", "partner"]}
    choices["box_format"] = list(FORMATS)
    wrong = [name for name, values in choices.items() if options[name] not in values]
    if wrong:
        raise _refused(f"{wrong[0]}={options[wrong[0]]!r}", f"It is one of {choices[wrong[0]]}.")
    layout, batch, keys = options["layout"], options["batch"], options["keys"]
    if layout[:1] != "N" or "C" not in layout or len(set(layout)) != len(layout):
        raise _refused(f"layout={layout!r}", "N comes first, and rows are told apart by channels.")
    if batch < 4 or batch % 2 or options["classes"] <= batch or options["calls"] < 2:
        got = ", ".join(f"{name}={options[name]}" for name in ("batch", "classes", "calls"))
        raise _refused(got, "batch is even and >= 4, classes are more than that, calls >= 2.")
    least = {"image"} if "boxes" in keys and options["labels"] != "boxes" else {"image", "label"}
    if not least <= set(keys) <= KEYS:
        rule = f"They are those of image and label, and of {', '.join(sorted(KEYS - least))}."
        raise _refused(f"keys={keys!r}", rule)
    if not all(isinstance(key, str) for key in keys.values()):
        raise _refused(f"keys={dict(keys)!r}", "They are words: the keys of fn's dict.")
    if options["call"] != "dict" and any(name != key for name, key in keys.items() if key):
        raise _refused(f"keys with call={options['call']!r}", "Keys are those of call='dict'.")
    if "boxes" in (*keys, options["labels"]) and not {"H", "W"} <= set(layout):
        raise _refused(f"boxes with layout={layout!r}", "Boxes lie on H and W.")
    if "boxes" in keys and options["labels"] == "boxes":
        raise _refused("boxes in keys, and as labels", "They are in one of the two places.")
    axes, size = {*layout, *"TDHW"} - {*"NC"}, options["size"]
    if not set(size) <= axes or not all(type(n) is int and n > 0 for n in size.values()):
        raise _refused(f"size={dict(size)!r}", "It has whole numbers > 0 for axes, not for N or C.")
    if unknown := [name for name in accept if name not in CHECKS]:
        raise _refused(f"accept={unknown}", f"The checks are {list(CHECKS)}.")


def _refused(got: str, rule: str) -> Exception:
    return mix_error("audit()", f"got {got}.", rule, "See the arguments of batchmix.audit.")
