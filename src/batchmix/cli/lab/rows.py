"""What a data set is to every command: rows read one by one, their targets, their parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["classes", "labels", "numbers"]
Form = Literal["image", "mel", "wave", "table"]


@dataclass(frozen=True)
class Task:
    """What is learnt of a row.

    "classes": one of `names` (y is int64 [N], ids). "labels": any of `names` at once (y is float32
    [N, K] of 0 and 1). "numbers": a number for each of `names` (y is float32 [N, K]).
    """

    kind: Kind
    names: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many numbers a model gives per row."""
        return len(self.names)


UNLABELLED = Task("classes", ("unlabelled",))  # of a folder of files without class folders


@dataclass(frozen=True)
class Column:
    """A column of a table: of numbers, or of words."""

    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a data set. Nothing is decoded before `read`, which works in any process.

    `read(i)` is row i: uint8 [H, W, C] of an image, float32 [mel, T, 1] of a log-mel spectrogram,
    int16 or float32 [T, C] of a wave, float32 [columns, 1 + words] of a table. A row that cannot
    be read is a MixError that names it.
    A reader that has all its rows in one array shows it as `read.x`: a batch is then one index.
    """

    names: Sequence[
        str
    ]  # [N], as messages and predictions call them; files relative to `Data.root`
    y: NDArray[Any]  # [N] or [N, K], see Task
    read: Callable[[int], NDArray[Any]]  # of a number in 0..N-1; can be pickled
    picked: NDArray[np.int64] | None = None  # rows i that `read` knows as picked[i]

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> NDArray[Any]:
        """Row i, decoded."""
        return self.read(int(i if self.picked is None else self.picked[i]))

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows of `index`, in its order."""
        picked = index if self.picked is None else self.picked[index]
        return Rows([self.names[i] for i in index], self.y[index], self.read, picked)

    def relabel(self, y: NDArray[Any]) -> Rows:
        """The same rows with other targets."""
        return replace(self, y=y)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set; `val` and `test` are None where it has no such part."""

    name: str  # as it was given
    root: str  # the folder that names of rows are relative to; "" if there is none
    form: Form
    task: Task
    train: Rows
    val: Rows | None = None
    test: Rows | None = None
    shape: tuple[int, ...] | None = None  # of every row as it is read; None where sizes differ
    rate: int = 0  # of sound, cells per second
    skipped: tuple[tuple[str, str], ...] = ()  # names of rows that cannot be read, and why
    fingerprint: str = ""  # of names, targets, sizes in bytes, and how rows are read
    seconds: float | None = None  # of every clip of sound
    columns: tuple[Column, ...] = ()  # of a table
    notes: tuple[str, ...] = ()  # what is worth saying once: files left out, lengths, frames
