"""Calling what is audited by its own interface, and reading its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._kinds import BatchKind
from batchmix._errors import MixError, mix_error
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
    keys: Mapping[str, str]  # 'image', 'label' and, if there, 'mask' and 'id' -> key of the dict
    labels: str
    classes: int
    weight: str
    array: Callable[[Any], Any] | None

    def fields(self, kind: BatchKind) -> dict[str, Any]:
        """The parts of the batch as arrays of the framework."""
        images = self._array(
            kind.images().astype("float32" if kind.dtype == "bfloat16" else kind.dtype)
        )
        if kind.dtype not in _dtype(images):
            try:
                images = backend_of(images, "audit()").cast(images, kind.dtype)
            except (TypeError, AttributeError):
                raise Absent(f"no dtype {kind.dtype} here") from None
        ids = np.arange(kind.batch)
        hot = np.eye(kind.batch, self.classes, dtype=np.float32)
        parts = {"image": images, "label": self._array(hot if self.labels == "onehot" else ids)}
        if "mask" in self.keys:
            parts["mask"] = self._array(kind.mask())
        if "id" in self.keys:
            parts["id"] = self._array(kind.ids())
        return parts

    def __call__(self, fn: Callable[..., Any], kind: BatchKind) -> Seen:
        parts = self.fields(kind)
        before = {name: np.array(host(part)) for name, part in parts.items()}
        arguments = self._arguments(parts)
        held = dict(arguments[0]) if self.call == "dict" else {}
        result = fn(*arguments)
        images, labels, others = self._read(result)
        written = [
            name
            for name, part in parts.items()
            if not np.array_equal(before[name], host(part), equal_nan=True)
        ]
        written += [key for key, part in held.items() if arguments[0].get(key) is not part]
        raw, partner = self._soft(labels, kind.batch)
        pixels = host(images if not isinstance(images, list | tuple) else np.stack(images))
        return Seen(
            kind, before, pixels, raw, partner, written,
            {name: host(part) for name, part in others.items()},
            (_dtype(parts["image"]), _dtype(images)),
        )  # fmt: skip

    def _arguments(self, parts: dict[str, Any]) -> tuple[Any, ...]:
        x, y = parts["image"], parts["label"]
        if self.call == "dict":
            return ({self.keys[name]: part for name, part in parts.items()},)
        if self.call == "rows":
            return ([(x[i], y[i]) for i in range(len(x))],)
        return (x, y) if self.call == "xy" else ((x, y),)

    def _read(self, result: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Images, labels, and the other fields of a dict."""
        if self.call == "dict" and isinstance(result, Mapping):
            named = {name: result[key] for name, key in self.keys.items() if key in result}
            if "image" in named and "label" in named:
                return named.pop("image"), named.pop("label"), named
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
        as from batchmix.pairs; an array [B, 3] has the latter as columns, as from kornia.
        """
        if isinstance(labels, tuple | list):
            columns = [np.asarray(host(part)) for part in labels]
            if len(columns) > 2 and columns[1].shape == columns[0].shape:
                columns = columns[1:]
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

    def _hot(self, ids: NDArray[Any]) -> NDArray[np.float64]:
        hot: NDArray[np.float64] = (ids[:, None] == np.arange(self.classes)).astype(np.float64)
        return hot

    def _array(self, values: NDArray[Any]) -> Any:
        return values if self.array is None else self.array(values)


@dataclass(frozen=True, eq=False)
class Seen:
    """One call and its answer as NumPy arrays: all that a check looks at."""

    kind: BatchKind
    before: dict[str, NDArray[Any]]
    images: NDArray[Any]
    raw: NDArray[Any]  # labels before smoothing is taken out
    partner: NDArray[Any] | None  # if the labels name them
    written: list[str]  # inputs that were changed
    others: dict[str, NDArray[Any]]
    dtypes: tuple[str, str]  # of images, before and after

    @property
    def problem(self) -> str:
        """Why labels and pixels cannot be compared, or ''."""
        if self.images.shape != self.before["image"].shape:
            return f"images of shape {self.before['image'].shape} come back as {self.images.shape}"
        if self.raw.ndim != 2 or len(self.raw) != self.kind.batch:
            return f"labels of {self.kind.batch} rows come back with shape {self.raw.shape}"
        return ""

    @property
    def cells(self) -> NDArray[np.float64]:
        """[B, cells, B]: share of each row in each cell."""
        return self.kind.weights(self.images)

    @property
    def pixels(self) -> NDArray[np.float64]:
        """[B, B]: share of each row in the whole image."""
        return np.asarray(self.cells.mean(1))

    @property
    def labels(self) -> NDArray[np.float64]:
        """[B, B]: weight of each row's class, label smoothing taken out.

        Smoothing is read from the classes that no row has.
        """
        spare = self.raw[:, self.kind.batch :]
        off = float(np.median(spare)) if spare.size else 0.0
        off = off if 0 < off < 1 / self.raw.shape[1] else 0.0
        sharp = (self.raw - off) / (1 - off * self.raw.shape[1])
        return np.asarray(sharp[:, : self.kind.batch], np.float64)


def host(x: Any) -> Any:
    """An array of any framework as a NumPy array; numbers and lists too."""
    try:
        return backend_of(x, "audit()").to_numpy(x)
    except MixError:
        return np.asarray(x)


def _dtype(x: Any) -> str:
    """The name of the dtype, without its framework."""
    x = x[0] if isinstance(x, list | tuple) else x
    return str(getattr(x.dtype, "name", x.dtype)).rpartition(".")[2]
