"""Calling what is audited by its own interface, and reading its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._boxes import read, targets, tiles, written
from batchmix._audit._kinds import BatchKind
from batchmix._audit._seen import Seen, check_size, dtype_of, host, stacked, values
from batchmix._errors import mix_error
from batchmix.backends import backend_of

CALLS = {
    "xy": "fn(x, y)",
    "pair": "fn((x, y))",
    "dict": "fn({'image': x, 'label': y})",
    "rows": "fn([(x[0], y[0]), (x[1], y[1]), ...])",
}


class Absent(Exception):
    """There is nothing to check, such as a dtype that this framework does not have."""


@dataclass(frozen=True)
class Probe:
    """How a callable is called, and what its numbers mean."""

    call: str
    keys: Mapping[str, str]  # 'image', 'label', 'mask', ... -> key of the dict
    labels: str
    classes: int
    weight: str
    array: Callable[[Any], Any] | None
    box_format: str = "xyxy"

    def fields(self, kind: BatchKind) -> dict[str, Any]:
        """The parts of the batch as arrays of the framework."""
        images = self._array(
            kind.images().astype("float32" if kind.dtype == "bfloat16" else kind.dtype)
        )
        if kind.dtype == "bfloat16" and isinstance(images, np.ndarray):
            raise Absent("no dtype bfloat16 here")  # whether or not something loaded ml_dtypes
        if kind.dtype not in dtype_of(images):
            try:
                images = backend_of(images, "audit()").cast(images, kind.dtype)
            except (TypeError, AttributeError):
                raise Absent(f"no dtype {kind.dtype} here") from None
        ids = np.arange(kind.batch)
        hot = np.eye(kind.batch, self.classes, dtype=np.float32)
        if self.labels == "boxes":
            label = targets(kind, self.box_format, self._array)
        else:
            label = self._array(hot if self.labels == "onehot" else ids)
        makers: dict[str, Callable[[], NDArray[Any]]] = {
            "mask": kind.mask, "id": kind.ids,
            "boxes": lambda: written(tiles(kind), self.box_format, kind),
            "onehot_mask": lambda: kind.onehot_mask(self.classes),
        }  # fmt: skip
        named = {name: make for name, make in makers.items() if name in self.keys}
        parts = {"image": images, "label": label}
        return parts | {name: self._array(make()) for name, make in named.items()}

    def __call__(self, fn: Callable[..., Any], kind: BatchKind) -> Seen:
        parts = self.fields(kind)
        before = {self._named(name): np.array(values(part)) for name, part in parts.items()}
        arguments = self._arguments(parts)
        held = dict(arguments[0]) if self.call == "dict" else {}
        result = fn(*arguments)
        images, labels, others = self._read(result)
        check_size(images, labels, *others.values(), most=4 * before["image"].size)
        written = [
            name
            for name, part in zip(before, parts.values())
            if not np.array_equal(before[name], values(part), equal_nan=True)
        ]
        written += [key for key, part in held.items() if arguments[0].get(key) is not part]
        if self.labels == "boxes":
            others, labels = others | {"boxes": labels}, None
        raw, partner = (None, None) if labels is None else self._soft(labels, kind.batch)
        pixels = stacked(images) if isinstance(images, list | tuple) else host(images)
        return Seen(
            kind, before, pixels, raw, partner, written,
            {name: self._in_cells(name, values(part), kind) for name, part in others.items()},
            (dtype_of(parts["image"]), dtype_of(images)),
        )  # fmt: skip

    def _named(self, part: str) -> str:
        """Labels that are boxes are judged as boxes."""
        return "boxes" if part == "label" and self.labels == "boxes" else part

    def _in_cells(self, name: str, value: NDArray[Any], kind: BatchKind) -> NDArray[Any]:
        """What is judged: of boxes left, top, right, bottom."""
        boxes = name == "boxes" and value.ndim == 3 and value.shape[-1] >= 4
        return read(value, self.box_format, kind) if boxes else value

    def _arguments(self, parts: dict[str, Any]) -> tuple[Any, ...]:
        if self.call == "dict":
            return ({self.keys[name]: parts[name] for name in parts if name in self.keys},)
        x, y = parts["image"], parts["label"]
        if self.call == "rows":
            return ([(x[i], y[i]) for i in range(len(x))],)
        return (x, y) if self.call == "xy" else ((x, y),)

    def _read(self, result: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Images, labels, and the other fields of a dict."""
        if self.call == "dict" and isinstance(result, Mapping):
            named = {name: result[key] for name, key in self.keys.items() if key in result}
            if "image" in named and ("label" in named or "label" not in self.keys):
                return named.pop("image"), named.pop("label", None), named
        elif self.call != "dict" and isinstance(result, tuple | list) and len(result) >= 2:
            images, *labels = result
            return images, labels[0] if len(labels) == 1 else labels, {}
        got = list(result) if isinstance(result, Mapping) else type(result).__name__
        raise mix_error(
            "audit()", f"{CALLS[self.call]} gave {got}.",
            "It gives images and labels, in the form in which it got them.",
            "Say how it is called: call='xy', 'pair', 'dict' or 'rows', with keys for a dict.",
        )  # fmt: skip

    def _soft(self, labels: Any, batch: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels [B, classes], and the partners if the labels name them.

        A sequence holds (partner's y, weight, ...), as from Composer, or (y, partner's y, weight),
        as from batchmix.pairs; an array [B, 3] has the latter as columns, as from kornia. A list
        with a label per row is an array, too.
        """
        if isinstance(labels, tuple | list):
            columns = [np.asarray(host(part)) for part in labels]
            if len(columns) == batch and {part.shape for part in columns} < {(), (self.classes,)}:
                return self._soft(np.stack(columns), batch)
            if len(columns) > 2 and columns[1].shape == columns[0].shape:
                columns = columns[1:]
            self._check_pair(columns, batch)
            theirs, weight = columns[0], np.broadcast_to(columns[1], (batch,))
        else:
            found = np.asarray(host(labels))
            if found.ndim == 3 and found.shape[0] == 1 and found.shape[2] == 3:
                found = found[0]
            if found.shape == (batch,):
                return self._hot(found), None
            if found.shape != (batch, 3) or self.classes == 3:
                return found, None
            theirs, weight = found[:, 1], found[:, 2]
        own = weight if self.weight == "own" else 1 - weight
        theirs = self._hot(theirs) if theirs.ndim == 1 else theirs
        soft = own[:, None] * self._hot(np.arange(batch)) + (1 - own)[:, None] * theirs
        return soft, theirs.argmax(1)

    @staticmethod
    def _check_pair(columns: list[NDArray[Any]], batch: int) -> None:
        """A partner's labels, a row each, and a weight, for all rows or for each."""
        shapes = [part.shape for part in columns]
        if (
            len(shapes) > 1
            and shapes[0] in ((batch,), (batch, *shapes[0][1:2]))
            and shapes[1] in ((), (1,), (batch,))
        ):
            return
        raise mix_error(
            "audit()", f"fn gave labels as {len(shapes)} parts of the shapes {shapes[:4]}.",
            "They are [B], [B, classes], (partner's y, weight, ...) or (y, partner's y, weight).",
            "Return one array of labels, or one label per row.",
        )  # fmt: skip

    def _hot(self, ids: NDArray[Any]) -> NDArray[np.float64]:
        hot: NDArray[np.float64] = (ids[:, None] == np.arange(self.classes)).astype(np.float64)
        return hot

    def _array(self, values: NDArray[Any]) -> Any:
        return values if self.array is None else self.array(values)
