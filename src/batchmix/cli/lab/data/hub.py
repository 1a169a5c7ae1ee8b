"""Data sets of the Hugging Face hub; rows are decoded when they are asked for."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown
from batchmix.cli.lab.data.folders import PARTS
from batchmix.cli.lab.data.images import RULES, Header, check_image, read_image
from batchmix.cli.lab.data.names import bad_file, reason
from batchmix.cli.lab.rows import Data, Rows, Task


@dataclass(frozen=True)
class Cells:
    """Reads one column of a table that lies on disk."""

    name: str
    table: Any  # datasets.Dataset whose images are not decoded
    column: str

    def __call__(self, i: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        return read_image(self._file(i), f"{self.name} row {i}")

    def check(self, i: int, pixels: bool) -> Header:
        """Raise what reading row i would raise; without pixels, only what its header tells."""
        return check_image(self._file(i), f"{self.name} row {i}", pixels)

    def _file(self, i: int) -> Any:
        cell = self.table[i][self.column] or {}
        content, path = cell.get("bytes"), cell.get("path")
        if content is None and path is None:
            raise bad_file(
                f"{self.name} row {i}", "there is no image.", "Every row has one.", "Leave it out."
            )
        return path if content is None else io.BytesIO(content)


def open_hub(name: str) -> Data:
    """A data set with one column of images and one of class labels."""
    if why := _absent(name):
        raise _unreachable(name, why)
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for every attempt
    try:
        tables = datasets.load_dataset(name)
    except Exception as error:  # the hub's client raises a dozen kinds
        raise _unreachable(name, reason(error)) from None
    parts = {PARTS[key]: tables[key] for key in tables if key in PARTS}
    columns = parts["train"].features if "train" in parts else {}
    image = [key for key, kind in columns.items() if isinstance(kind, datasets.Image)]
    label = [key for key, kind in columns.items() if isinstance(kind, datasets.ClassLabel)]
    if len(image) != 1 or len(label) != 1:
        raise _columns(name, list(tables), columns, image, label)
    rows: dict[str, Rows] = {}
    prints = [f"{name} {RULES}"]
    for part, table in parts.items():
        stored = table.cast_column(image[0], datasets.Image(decode=False))
        y = np.array(list(table[label[0]]), np.int64)
        if (y < 0).any():
            raise bad_file(
                f"{name} {part} row {int((y < 0).argmax())}", "it has no label.",
                "Every row has one.", "Choose a data set whose parts all have labels.",
            )  # fmt: skip
        names = [f"{part} row {i}" for i in range(len(y))]
        rows[part] = Rows(names, y, Cells(f"{name} {part}", stored, image[0]))
        prints.append(str(getattr(table, "_fingerprint", len(y))))
    task = Task("classes", tuple(map(shown, columns[label[0]].names)))
    return Data(
        name, "", "image", task, rows["train"], rows.get("val"), rows.get("test"),
        fingerprint=" ".join(prints),
    )  # fmt: skip


def _absent(name: str) -> str:
    """Why the hub has no such data set, if that is known without the seconds of `datasets`."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().dataset_info(name, timeout=10)
    except RepositoryNotFoundError:
        return "there is no such data set, or it is private"
    except Exception as error:  # no network; `datasets` knows what it has kept
        home = Path(constants.HF_HOME, "datasets")
        kept = Path(os.environ.get("HF_DATASETS_CACHE") or home)
        if not kept.is_dir() or not any(kept.iterdir()):
            return reason(error)
    return ""


def _unreachable(name: str, why: str) -> MixError:
    return mix_error(
        "DATA",
        f"{name!r} is not a folder here, and the Hugging Face hub gave: {why}.",
        "It is 'digits', 'photos' to look at, a folder of images or WAV files, or a data set that "
        "can be reached.",
        "Check the name and the network.",
    )


def _columns(
    name: str, parts: Sequence[str], columns: Any, image: Sequence[str], label: Sequence[str]
) -> MixError:
    return mix_error(
        f"DATA {name}",
        f"it has the parts {list(parts)} and the columns {list(columns)}; of these {list(image)} "
        f"hold images and {list(label)} class labels.",
        "A part 'train', one column of images and one of class labels are needed.",
        "Choose an image classification data set, or save it as a folder with a CSV of targets.",
    )
