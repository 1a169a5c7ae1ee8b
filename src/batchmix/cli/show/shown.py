"""What `batchmix preview` and `batchmix explore` show: some rows, and what a plan does to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli._words import Entry
from batchmix.cli.lab.data.names import bad_file
from batchmix.cli.lab.rows import Data, Form
from batchmix.cli.show.beside import Annotated, Beside
from batchmix.policies import Policy

_BATCHES, _ROWS = 256, 16  # distributions are counted over steps 0..255 of 16 rows
LAYOUTS = {"image": "NHWC", "wave": "NTC", "table": "NTC"}  # T: columns


class Part(NamedTuple):
    """A part of a soft label."""

    name: str
    share: float
    whose: str  # 'own', 'partner' or 'others'


@dataclass(frozen=True, eq=False)  # a key of caches, by identity
class Source:
    """The training rows of a data set, as they are shown: all of one shape."""

    data: Data
    image_size: int | None = None
    annotated: Annotated | None = None  # boxes and masks

    @property
    def form(self) -> Form:
        """Of the rows."""
        return self.data.form

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.data.task.names

    @property
    def y(self) -> NDArray[np.int64]:
        """[N]: ids."""
        return self.data.train.y

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """[n, H, W, C] or [n, T, C]."""
        return np.stack(list(self._same(rows)))

    def _same(self, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """The rows, resized if asked for; of another shape than the first is an error."""
        first: NDArray[Any] | None = None
        for i in map(int, rows):
            row = self.data.train[i]
            if self.image_size and self.form == "image":
                row = _resized(row, self.image_size)
            first = row if first is None else first
            if row.shape != first.shape:
                raise bad_file(
                    f"{self.data.root}/{self.data.train.names[i]}",
                    f"the image is {row.shape[1]} x {row.shape[0]}, the first is "
                    f"{first.shape[1]} x {first.shape[0]}.",
                    "The images of a batch have one size.",
                    "Give --image-size, for example --image-size 32.",
                )
            yield row

    def choose(self, count: int, first: int = 0) -> NDArray[np.int64]:
        """Numbers of rows, in a fixed random order that takes the classes in turn."""
        order = np.random.default_rng(0).permutation(len(self.y))
        y = self.y[order] if self.y.ndim == 1 else np.zeros(len(order), np.int64)
        turn = np.empty(len(y), np.int64)  # how many rows of its class come before each row
        for label in np.unique(y):
            turn[y == label] = np.arange((y == label).sum())
        order = order[np.argsort(turn, kind="stable")]
        found: NDArray[np.int64] = np.roll(order, -first)[:count]
        return found


@dataclass(frozen=True)
class Batch:
    """The rows that are shown, and how they are mixed."""

    source: Source
    x: NDArray[Any]  # [B, H, W, C] or [B, T, C]
    y: NDArray[np.int64]  # [B]
    mixing: Mixing
    beside: Beside = field(default_factory=Beside)
    labelled: bool = True  # by a class; else each row is its own
    numbers: NDArray[Any] | None = None  # [B], what the rows of a table are told to be

    def __len__(self) -> int:
        return len(self.y)

    def draw(self, policy: Policy | None) -> bm.Plan:
        """The plan for the rows shown; partners are the same for every policy."""
        hints = {"image": self.x, "label": self.y} | self.beside.hints
        return self.mixing.draw(policy, len(self), self.size, hints=hints)

    def show(self, entry: Entry) -> Shown:
        """What an entry does to the rows shown."""
        return self.apply(entry.name, self.draw(entry.policy), entry.smoothing)

    def apply(self, name: str, plan: bm.Plan, smoothing: float = 0.0) -> Shown:
        """What a plan does to the rows shown."""
        layout = LAYOUTS[self.source.form]
        nothing = np.zeros((*self.x.shape[:-1], 1), np.float32)
        return Shown(
            name,
            self,
            plan,
            bm.mix(nothing, plan, layout, other=nothing + 1)[..., 0],
            bm.mix(self.x, plan, layout),
            bm.mix_labels(self.y, plan, len(self.source.classes), smoothing=smoothing),
            self.beside.mixed(plan),
        )

    def lam(self, policy: Policy | None) -> NDArray[np.float32]:
        """[4096]: shares of own content, over many steps."""
        return lam(policy, self.mixing, self.size, self.x)

    def hardness(self, entry: Entry) -> NDArray[np.float32]:
        """[4096]: the largest probability of each soft label, over many steps."""
        y = np.random.default_rng(0).permutation(self.source.y)
        y = np.resize(y, (_BATCHES, _ROWS))
        classes = len(self.source.classes)
        soft = [
            bm.mix_labels(some, plan, classes, smoothing=entry.smoothing)
            for some, plan in zip(y, _plans(entry.policy, self.mixing, self.size, self.x))
        ]
        return np.asarray(np.concatenate(soft).max(1))

    def name(self, row: int) -> str:
        """The name of a row's class, not too long to stand under an image."""
        name = self.source.classes[int(self.y[row])]
        return name if len(name) <= 10 else name[:9] + "…"

    @property
    def size(self) -> dict[str, int]:
        """Cells per axis."""
        return dict(zip(LAYOUTS[self.source.form][1:-1], self.x.shape[1:-1]))


