"""One call and its answer, as NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._audit._boxes import padded
from batchmix._audit._kinds import NAN_ROW, BatchKind
from batchmix._errors import MixError, mix_error
from batchmix.backends import backend_of

_NO_NUMBERS = "OUSMmc"  # kinds of dtypes
_MOST = 2**22  # cells of an answer, or more where more were given


@dataclass(frozen=True, eq=False)
class Seen:
    """One call and its answer as NumPy arrays: all that a check looks at."""

    kind: BatchKind
    before: dict[str, NDArray[Any]]
    images: NDArray[Any]
    raw: NDArray[Any] | None  # labels before smoothing is taken out; None where boxes are labels
    partner: NDArray[Any] | None  # if the labels name them
    written: list[str]  # inputs that were changed
    others: dict[str, NDArray[Any]]
    dtypes: tuple[str, str]  # of images, before and after

    @property
    def problem(self) -> str:
        """Why labels and pixels cannot be compared, or ''."""
        if self.images.shape != self.before["image"].shape:
            return f"images of shape {self.before['image'].shape} come back as {self.images.shape}"
        shape = (self.kind.batch, self.kind.batch) if self.raw is None else self.raw.shape
        if len(shape) != 2 or shape[0] != self.kind.batch or shape[1] < self.kind.batch:
            return f"labels of {self.kind.batch} rows come back with shape {shape}"
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
        """[B, B]: weight of each row's class, label smoothing taken out; NaN without labels.

        Smoothing is read from the classes that no row has.
        """
        if self.raw is None:
            return np.full((self.kind.batch, self.kind.batch), np.nan)
        spare = self.raw[:, self.kind.batch :]
        off = float(np.median(spare)) if spare.size else 0.0
        off = off if 0 < off < 1 / self.raw.shape[1] else 0.0
        sharp = (self.raw - off) / (1 - off * self.raw.shape[1])
        return np.asarray(sharp[:, : self.kind.batch], np.float64)

    @property
    def leaks(self) -> NDArray[np.bool_]:
        """[B, cells]: NaN where the row that has it, NAN_ROW, has no share.

        The NaN is in the channel of its row. If the other channels of a cell sum to 1, the NaN row
        has no share there, so NaN must not appear. Shares too small to be seen so are read from the
        label; without one, only images count in which that row hides all others somewhere.
        """
        cells = self.cells
        rest = np.delete(cells, NAN_ROW, -1)
        none = np.abs(rest.sum(-1) - 1) < 1e-6
        weight = self.labels[:, NAN_ROW][:, None]
        known = (weight > 1e-3) | (weight == 0)
        if self.raw is None:
            known = (np.abs(rest).sum(-1) < 1e-6).any(1, keepdims=True)
        leaks = np.isnan(cells[..., NAN_ROW]) & none & known
        return np.asarray(leaks | np.isnan(rest).any(-1))


def host(x: Any) -> Any:
    """An array of any framework as a NumPy array; numbers and lists too. Others are refused."""
    dtype = getattr(x, "dtype", None)
    known = not isinstance(x, np.ndarray) or x.dtype.kind not in _NO_NUMBERS
    if known and "complex" not in str(dtype):
        try:
            return backend_of(x, "audit()").to_numpy(x)
        except MixError:
            found = _plain(x)
            if found is not None and found.dtype.kind not in _NO_NUMBERS:
                return found
            dtype = None if found is None else found.dtype
    what = type(x).__name__ if dtype is None else f"{type(x).__name__} of dtype {dtype}"
    raise mix_error(
        "audit()", f"fn gave a {what}.",
        "It gives arrays of real numbers, as many for each row.",
        "Return images and labels in the form in which they were given.",
    )  # fmt: skip


def check_size(images: Any, *others: Any, most: int) -> None:
    """Refuse what is no image, and what is so large that no memory holds it for each call."""
    first = images[0] if isinstance(images, list | tuple) and images else images
    if not hasattr(first, "shape") or not hasattr(first, "dtype"):
        raise mix_error(
            "audit()", f"fn gave images of type {type(first).__name__}.", "They are arrays.",
            "Return images and labels in the form in which they were given.",
        )  # fmt: skip
    for x in (images, *others):
        shape = tuple(getattr(x, "shape", ()))
        if math.prod(shape) > max(most, _MOST):
            raise mix_error(
                "audit()", f"fn gave an array of shape {shape}.",
                f"It is larger than {max(most, _MOST):,} cells.",
                "Return images and labels in the form in which they were given.",
            )  # fmt: skip


def stacked(rows: Sequence[Any]) -> Any:
    """Images that came one by one, as one array."""
    found = [host(row) for row in rows]
    if len({one.shape for one in found}) > 1:
        shapes = ", ".join(str(one.shape) for one in found[:4])
        raise mix_error(
            "audit()", f"fn gave images of the shapes {shapes}.", "A batch has one shape.",
            "Return images of the size in which they were given.",
        )  # fmt: skip
    return np.stack(found) if found else np.zeros(0)


def _plain(x: Any) -> NDArray[Any] | None:
    """What is no array as one; None where its parts do not fit together."""
    try:
        return np.asarray(x)
    except (ValueError, TypeError):
        return None


def dtype_of(x: Any) -> str:
    """The name of the dtype, without its framework."""
    x = x[0] if isinstance(x, list | tuple) else x
    return str(getattr(x.dtype, "name", x.dtype)).rpartition(".")[2]


def values(part: Any) -> Any:
    """A part of a batch as one array; a dict of boxes a row becomes one array too."""
    if isinstance(part, list | tuple) and part and all(isinstance(row, Mapping) for row in part):
        try:
            return padded(part, host)
        except (KeyError, TypeError, ValueError) as error:
            raise mix_error(
                "audit()", f"a row's boxes came as {sorted(map(str, part[0]))[:8]} ({error!r}).",
                "They are a dict with 'boxes' [n, 4] and 'labels' [n].",
                "Wrap the code, so that it takes and gives these.",
            ) from None  # fmt: skip
    return host(part)
