"""Training, held-out and test rows; which of them can be read; wrong labels on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown
from batchmix.cli.lab.data.images import Header
from batchmix.cli.lab.rows import UNLABELLED, Data, Rows

_TRAIN = 0.6  # of rows that come in one part
_CHUNK = 32  # rows that a thread checks in turn


@dataclass(frozen=True)
class Splits:
    """What one seed trains on, chooses epochs and temperature on, and is measured on."""

    train: Rows
    held_out: Rows
    test: Rows


def split(data: Data, seed: int, limit_train: int | None = None) -> Splits:
    """The parts of the data; parts that it lacks are drawn by seed, with classes in proportion.

    Without val and test, 60 % of the rows (at most `limit_train`) train. Without one of the two, a
    quarter of the held-out rows chooses, and the rest is the test. Rows skipped are in no part.
    """
    rng = np.random.default_rng(seed)
    skipped = {name for name, _ in data.skipped}
    train, val, test = (_without(part, skipped) for part in (data.train, data.val, data.test))
    assert train is not None
    held = val or test
    count = train_count(len(train), held is not None, limit_train)
    if held is None:
        order = in_proportion(data, train, rng)
        train, held = train.take(order[:count]), train.take(order[count:])
    elif count < len(train):
        train = train.take(in_proportion(data, train, rng)[:count])
    if val and test:
        splits = Splits(train, val, test)
    else:
        order = in_proportion(data, held, rng)
        quarter = len(held) // 4
        splits = Splits(train, held.take(order[:quarter]), held.take(order[quarter:]))
    _check(data, splits)
    return splits


def train_count(rows: int, others: bool, limit_train: int | None) -> int:
    """How many of the rows train; `others`: there are other rows to choose or to test by."""
    most = rows if others else int(_TRAIN * rows)
    return min(limit_train or most, most)


def _check(data: Data, splits: Splits) -> None:
    """Something to learn, and rows for every use."""
    classes = len(data.task.names)
    if data.task == UNLABELLED:
        raise mix_error(
            f"DATA {shown(data.name)}",
            f"it holds {len(data.train)} files and no class folders.",
            "Files without labels can be previewed, not learnt.",
            "Pass --targets FILE.csv, or a folder that holds train/CLASS/* or CLASS/*.",
        )
    if data.task.kind == "classes" and classes < 2:
        raise mix_error(
            f"DATA {shown(data.name)}",
            f"there is one class only, {data.task.names[0]!r}.",
            "Classification needs at least two.",
            "Add rows of another class, or name another column."
            if data.form == "table"
            else "Pass a folder that holds train/CLASS/* or CLASS/*, with several CLASS, or "
            "--targets.",
        )
    few = data.task.kind == "classes" and len(np.unique(splits.train.y)) < classes
    more = [f"Or: {note}." for note in data.notes if data.form == "table"]
    if few or not all(map(len, (splits.train, splits.held_out, splits.test))):
        raise mix_error(
            "DATA",
            f"{len(splits.train)} rows train, {len(splits.held_out)} are held out, "
            f"{len(splits.test)} test, for {classes} {data.task.kind}.",
            "Every class needs a training row, and no part may be empty.",
            " ".join(("Use more rows or a larger --limit-train.", *more)),
        )


def _without(rows: Rows | None, names: set[str]) -> Rows | None:
    if rows is None or names.isdisjoint(rows.names):
        return rows
    return rows.take(np.array([i for i, n in enumerate(rows.names) if n not in names], np.int64))


def corrupt(
    y: NDArray[np.int64], share: float, classes: int, seed: int, stream: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels of which exactly that share is wrong, all other classes equally likely; and which."""
    rng = np.random.default_rng([seed, stream])
    wrong = np.zeros(len(y), np.bool_)
    wrong[rng.permutation(len(y))[: round(share * len(y))]] = True
    return np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y), wrong


