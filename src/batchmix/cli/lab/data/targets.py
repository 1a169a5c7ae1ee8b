"""A CSV that says what each file of a folder is.

Columns: `file`, relative to the folder; `split` (train, val, test), if there is one; and targets.
One column `label` names a class, or with "|" between them any number of classes; numbers that are
not all whole, and columns with other names, are what a regression learns.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix.cli._output import shown
from batchmix.cli.lab.data.folders import PARTS, Listing, Media, media_of
from batchmix.cli.lab.data.names import bad_file, reason
from batchmix.cli.lab.rows import Task

_LARGEST = 2**30  # bytes
_CELLS = 2**28  # of targets
_ROW = 2**20  # characters
_COLUMNS = "The first line names the columns: file, targets, and split if there is one."


class Table(NamedTuple):
    """The files that a CSV names."""

    media: Media
    task: Task
    parts: dict[str, Listing]


class Cells:
    """The cells of a CSV, row by row. A long row, which may be of many lines, is not read whole."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._left = file, _ROW
        self._cells = csv.reader(iter(self._line, ""), strict=True)

    def __iter__(self) -> Iterator[list[str]]:
        for row in self._cells:
            self._left = _ROW
            yield row

    @property
    def line_num(self) -> int:
        return self._cells.line_num

    def _line(self) -> str:
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise csv.Error(f"line {self.line_num + 1} is longer than {_ROW} characters")
        return line


class _Line(NamedTuple):
    number: int
    file: str
    size: int
    part: str
    targets: list[str]


def read_targets(root: str, path: Path) -> Table:
    """Read the CSV; whatever is wrong is a MixError with the number of the line."""
    try:
        if path.stat().st_size > _LARGEST or not stat.S_ISREG(path.stat().st_mode):
            raise bad_file(
                str(path), "it is no file, or larger than 1 GiB.", _COLUMNS, "Pass a CSV."
            )
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            columns, lines = _lines(root, path, Cells(file))
    except (OSError, csv.Error) as error:
        raise bad_file(str(path), f"it cannot be read ({reason(error)}).", _COLUMNS) from None
    media = media_of(lines[0].file)
    for line in lines:
        if media_of(line.file) != media:
            raise _wrong(path, line, f"{line.file!r} is no {media} as the first file is.")
    assert media is not None  # of every file that `_file` lets through
    task, y = _task(path, columns, lines)
    parts: dict[str, Listing] = {}
    for part in ("train", "val", "test"):
        index = [i for i, line in enumerate(lines) if line.part == part]
        if index:
            some = [lines[i] for i in index]
            parts[part] = Listing([s.file for s in some], [s.size for s in some], y[index])
    if "train" not in parts:
        raise bad_file(
            str(path), "no line is of the split 'train'.", _COLUMNS, "Name the training rows."
        )
    return Table(media, task, parts)


def _lines(root: str, path: Path, cells: Cells) -> tuple[list[str], list[_Line]]:
    """The names of the target columns, and the lines."""
    rows = iter(cells)
    header = [name.strip() for name in next(rows, [])]
    columns = [name for name in header if name not in ("file", "split")]
    named = header.count("file") == 1 and all(header) and len(set(header)) == len(header)
    if not named or not columns or ("label" in columns and len(columns) > 1):
        raise bad_file(
            f"{path} line 1", f"the columns are {[name[:40] for name in header[:20]]!r}.", _COLUMNS,
            "Begin with file,label or file,label,split; or with file and names of numbers.",
        )  # fmt: skip
    lines: list[_Line] = []
    seen: dict[str, int] = {}
    for row in rows:
        if not row:
            continue
        line = _Line(cells.line_num, "", 0, "train", [])
        if len(row) != len(header):
            raise _wrong(path, line, f"it has {len(row)} cells, the first line {len(header)}.")
        found = dict(zip(header, (cell.strip() for cell in row)))
        part = PARTS.get(found.get("split", "train"))
        if part is None:
            raise _wrong(path, line, f"the split is {found['split'][:80]!r}.", "train, val or test")
        file, size = _file(root, path, line, found["file"])
        if file in seen:
            raise _wrong(path, line, f"{file!r} was named in line {seen[file]} already.")
        seen[file] = line.number
        targets = [found[name] for name in columns]
        lines.append(line._replace(file=file, size=size, part=part, targets=targets))
    if not lines:
        raise bad_file(str(path), "it names no file.", _COLUMNS, "Add a line for each file.")
    return columns, lines


