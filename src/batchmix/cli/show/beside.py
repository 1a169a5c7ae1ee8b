"""What lies beside the pixels of images that are shown: bounding boxes, masks, instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix._show._marks import Marks, given, marks
from batchmix.cli.lab.data.boxes import Marked, Objects, read_boxes
from batchmix.cli.lab.data.folders import scan
from batchmix.cli.lab.data.masks import read_mask
from batchmix.cli.lab.data.names import bad_file
from batchmix.cli.lab.rows import Data
from batchmix.fields import BoundingBoxes, Ids

_FIELD = BoundingBoxes("xyxy")


class Seen(NamedTuple):
    """A bounding box of a row that is shown."""

    corners: tuple[float, ...]  # left, top, right, bottom, in cells; empty where there is no box
    name: str  # of its class
    row: int  # that it comes from
    mask: NDArray[Any] | None  # [H, W] of what is in it
    points: NDArray[Any] | None  # [P, 2 or 3] x, y and COCO's v


@dataclass(frozen=True, eq=False)
class Beside:
    """Of each row of a batch; None where there is nothing of a kind."""

    marks: Sequence[Sequence[Marks]] = ()  # of some kinds, those of each row
    classes: Sequence[str] = ()  # of the boxes; else their ids are shown
    mask: NDArray[Any] | None = None  # [B, H, W] ids
    targets: Sequence[Mapping[str, Any]] | None = None  # the boxes, as a plan is applied to them
    size: tuple[int, ...] = ()  # of the images

    @property
    def hints(self) -> dict[str, NDArray[Any]]:
        """What policies may look at."""
        found = {} if self.mask is None else {"mask": self.mask}
        if self.targets is not None:
            names = ["boxes"] + ["instances"] * ("masks" in self.targets[0])
            found |= {name: _FIELD.read(self.targets, self._cells, name) for name in names}
        return found

    @property
    def _cells(self) -> dict[str, int]:
        return dict(zip("HW", self.size))

    def mixed(self, plan: bm.Plan) -> Beside:
        """The same after the plan."""
        seen = []
        if self.targets is not None:
            seen = [marks(_FIELD, self.targets, plan, self._cells)[1]]
        mask = None if self.mask is None else Ids("NHW")(self.mask, plan)
        return Beside(seen, self.classes, mask)

    def seen(self, row: int) -> Iterator[Seen]:
        """The boxes of a row."""
        for boxes, rows, labels, masks, points in (kind[row] for kind in self.marks):
            for k, box in enumerate(boxes.tolist()):
                yield Seen(
                    tuple(box) if box[0] == box[0] else (),
                    "" if labels is None else self._name(int(labels[k])), int(rows[k]),
                    None if masks is None else masks[k], None if points is None else points[k],
                )  # fmt: skip

    def _name(self, label: int) -> str:
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


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
            objects = [self.marked.objects[i] for i in rows]
            for i, one, known in zip(rows, objects, sizes):
                _check_size(data, int(i), one, known)
            targets = [_target(one, size, self.marked.outlined) for one in objects]
            seen = given(_FIELD, targets, len(rows), dict(zip("HW", size)))
            found = Beside([seen], self.marked.classes, None, targets, size)
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
    if masks is not None and not masks.is_dir():
        raise bad_file(
            str(masks), "it is not a folder.", "Masks are PNGs in a folder of their own.",
            "Pass that folder as --masks.",
        )  # fmt: skip
    if boxes is not None and not boxes.is_dir():
        marked = read_boxes(boxes, ())
        if not any((root / image).is_file() for image in marked.names):
            raise bad_file(
                str(root), f"it has none of the images of {boxes.name}.",
                "Boxes and masks belong to the images that lie in one folder.",
                f"Pass that folder, and --boxes {boxes}.",
            )  # fmt: skip
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


def _target(one: Objects, size: tuple[int, ...], outlined: bool) -> dict[str, NDArray[Any]]:
    """As detection data sets have them, in cells."""
    height, width = size
    held = np.array(one.boxes, np.float64).reshape(-1, 5)
    made: dict[str, NDArray[Any]] = {
        "boxes": held[:, :4] * (width, height, width, height),
        "labels": held[:, 4].astype(np.int64),
    }
    if outlined:
        masks = [_inside(outline, size) for outline in one.outlines]
        made["masks"] = np.stack(masks) if masks else np.zeros((0, *size), np.uint8)
    return made


def _inside(outline: Sequence[NDArray[np.float64]], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """[H, W]: 1 where a cell's centre is in one of the polygons."""
    from matplotlib.path import Path as Polygon

    height, width = size
    y, x = (np.indices((height, width)) + 0.5) / np.reshape((height, width), (2, 1, 1))
    centres, found = np.column_stack([x.ravel(), y.ravel()]), np.zeros(height * width, np.uint8)
    for points in outline:
        found |= Polygon(points).contains_points(centres)
    return found.reshape(height, width)


def _resized(ids: NDArray[np.int32], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Each cell takes the id at its centre."""
    rows, columns = (
        ((np.arange(n) + 0.5) * was / n).astype(np.int64) for n, was in zip(size, ids.shape)
    )
    return np.asarray(ids[rows[:, None], columns])
