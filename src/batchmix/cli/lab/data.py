"""Images with class ids: scikit-learn's digits, a folder of images, a Hugging Face data set."""

from __future__ import annotations

import glob
import io
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Images:
    """Images as they were loaded, and their class ids."""

    x: NDArray[np.uint8]  # [N, H, W, C]
    y: NDArray[np.int64]  # [N]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: NDArray[np.int64]) -> Images:
        """The rows of `index`, in its order."""
        return Images(self.x[index], self.y[index])


@dataclass(frozen=True)
class Data:
    """A data set; `val` and `test` are None where it has no such part."""

    classes: tuple[str, ...]
    train: Images
    val: Images | None = None
    test: Images | None = None

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        height, width, channels = self.train.x.shape[1:]
        return channels, height, width


def load(name: str, image_size: int | None = None) -> Data:
    """Load by name: 'digits', else a folder where there is one, else from the Hugging Face hub."""
    if name == "digits":
        if image_size:
            raise mix_error(
                "--image-size", f"got {image_size} with digits.", "They are 8 x 8.", "Leave it out."
            )
        return _digits()
    folder = Path(name).expanduser()
    if folder.is_dir():
        data = _folder(folder, image_size)
    elif (
        folder.exists()
        or folder.is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
    ):
        raise mix_error(
            "DATA",
            f"{name!r} is not a folder.",
            "It is 'digits', a folder of images, or a Hugging Face data set.",
            "Pass a folder that holds train/CLASS/* or CLASS/*.",
        )
    else:
        data = _hub(name, image_size)
    if len(data.classes) < 2:
        raise mix_error(
            f"DATA {name}",
            f"there is one class only, {data.classes[0]!r}.",
            "Classification needs at least two.",
            "Pass a folder that holds train/CLASS/* or CLASS/*, with several CLASS.",
        )
    for part in (data.val, data.test):
        if part and part.x.shape[1:] != data.train.x.shape[1:]:
            raise _sizes_differ(f"DATA {name}", part.x.shape[1:], "train", data.train.x.shape[1:])
    return data


def _digits() -> Data:
    """1797 hand-written digits of 8 x 8 cells, 0..16, as 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return Data(tuple("0123456789"), Images(x, digits.target.astype(np.int64)))


def _folder(folder: Path, image_size: int | None) -> Data:
    """A folder with train/CLASS/* and, if there, val/ and test/; or CLASS/* alone."""
    parts, classes = class_folders(folder)
    for part in parts.values():
        check_classes(part, classes)
    datasets = _library()
    files = {name: f"{glob.escape(str(part.absolute()))}/*/*" for name, part in parts.items()}
    with tempfile.TemporaryDirectory() as cache:  # a folder may change between two runs
        tables = datasets.load_dataset(
            "imagefolder", data_files=files, drop_labels=False, cache_dir=cache
        )
        rows = {
            key: _decoded(key, table, "image", "label", image_size) for key, table in tables.items()
        }
    return Data(classes, **rows)


def class_folders(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The parts, train first among them, and the names of the classes of train."""
    inside = {p.name: p for p in _folders(folder)}
    parts = {_PARTS[name]: p for name, p in inside.items() if name in _PARTS}
    if "train" not in parts:
        parts = {"train": folder}
    classes = tuple(p.name for p in _folders(parts["train"]))
    if not classes:
        raise mix_error(
            f"DATA {folder}",
            "it holds no class folders.",
            "Each class is a folder of images.",
            "Pass a folder that holds train/CLASS/* or CLASS/*.",
        )
    return parts, classes


def _library() -> Any:
    """The datasets package, without progress bars and the hub's log of every attempt."""
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return datasets


def check_classes(part: Path, classes: Sequence[str]) -> None:
    """Every class folder of a part holds images, and is a class of train."""
    for path in _folders(part):
        images = any(p.suffix.lower() in SUFFIXES for p in path.iterdir())
        if path.name not in classes or not images:
            raise mix_error(
                f"DATA {path}",
                "there is no such class in train." if images else "the class folder is empty.",
                "Each class is a folder of images, the same ones in every part.",
                "Fill the folder or remove it.",
            )


def _folders(folder: Path) -> list[Path]:
    """The folders inside, sorted by name, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _hub(name: str, image_size: int | None) -> Data:
    """A data set of the Hugging Face hub with one column of images and one of class labels."""
    datasets = _library()
    try:
        tables = datasets.load_dataset(name)
    except Exception as error:  # the hub's client raises a dozen kinds
        raise mix_error(
            "DATA",
            f"{name!r} is not a folder here, and the Hugging Face hub gave: {error}.",
            "It is 'digits', a folder of images, or a data set that can be reached.",
            "Check the name and the network.",
        ) from None
    parts = {_PARTS[key]: table for key, table in tables.items() if key in _PARTS}
    columns = tables["train"].features if "train" in parts else {}
    image = [key for key, kind in columns.items() if isinstance(kind, datasets.Image)]
    label = [key for key, kind in columns.items() if isinstance(kind, datasets.ClassLabel)]
    if len(image) != 1 or not label:
        raise mix_error(
            f"DATA {name}",
            f"it has the parts {list(tables)} and the columns {list(columns)}.",
            "A part 'train', one column of images and one of class labels are needed.",
            "Choose an image classification data set.",
        )
    rows = {
        key: _decoded(f"{name} {key}", table, image[0], label[0], image_size)
        for key, table in parts.items()
    }
    return Data(tuple(columns[label[0]].names), **rows)


def _decoded(name: str, table: Any, image: str, label: str, image_size: int | None) -> Images:
    """One part of a data set; decoded here, so that an error can name the broken file."""
    stored = table.cast_column(image, _library().Image(decode=False))
    files = (
        (cell["path"], cell["path"])
        if cell["bytes"] is None
        else (f"{name} row {i}", io.BytesIO(cell["bytes"]))
        for i, cell in enumerate(stored[image])
    )
    return Images(decode(files, image_size), np.array(list(table[label]), np.int64))


def decode(files: Iterable[tuple[str, Any]], image_size: int | None) -> NDArray[np.uint8]:
    """uint8 [N, H, W, 3] of (name, file) pairs; the names are for messages."""
    from PIL import Image

    pixels: list[NDArray[np.uint8]] = []
    for name, file in files:
        try:
            with Image.open(file) as image:
                colour = image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise
            reason = str(error).partition(" file ")[0]  # the rest is the name again
            raise mix_error(
                f"DATA {name}",
                f"the image cannot be decoded ({reason}).",
                "Every file with the suffix of an image is read.",
                "Repair or remove it.",
            ) from None
        if image_size:
            colour = colour.resize((image_size, image_size))
        pixels.append(np.asarray(colour))
        if pixels[-1].shape != pixels[0].shape:
            raise _sizes_differ(f"DATA {name}", pixels[-1].shape, "the first", pixels[0].shape)
    return np.stack(pixels)


def _sizes_differ(where: str, size: Sequence[int], other: str, others: Sequence[int]) -> MixError:
    return mix_error(
        where,
        f"an image is {size[1]} x {size[0]}, {other} is {others[1]} x {others[0]}.",
        "The images of a batch have one size.",
        "Give --image-size, for example --image-size 32.",
    )