@dataclass(frozen=True)
class Shown:
    """What a plan does to the rows shown."""

    name: str
    batch: Batch
    plan: bm.Plan
    opacity: NDArray[np.float32]  # [B, H, W] or [B, T], of the partner in each cell
    mixed: NDArray[Any]  # like the rows
    soft: NDArray[np.float32]  # [B, classes]
    beside: Beside = field(default_factory=Beside)

    def cuts(self, row: int) -> list[Any]:
        """[A, 2] each: regions of the row that something is pasted over, but for all of it.

        Of a video those that the middle frame has a part of, without the axis of frames; of a
        volume, whose slices lie side by side, none.
        """
        if "D" in self.plan.axes:
            return []
        boxes = [layer.box[row] for layer in self.plan.layers if layer.opacity[row]]
        cut = [box for box in boxes if tuple((box[:, 1] - box[:, 0]).tolist()) != self.plan.size]
        middle = self.plan.size[0] // 2
        return [box[-2:] for box in cut if len(box) < 3 or box[0, 0] <= middle < box[0, 1]]

    def partners(self, row: int) -> list[int]:
        """The rows that something is seen of in this one."""
        weights = self.plan.weights[row, 1:]
        seen = [int(p.partner[row]) for p, w in zip(self.plan.layers, weights) if w > 0]
        return list(dict.fromkeys(seen))

    def parts(self, row: int) -> list[Part]:
        """The soft label of a row: its own class, its partners' by share, and all others."""
        y = self.batch.y
        found = {int(y[row]): Part(self.batch.name(row), float(self.soft[row, y[row]]), "own")}
        for partner in self.partners(row):
            label = int(y[partner])
            part = Part(self.batch.name(partner), float(self.soft[row, label]), "partner")
            found.setdefault(label, part)
        own, *theirs = found.values()
        rest = 1 - sum(part.share for part in found.values())
        others = [Part("others", rest, "others")] if rest > 0.005 else []
        return [own, *sorted(theirs, key=lambda part: -part.share), *others]


def _resized(row: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(row).resize((side, side)))


def lam(
    policy: Policy | None, mixing: Mixing, size: Mapping[str, int], rows: NDArray[Any]
) -> NDArray[np.float32]:
    """[4096]: shares of own content, over many steps; `rows` are what a policy may look at."""
    return np.concatenate([plan.lam for plan in _plans(policy, mixing, size, rows)])


def _plans(
    policy: Policy | None, mixing: Mixing, size: Mapping[str, int], rows: NDArray[Any]
) -> list[bm.Plan]:
    """The plans of steps 0..255, whichever step is shown."""
    hints = {"image": rows[np.resize(np.arange(len(rows)), _ROWS)]}
    return [mixing.draw(policy, _ROWS, size, step, hints) for step in range(_BATCHES)]
