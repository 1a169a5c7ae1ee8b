"""What lies beside the pixels of images that are shown: bounding boxes, masks, instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli.lab.data.boxes import Marked, Objects, read_boxes
from batchmix.cli.lab.data.folders import scan
from batchmix.cli.lab.data.masks import read_mask
from batchmix.cli.lab.data.names import bad_file
from batchmix.cli.lab.rows import Data
from batchmix.fields import BoundingBoxes, Ids

_ROW = 5  # the column of boxes that says which row of the batch they come from


class Seen(NamedTuple):
    """A bounding box of a row that is shown."""

    corners: tuple[float, float, float, float]  # left, top, right, bottom, in cells
    name: str  # of its class
    row: int  # that it comes from


@dataclass(frozen=True, eq=False)
class Beside:
    """Of each row of a batch; None where there is nothing of a kind."""

    boxes: NDArray[np.float64] | None = None  # [B, N, 6]: xyxy in cells, class, row; -1 for none
    classes: tuple[str, ...] = ()  # of the boxes
    mask: NDArray[np.int32] | None = None  # [B, H, W] ids
    instances: NDArray[np.int32] | None = None  # [B, H, W], 0 for none

    @property
    def hints(self) -> dict[str, NDArray[Any]]:
        """What policies may look at."""
        found = {"mask": self.mask, "instances": self.instances}
        return {name: value for name, value in found.items() if value is not None}

    def mixed(self, plan: bm.Plan) -> Beside:
        """The same after the plan; nobody looks at instances again."""
        boxes = None if self.boxes is None else BoundingBoxes("xyxy")(self.boxes, plan)
        mask = None if self.mask is None else Ids("NHW")(self.mask, plan)
        return replace(self, boxes=boxes, mask=mask, instances=None)

    def seen(self, row: int) -> Iterator[Seen]:
        """The boxes of a row."""
        for box in () if self.boxes is None else self.boxes[row]:
            if box[2] > box[0] and box[3] > box[1]:
                left, top, right, bottom, label, whose = box.tolist()
                yield Seen((left, top, right, bottom), self.classes[int(label)], int(whose))


@dataclass(frozen=True, eq=False)
class Annotated:
    """What a data set of images has beside them, read when it is shown."""

    marked: Marked | None = None
    masks: Path | None = None

    def of(self, data: Data, rows: NDArray[np.int64], size: tuple[int, ...]) -> Beside:
        """That of some rows, which are shown at `size`, height and width."""
        found = Beside()
        check: Any = data.train.read
        sizes = [check.check(int(i), False).shape[:2] for i in rows]
        if self.marked is not None:
            marks = [self.marked.objects[i] for i in rows]
            for i, one, known in zip(rows, marks, sizes):
                _check_size(data, int(i), one, known)
            instances = (
                np.stack([_instances(one, size) for one in marks]) if self.marked.outlined else None
            )
            boxes = _padded(marks, size)
            found = Beside(boxes, self.marked.classes, None, instances)
        if self.masks is not None:
            names = [data.train.names[i] for i in rows]
            ids = [read_mask(self.masks, name, known) for name, known in zip(names, sizes)]
            found = replace(found, mask=np.stack([_resized(each, size) for each in ids]))
        return found


def open_annotated(
    name: str, boxes: Path | None, masks: Path | None
) -> tuple[str, list[str], Annotated]:
    """The folder of images, their names, and what is beside them; `name` may be the COCO file."""
    root = Path(name)
    if boxes is None and root.suffix == ".json":
        boxes, root = root, root.parent
    if not root.is_dir():
        raise bad_file(
            name, "it is not a folder.", "Boxes and masks belong to a folder of images.",
            "Pass the folder.",
        )  # fmt: skip
    if boxes is not None and not boxes.is_dir():
        marked = read_boxes(boxes, ())
        return str(root), marked.names, Annotated(marked, masks)
    found = scan(str(root))
    if found.media != "image" or len(found.parts) > 1 or found.classes != ("unlabelled",):
        raise bad_file(
            name, "it holds other than images alone.",
            "Boxes and masks belong to the images that lie in one folder.",
            "Pass that folder, for example images/train.",
        )  # fmt: skip
    names = found.parts["train"].names
    return str(root), names, Annotated(read_boxes(boxes, names) if boxes else None, masks)


def _check_size(data: Data, row: int, one: Objects, known: tuple[int, ...]) -> None:
    """The image is as large as its boxes' file says."""
    if one.size is not None and one.size != tuple(known):
        raise bad_file(
            f"{data.root}/{data.train.names[row]}",
            f"the image is {known[1]} x {known[0]}, its boxes are for {one.size[1]} x "
            f"{one.size[0]}.", "Boxes are of the image as it lies there.",
        )  # fmt: skip


def _padded(marks: list[Objects], size: tuple[int, ...]) -> NDArray[np.float64]:
    """[B, N, 6] in cells."""
    made = np.full((len(marks), max(1, *(len(one.boxes) for one in marks)), 6), -1.0)
    height, width = size
    for row, one in enumerate(marks):
        for place, box in zip(made[row], one.boxes):
            place[:] = [*np.multiply(box[:4], [width, height, width, height]), box[4], row]
    return made


def _instances(one: Objects, size: tuple[int, ...]) -> NDArray[np.int32]:
    """[H, W]: the number of the last box whose outlines a cell is in, from 1."""
    from PIL import Image, ImageDraw

    height, width = size
    image = Image.new("I", (width, height))
    draw = ImageDraw.Draw(image)
    for number, outline in enumerate(one.outlines, 1):
        for points in outline:
            cells = points * (width, height) - 0.5  # centres of cells, as Pillow counts
            draw.polygon([tuple(p) for p in cells.tolist()], fill=number)
    return np.asarray(image).astype(np.int32)


def _resized(ids: NDArray[np.int32], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Each cell takes the id at its centre."""
    rows, columns = (
        ((np.arange(n) + 0.5) * was / n).astype(np.int64) for n, was in zip(size, ids.shape)
    )
    return np.asarray(ids[rows[:, None], columns])
