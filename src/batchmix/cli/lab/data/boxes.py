"""Bounding boxes of images: a COCO file, or a folder of YOLO's text files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix._regular import check_regular
from batchmix.cli._output import shown
from batchmix.cli.lab.data.folders import media_of
from batchmix.cli.lab.data.names import bad_file, reason

_LARGEST = 2**30  # bytes
_COCO = "A COCO file has the lists 'images', 'annotations' and 'categories'."
_YOLO = "A line is: class, centre x, centre y, width, height; all but the class in 0..1."
_BEYOND = 1e-3  # of a side, by which rounded numbers leave the image


@dataclass
class Objects:
    """What is marked in one image; lengths are shares of its sides."""

    boxes: list[list[float]] = field(default_factory=list)  # left, top, right, bottom, class
    outlines: list[list[NDArray[np.float64]]] = field(default_factory=list)  # [k, 2] x, y; a box's
    size: tuple[int, int] | None = None  # height and width of the image, where the file says so


class Marked(NamedTuple):
    """Images, what is marked in each, and what the classes are called."""

    names: list[str]  # of files, relative to the folder of images
    objects: list[Objects]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def outlined(self) -> bool:
        """Whether all boxes come with the outlines of what is in them."""
        return all(all(each.outlines) for each in self.objects) and any(
            each.outlines for each in self.objects
        )


def read_boxes(path: Path, images: Sequence[str]) -> Marked:
    """A COCO file names its images; text files belong to those of `images` of the same stem."""
    return _yolo(path, images) if path.is_dir() else read_coco(path)


def read_coco(path: Path) -> Marked:
    """Images, boxes and polygons of a COCO file; regions of crowds are left out, and counted."""
    try:
        check_regular(path)
        if path.stat().st_size > _LARGEST:
            raise bad_file(str(path), "it is larger than 1 GiB.", _COCO, "Pass a smaller one.")
        held = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, MixError):
            raise
        raise bad_file(str(path), f"it cannot be read ({reason(error)}).", _COCO) from None
    lists = ("images", "annotations", "categories")
    if not isinstance(held, dict) or not all(
        isinstance(held.get(key), list) and all(isinstance(one, dict) for one in held[key])
        for key in lists
    ):
        raise bad_file(str(path), "one of its lists is missing.", _COCO)
    at: dict[Any, Any] = {}
    try:
        number = _by_id(held["categories"], range(len(held["categories"])), "categories")
        classes = tuple(shown(at.get("name", at["id"])) for at in held["categories"])
        names = [_file(path, at["file_name"]) for at in held["images"]]
        if len(set(names)) < len(names):
            raise ValueError(f"two images are {Counter(names).most_common(1)[0][0]!r}")
        objects = [Objects(size=_size(at)) for at in held["images"]]
        image = _by_id(held["images"], objects, "images")
        told = [at for at in held["annotations"] if not at.get("iscrowd")]
        for at in told:
            of = _named(image, at["image_id"], "image")
            _add(of, _named(number, at["category_id"], "category"), at)
    except MixError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else reason(error)
        raise bad_file(
            str(path), f"it does not fit: {said}{f', in {json.dumps(at)[:120]}' if at else ''}.",
            "An image has id, file_name, height and width; an annotation image_id, category_id "
            "and bbox, [left, top, width, height] in pixels.",
        ) from None  # fmt: skip
    if not names:
        raise bad_file(str(path), "it names no image.", _COCO, "Pass one that does.")
    crowds = len(held["annotations"]) - len(told)
    notes = _left_out(objects) + ([f"not drawn: {crowds} regions of crowds"] if crowds else [])
    plain = sum(not outline for one in objects for outline in one.outlines)
    if plain and any(at.get("segmentation") for at in told):
        notes.append(f"no instances: {plain} boxes have no polygon")
    return Marked(names, objects, classes, tuple(notes))


def _by_id(entries: Sequence[Mapping[str, Any]], found: Sequence[Any], what: str) -> dict[Any, Any]:
    """What was found of each entry, by its id."""
    made = {at["id"]: one for at, one in zip(entries, found)}
    if len(made) < len(entries):
        raise ValueError(f"two {what} have one id")
    return made


def _named(found: Mapping[Any, Any], key: Any, what: str) -> Any:
    if key not in found:
        raise ValueError(f"there is no {what} with the id {key!r}")
    return found[key]


def _left_out(objects: Sequence[Objects]) -> list[str]:
    """Take out the boxes that have no area inside their image, and say how many."""
    count = 0
    for one in objects:
        kept = [
            k for k, (x, y, right, bottom, _) in enumerate(one.boxes) if right > x and bottom > y
        ]
        count += len(one.boxes) - len(kept)
        one.boxes, one.outlines = [one.boxes[k] for k in kept], [one.outlines[k] for k in kept]
    return [f"not drawn: {count} boxes without area inside their image"] if count else []


def _file(path: Path, name: Any) -> str:
    """The name of an image, which lies inside the folder."""
    path_of = Path(name) if isinstance(name, str) else Path("..")
    if path_of.is_absolute() or ".." in path_of.parts or media_of(str(name)) != "image":
        raise bad_file(
            str(path), f"an image's file_name is {str(name)[:80]!r}.",
            "It is the path of an image inside the folder.",
        )  # fmt: skip
    return path_of.as_posix()


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    height, width = image["height"], image["width"]
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        raise ValueError(f"height {height!r} and width {width!r} are no sizes")
    return height, width


def _add(objects: Objects, number: int, annotation: Mapping[str, Any]) -> None:
    """One annotation, in shares of the image's sides."""
    assert objects.size is not None
    height, width = objects.size
    told = annotation["bbox"]
    if not (isinstance(told, list) and len(told) == 4 and all(map(_is_number, told))):
        raise ValueError(f"bbox {str(told)[:80]} is not of four numbers")
    left, top, wide, high = told
    if min(wide, high) < 0:
        raise ValueError(f"bbox {told!r} is no box")
    box = [left / width, top / height, (left + wide) / width, (top + high) / height]
    objects.boxes.append([*(min(max(v, 0.0), 1.0) for v in box), float(number)])
    parts = annotation.get("segmentation")
    outline: list[NDArray[np.float64]] = []
    for part in parts if isinstance(parts, list) else []:  # else run lengths, which are not read
        if not isinstance(part, list) or len(part) % 2 or not all(map(_is_number, part)):
            raise ValueError("a polygon is not of pairs x, y")
        points = np.asarray(part, np.float64).reshape(-1, 2) / (width, height)
        outline += [points] if len(points) > 2 else []
    objects.outlines.append(outline)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _yolo(folder: Path, images: Sequence[str]) -> Marked:
    """Text files of the images' stems; an image without one has no boxes."""
    names = list(images)
    objects = [_lines(folder / f"{Path(name).stem}.txt") for name in names]
    if not any(each.boxes for each in objects):
        raise bad_file(
            str(folder), "it holds no boxes for these images.",
            "labels/0.txt has the boxes of images/0.jpg.", "Pass the folder of the text files.",
        )  # fmt: skip
    count = 1 + max(int(box[4]) for each in objects for box in each.boxes)
    try:
        told = (folder / "classes.txt").read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError):
        told = []
    words = [shown(word.strip()) for word in told if word.strip()]
    classes = (*words, *(f"class {k}" for k in range(len(words), count)))
    missing = Counter((folder / f"{Path(name).stem}.txt").is_file() for name in names)[False]
    notes = _left_out(objects)
    if missing:
        notes.append(f"{missing} images have no text file: no boxes")
    return Marked(names, objects, classes, tuple(notes))


def _lines(path: Path) -> Objects:
    """The boxes of one text file; five numbers a line, or a class and a polygon."""
    found = Objects()
    try:
        check_regular(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return found
    except (OSError, ValueError) as error:
        raise bad_file(str(path), f"it cannot be read ({reason(error)}).", _YOLO) from None
    for k, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, *values = map(float, line.split())
        except ValueError:
            label, values = -1.0, []
        many = len(values) >= 6 and len(values) % 2 == 0
        inside = all(-_BEYOND <= v <= 1 + _BEYOND for v in values)
        whole = label >= 0 and label == int(label) if math.isfinite(label) else False
        if not (whole and label < 2**16 and inside and (len(values) == 4 or many)):
            raise bad_file(f"{path} line {k}", f"it is {line[:80]!r}.", _YOLO, "Correct it.")
        outline = np.asarray(values).reshape(-1, 2) if many else None
        if outline is not None:
            (left, top), (right, bottom) = outline.min(0).tolist(), outline.max(0).tolist()
        else:
            x, y, wide, high = values
            left, top, right, bottom = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
        found.boxes.append([*(float(min(max(v, 0), 1)) for v in (left, top, right, bottom)), label])
        found.outlines.append([] if outline is None else [outline])
    return found
