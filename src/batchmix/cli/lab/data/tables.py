"""A CSV as a table: each line is a row, one column is what is learnt."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError
from batchmix._regular import check_regular
from batchmix.cli._output import shown
from batchmix.cli.lab.data.digits import Memory
from batchmix.cli.lab.data.folders import PARTS
from batchmix.cli.lab.data.names import bad_file, reason
from batchmix.cli.lab.data.targets import Cells, decimal, is_whole_number
from batchmix.cli.lab.rows import Column, Data, Rows, Task

_LARGEST = 2**28  # bytes
_CELLS = 2**27  # of the array
_CATEGORIES = 64  # of a column
_COARSE = 0.01  # of the spread of a column: what rounding may be
_MANY = 20  # classes whose names are whole numbers; more may be meant as numbers
_RULE = "The first line names the columns; all lines have as many cells, with commas between."


class _Table(NamedTuple):
    header: list[str]
    numbers: list[int]  # of lines in the file
    lines: list[list[str]]


def open_table(name: str, target: str) -> Data:
    """The lines of a CSV, float32 [C, 1 + K]: a number, or which of a column's K words it is.

    A column is of numbers, or else of words, at most 64 different ones; one with both is refused.
    Parts are those of a column `split`, if there is one.
    """
    path = Path(name).expanduser()
    table = _read(path)
    if target not in table.header or target == "split":
        raise bad_file(
            str(path), f"it has no column {target[:80]!r} to learn.",
            f"Its columns are {', '.join(map(shown, table.header[:20]))}.",
            "Name one of them with --target.",
        )  # fmt: skip
    columns = {head: [line[k] for line in table.lines] for k, head in enumerate(table.header)}
    split = [PARTS.get(cell) for cell in columns.pop("split", ["train"] * len(table.lines))]
    task, y = _target(path, table, target, columns.pop(target))
    found = [_column(path, table, head, cells) for head, cells in columns.items()]
    if not found:
        raise bad_file(str(path), "it has no other column.", _RULE, "Add what is learnt from.")
    x = _cells(path, found)
    parts = {}
    for part in ("train", "val", "test"):
        index = np.array([k for k, each in enumerate(split) if each == part], np.int64)
        if len(index):
            names = [f"line {table.numbers[k]}" for k in index]
            parts[part] = Rows(names, y[index], Memory(x[index]))
    if None in split or "train" not in parts:
        wrong = table.numbers[split.index(None)] if None in split else 1
        raise bad_file(
            f"{path} line {wrong}", "the column 'split' does not fit.",
            "It is train, val or test, and train in some lines.", "Correct it.",
        )  # fmt: skip
    total = hashlib.sha256(repr((task, [column for column, _ in found], split)).encode())
    total.update(x.tobytes() + y.tobytes())
    return Data(
        name, "", "table", task, parts["train"], parts.get("val"), parts.get("test"),
        shape=x.shape[1:], fingerprint=total.hexdigest()[:16],
        columns=tuple(column for column, _ in found), notes=_meant(task, target),
    )  # fmt: skip


def _read(path: Path) -> _Table:
    """All cells, without the spaces around them."""
    try:
        check_regular(path)
        if path.stat().st_size > _LARGEST:
            raise bad_file(str(path), "it is larger than 256 MiB.", _RULE, "Pass fewer lines.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = Cells(file)
            rows = iter(cells)
            header = [name.strip() for name in next(rows, [])]
            found = [(cells.line_num, [c.strip() for c in row]) for row in rows if row]
    except UnicodeDecodeError:
        raise bad_file(str(path), "it is not UTF-8.", _RULE, "Save it as UTF-8.") from None
    except (OSError, csv.Error) as error:
        raise bad_file(str(path), f"it cannot be read ({reason(error)}).", _RULE) from None
    if not all(header) or len(set(header)) < len(header) or len(header) < 2:
        raise bad_file(
            f"{path} line 1", f"the columns are {[name[:40] for name in header[:20]]!r}.", _RULE,
            _named(header),
        )  # fmt: skip
    for number, row in found:
        if len(row) != len(header):
            raise bad_file(
                f"{path} line {number}", f"it has {len(row)} cells, the first line {len(header)}.",
                _RULE, "Correct or remove the line.",
            )  # fmt: skip
    if len(found) < 2:
        raise bad_file(str(path), f"it has {len(found)} lines below the first.", _RULE, "Add some.")
    return _Table(header, [number for number, _ in found], [row for _, row in found])


def _target(
    path: Path, table: _Table, target: str, cells: Sequence[str]
) -> tuple[Task, NDArray[Any]]:
    """What is learnt: numbers that are not all whole, else classes."""
    if "" in cells:
        raise _wrong(path, table.numbers[cells.index("")], f"{target!r} is empty")
    _check_points(path, table, target, cells)
    if decimal(cells):
        y = _numbers(path, table, target, cells)
        return Task("numbers", (shown(target),)), y[:, None]
    names = sorted(set(cells))
    number = {name: k for k, name in enumerate(names)}
    return Task("classes", tuple(map(shown, names))), np.array([number[c] for c in cells], np.int64)


def _meant(task: Task, target: str) -> tuple[str, ...]:
    """What to say of classes that look like numbers."""
    many = task.kind == "classes" and len(task.names) > _MANY
    if not (many and all(map(is_whole_number, task.names))):
        return ()
    return (f"{shown(target)!r} has {len(task.names)} whole numbers, which are learnt as classes; "
            "where they are numbers to predict write 34.0 for 34",)  # fmt: skip


def _named(header: Sequence[str]) -> str:
    """What is to be done about names of columns."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        return "Write commas between the cells, and decimal points: pandas' to_csv does."
    if header and not header[0]:
        return "Name each column; pandas leaves its index out with to_csv(index=False)."
    return "Name each column, and each differently."


