"""The checks by their names: the kinds of batches that each looks at, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from batchmix._audit import _alongside, _conduct, _shares
from batchmix._audit._kinds import BatchKind
from batchmix._audit._session import Session
from batchmix._audit._worst import Worst

BASE = "even batch"  # the kind that every callable must take
_LABELS = (
    BASE, "odd batch", "one row", "small images", "video", "float16", "bfloat16", "uint8", "int64",
)  # fmt: skip
_PLAIN = (BASE, "odd batch", "small images")


class Check(NamedTuple):
    """A name, the kinds of batches it looks at (() for all), what judges one, what is wrong."""

    name: str
    kinds: tuple[str, ...]
    judge: Callable[[Session, BatchKind], Worst | None]
    means: str


_LABEL_MEANS = (
    "The label gives a row another weight than its share of the pixels. Training goes on, with "
    "labels that are not those of the images."
)
CHECKS = {
    check.name: check
    for check in (
        *(Check(f"label error, {name}", (name,), _shares.labels, _LABEL_MEANS) for name in _LABELS),
        Check("pixel sum", (), _shares.blend,
              "In some cell the shares of the rows are not 0..1, or do not sum to 1: the image is "
              "brighter or darker than what went into it."),
        Check("label sum", (), _shares.sums,
              "A label does not sum to 1, as probabilities do."),
        Check("other dtype", (), _conduct.dtypes,
              "Images come back in another dtype: more memory, or rounded values."),
        Check("own partners", (BASE,), _shares.own_partner,
              "Some rows are mixed with themselves, so they stay as they were. Papers that shuffle "
              "do this; if it is meant, accept it."),
        Check("unmixed rows", (BASE,), _shares.unmixed,
              "More rows come back as they were than --max-unmixed allows."),
        Check("writes to inputs", (), _conduct.written,
              "The batch that was given is changed, and with it what else uses its memory, such as "
              "a data set that is held in memory."),
        Check("global generator", (BASE,), _conduct.drawn,
              "Mixes depend on a generator that the whole program shares: whatever else draws from "
              "it changes them, and loader workers may repeat each other."),
        Check("repeated mixes", (BASE,), _conduct.repeated,
              "The same mixes come again, in each call or in each epoch."),
        Check("NaN leaks", ("NaN",), _shares.nan,
              "A NaN in one row reaches cells of another in which it has no part, as 0 times NaN "
              "is NaN."),
        Check("changed ids", (BASE,), _alongside.ids,
              "Ids are averaged or changed, or a mask does not follow its image."),
        Check("wrong boxes", _PLAIN, _alongside.boxes,
              "A bounding box lies where no pixel of its row shows, or a row that shows in most of "
              "an image has no box there."),
    )
}  # fmt: skip