def _file(root: str, path: Path, line: _Line, name: str) -> tuple[str, int]:
    """The name as it is kept, and the bytes of the file, which lies inside the folder."""
    kept = Path(name).as_posix() if name else ""  # "./a//b" is "a/b"
    short = name if len(name) <= 200 else name[:200] + "..."
    if not kept or Path(kept).is_absolute() or ".." in Path(kept).parts:
        raise _wrong(path, line, f"the file is {short!r}.", "a path inside the folder")
    if media_of(kept) is None:
        raise _wrong(path, line, f"{short!r} has not the suffix of an image or of a WAV file.")
    try:
        found = Path(root, kept).stat()
    except (OSError, ValueError) as error:
        raise _wrong(path, line, f"the file {short!r} cannot be found ({reason(error)}).") from None
    if not stat.S_ISREG(found.st_mode):
        raise _wrong(path, line, f"{short!r} is not a file.")
    return kept, found.st_size


def _task(path: Path, columns: Sequence[str], lines: list[_Line]) -> tuple[Task, NDArray[Any]]:
    """What is learnt, and the targets of all lines."""
    cells = [line.targets[0] for line in lines]
    if columns != ["label"] or decimal(cells):
        y = np.array([_numbers(path, columns, line) for line in lines], np.float32)
        return Task("numbers", tuple(map(shown, columns))), y
    many = any("|" in cell for cell in cells)
    sets = [[p.strip() for p in cell.split("|") if p.strip()] for cell in cells]
    for line, labels in zip(lines, sets):
        if not labels and not many:
            raise _wrong(path, line, "the label is empty.")
        if len(set(labels)) < len(labels):
            raise _wrong(path, line, f"a label is named twice in {line.targets[0][:80]!r}.")
    names = sorted({name for labels in sets for name in labels})
    number = {name: i for i, name in enumerate(names)}
    safe = tuple(map(shown, names))
    if not many:
        return Task("classes", safe), np.array([number[s[0]] for s in sets], np.int64)
    if len(names) * len(lines) > _CELLS:
        raise bad_file(
            str(path),
            f"it has {len(lines)} lines of {len(names)} labels.",
            f"At most {_CELLS} targets are kept.",
            "Use fewer labels.",
        )
    y = np.zeros((len(lines), len(names)), np.float32)
    for row, labels in zip(y, sets):
        row[[number[name] for name in labels]] = 1
    return Task("labels", safe), y


def decimal(cells: Sequence[str]) -> bool:
    """Whether all are numbers, not all of them whole."""
    try:
        return not all(float(cell).is_integer() and is_whole_number(cell) for cell in cells)
    except (ValueError, OverflowError):
        return False


def is_whole_number(cell: str) -> bool:
    """Whether it is written as one: 34, and not 34.0."""
    return cell.lstrip("+-").isdecimal()


def _numbers(path: Path, columns: Sequence[str], line: _Line) -> list[float]:
    found: list[float] = []
    for column, cell in zip(columns, line.targets):
        try:
            value = float(cell)
        except ValueError:
            value = float("nan")
        if not abs(value) <= float(np.finfo(np.float32).max):  # nor NaN
            raise _wrong(
                path, line, f"{column!r} is {cell[:80]!r}.", "a finite number in every line"
            )
        found.append(value)
    return found


def _wrong(path: Path, line: _Line, got: str, needed: str = "") -> MixError:
    rule = f"It is {needed}." if needed else "Each line names one file of the folder, once."
    return bad_file(f"{path} line {line.number}", got, rule, "Correct or remove the line.")