def _column(
    path: Path, table: _Table, head: str, cells: Sequence[str]
) -> tuple[Column, NDArray[Any]]:
    """A column, and its numbers, or the places of its words."""
    _check_points(path, table, head, cells)
    if any(map(_is_number, cells)):
        return Column(shown(head)), _numbers(path, table, head, cells)
    words = sorted(set(cells))
    if len(words) > _CATEGORIES:
        raise bad_file(
            str(path), f"the column {shown(head)[:80]!r} has {len(words)} different words.",
            f"A column is of numbers, or of at most {_CATEGORIES} words.", "Leave it out.",
        )  # fmt: skip
    place = {word: k for k, word in enumerate(words)}
    return Column(shown(head), tuple(map(shown, words))), np.array([place[c] for c in cells])


def _cells(path: Path, found: Sequence[tuple[Column, NDArray[Any]]]) -> NDArray[np.float32]:
    """[N, C, 1 + K]."""
    most = max(len(column.words) for column, _ in found)
    shape = (len(found[0][1]), len(found), 1 + most)
    if math.prod(shape) > _CELLS:
        raise bad_file(str(path), f"it has {shape[0]} lines of {shape[1]} columns.",
                       f"At most {_CELLS} numbers are kept.", "Pass fewer lines.")  # fmt: skip
    x = np.zeros(shape, np.float32)
    for k, (column, values) in enumerate(found):
        if column.words:
            x[np.arange(len(x)), k, 1 + values] = 1
        else:
            x[:, k, 0] = values
    return x


def _numbers(path: Path, table: _Table, head: str, cells: Sequence[str]) -> NDArray[np.float32]:
    for number, cell in zip(table.numbers, cells):
        if not _is_number(cell):
            raise _wrong(path, number, f"{head!r} is {cell[:80]!r}, in a column of numbers")
    values = np.array(cells, np.float64)
    kept = values.astype(np.float32)
    differ = values.min() < values.max()
    if differ and np.abs(values - kept).max() > _COARSE * values.std():
        raise bad_file(
            str(path), f"the column {shown(head)[:80]!r} lies between {values.min():.12g} and "
            f"{values.max():.12g}.",
            "Numbers are kept as float32, of seven digits, in which these are all but the same.",
            "Subtract the smallest from all.",
        )  # fmt: skip
    return kept


def _check_points(path: Path, table: _Table, head: str, cells: Sequence[str]) -> None:
    """Numbers that are written as 1,5 would be taken for words."""
    if not any(map(_is_number, cells)) and all(_is_number(c.replace(",", ".")) for c in cells):
        raise bad_file(
            f"{path} line {table.numbers[0]}", f"{head!r} is {cells[0][:80]!r}.",
            "A number has a decimal point, and no comma.", "Write for example 1.5.",
        )  # fmt: skip


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= float(np.finfo(np.float32).max)  # nor NaN
    except ValueError:
        return False


def _wrong(path: Path, line: int, got: str) -> MixError:
    rule = "Nothing is guessed: all cells of a column are numbers, or none; no target is empty."
    return bad_file(f"{path} line {line}", f"{got}.", rule, "Correct or remove the line.")