def in_proportion(data: Data, rows: Rows, rng: np.random.Generator) -> NDArray[np.int64]:
    """A shuffled order of rows; any first ones of it have nearly the proportions of all."""
    if data.task.kind != "classes":
        return rng.permutation(len(rows))
    at = np.empty(len(rows))  # 0..1 in the order
    for label in np.unique(rows.y):
        some = rng.permutation(np.flatnonzero(rows.y == label))
        at[some] = (np.arange(len(some)) + rng.random()) / len(some)
    return np.argsort(at, kind="stable")


def checked(
    data: Data,
    seeds: Iterable[int],
    limit_train: int | None,
    *,
    skip_bad: bool = False,
    pixels: bool = True,
    workers: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Data:
    """Read every row that a split of these seeds uses, before training.

    The first that cannot be read, in the order of the data, is a MixError that names it; or they
    are skipped, all of them listed, if they are not more than half. Without `pixels` only headers
    are read. `tell(done, total)` is called as rows are read, in `workers` threads.
    """
    seeds, seen = list(seeds), set[str]()
    shapes: set[tuple[int, ...]] = set()
    remarks: Counter[str] = Counter()
    while fresh := used_names(data, seeds, limit_train) - seen:
        bad: list[tuple[str, str]] = []
        for done, (name, found) in enumerate(_read(data, fresh, pixels, workers), len(seen) + 1):
            if isinstance(found, MixError):
                if not skip_bad:
                    raise found
                bad.append((name, _why(name, found)))
            else:
                shapes.add(found.shape)
                remarks[found.remark] += 1
            if tell:
                tell(done, len(seen) + len(fresh))
        seen |= fresh
        data = replace(data, skipped=(*data.skipped, *bad))
        if len(data.skipped) > len(seen) / 2:
            raise _hopeless(data, len(seen))
    del remarks[""]
    notes = tuple(f"{count} {what}" for what, count in remarks.items())
    shape = shapes.pop() if len(shapes) == 1 else None
    return replace(data, shape=shape, notes=(*data.notes, *notes))


def _why(name: str, error: MixError) -> str:
    """What is wrong, without the name and the advice."""
    line = str(error).partition("\n")[0]
    return line.partition(f"{shown(name)}: ")[2] or line


def used_names(data: Data, seeds: list[int], limit_train: int | None) -> set[str]:
    """The names of all rows in splits of these seeds."""
    used: set[str] = set()
    for seed in seeds:
        used.update(*(rows.names for rows in vars(split(data, seed, limit_train)).values()))
    return used


def _read(
    data: Data, names: set[str], pixels: bool, workers: int
) -> Iterator[tuple[str, Header | MixError]]:
    """What reading each of these rows gives, in the order of the data."""

    def look(chunk: list[tuple[Rows, int]]) -> list[tuple[str, Header | MixError]]:
        return [(rows.names[i], _look(rows, i, pixels)) for rows, i in chunk]

    parts = [part for part in (data.train, data.val, data.test) if part is not None]
    todo: dict[str, tuple[Rows, int]] = {}  # a row may be in two parts
    for rows in parts:
        for i, name in enumerate(rows.names):
            if name in names:
                todo.setdefault(name, (rows, i))
    left = iter(todo.values())
    chunks = iter(lambda: list(islice(left, _CHUNK)), [])
    with ThreadPoolExecutor(max(1, workers)) as pool:  # decoders release the GIL
        while batch := list(islice(chunks, 4 * max(1, workers))):
            for found in pool.map(look, batch):
                yield from found


def _look(rows: Rows, i: int, pixels: bool) -> Header | MixError:
    """The header of a row, or why it cannot be read."""
    check: Any = getattr(rows.read, "check", None)
    try:
        if check is None:
            return Header(rows[i].shape)
        found: Header = check(int(i if rows.picked is None else rows.picked[i]), pixels)
        return found
    except MixError as error:
        return error


def _hopeless(data: Data, total: int) -> MixError:
    name, why = data.skipped[0]
    return mix_error(
        f"DATA {shown(data.name)}",
        f"{len(data.skipped)} of {total} rows cannot be read, the first is {name!r} ({why}).",
        "Up to half of the rows are skipped.",
        "Repair the files, or pass another folder.",
    )
