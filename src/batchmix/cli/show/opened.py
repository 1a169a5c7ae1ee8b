"""Opening what is shown: a data set by its name, with what lies beside it, and some of its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from batchmix._errors import mix_error
from batchmix.cli._mixing import Mixing
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.data.images import Images
from batchmix.cli.lab.rows import UNLABELLED, Data, Rows, Task
from batchmix.cli.show.beside import Beside, open_annotated
from batchmix.cli.show.shown import Batch, Source


def open_source(
    name: str, image_size: int | None = None, seconds: float | None = None,
    boxes: Path | None = None, masks: Path | None = None, target: str | None = None,
) -> Source:  # fmt: skip
    """A source by name: 'photos', 'digits', a folder, or a data set of the Hugging Face hub."""
    if boxes or masks or name.endswith(".json"):
        root, names, annotated = open_annotated(name, boxes, masks)
        rows = Rows(names, np.zeros(len(names), np.int64), Images(root, names))
        notes = annotated.marked.notes if annotated.marked else ()
        data = Data(name, root, "image", UNLABELLED, rows, notes=notes)
        return Source(data, image_size, annotated)
    if image_size and name == "digits":
        raise mix_error(
            "--image-size", f"got {image_size} with digits.", "They are 8 x 8.", "Leave it out."
        )
    data = open_data(name, sound="wave", seconds=seconds, target=target)
    if image_size and data.form != "image":
        raise mix_error(
            f"--image-size {image_size}", f"{name} holds no images.", "Nothing else is resized.",
            "Leave it out.",
        )  # fmt: skip
    return Source(data, image_size)


def choose(source: Source, count: int, mixing: Mixing, first: int = 0) -> Batch:
    """Rows of a source, in its fixed random order from number `first` on.

    Where they have boxes, masks or numbers instead of classes, each is its own class.
    """
    rows = source.choose(count, first)
    x, y, data = source.read(rows), source.y[rows], source.data
    if source.annotated is None and data.task.kind == "classes":
        return Batch(source, x, y, mixing)
    if source.annotated is None:
        beside, names, numbers = Beside(), [f"{value:.4g}" for value in y[:, 0]], y[:, 0]
    else:
        numbers = None
        beside = source.annotated.of(data, rows, x.shape[1:3])
        names = [Path(data.train.names[i]).stem for i in rows]
    own = replace(source, data=replace(data, task=Task("classes", tuple(names))))
    return Batch(own, x, np.arange(len(rows)), mixing, beside, False, numbers)
