"""The rows that are predicted: files, folders, a CSV of targets, or a data set by its name.

They are read as in training. Where a data set has parts, its test part is taken, else val.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import shown
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.data.folders import PARTS, media_of
from batchmix.cli.lab.data.images import Images
from batchmix.cli.lab.data.targets import read_targets
from batchmix.cli.lab.rows import Data, Rows, Task
from batchmix.cli.lab.saved.config import Saved

_LEARNT = "no test part: rows that the model was trained on may be among them"
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601


@dataclass(frozen=True)
class Chosen:
    """Rows, and whether their targets are known; else they are 0."""

    rows: Rows
    known: bool
    note: str = ""  # which rows these are


@dataclass(frozen=True)
class Fitted:
    """Reads rows as `inner` does, in the channels and, if there is one, the size of a model."""

    inner: Callable[[int], NDArray[Any]]
    channels: int
    size: tuple[int, int] | None

    def check(self, i: int, pixels: bool) -> Any:
        """Raise what reading row i would raise."""
        check = getattr(self.inner, "check", None)
        return check(i, pixels) if check else self.inner(i)

    def __call__(self, i: int) -> NDArray[Any]:
        from batchmix.cli.lab.loading.augment import scale

        x = self.inner(i)
        if self.channels == 1 and x.shape[-1] == 3:
            x = np.rint(x @ _GREY).astype(np.uint8)[..., None]
        if self.size and x.shape[:2] != self.size:
            x = scale(x, (0, 0, x.shape[1], x.shape[0]), self.size)
        return x


def choose(words: Sequence[str], saved: Saved, targets: Path | None) -> Chosen:
    """The rows that the words name, with their targets where a folder or the CSV says them."""
    if targets is not None:
        return _of_csv(words, saved, targets)
    if len(words) == 1 and _is_data_name(words[0]):
        return _of_data(open_data(words[0]), saved)
    names, note = _files(words, saved)
    rows = Rows(names, np.zeros(len(names), np.int64), _reader("", names, saved))
    number = {name: i for i, name in enumerate(saved.task.names)}
    ids = [number.get(shown(Path(name).parent.name), -1) for name in names]
    known = saved.task.kind == "classes" and min(ids) >= 0
    if known:
        rows = rows.relabel(np.array(ids, np.int64))
    return Chosen(rows, known, note or (_LEARNT if known else ""))


def readable(
    chosen: Chosen, tell: Callable[[int, int], None]
) -> tuple[Chosen, list[tuple[str, str]]]:
    """The rows that can be read, and why the others cannot; each is read here once more."""
    rows, bad = chosen.rows, list[tuple[str, str]]()
    good: list[int] = []
    check: Any = getattr(rows.read, "check", rows.read)
    for i, name in enumerate(rows.names):
        try:
            check(int(i if rows.picked is None else rows.picked[i]), True)
            good.append(i)
        except MixError as error:
            bad.append((name, str(error).partition("\n")[0].partition(": ")[2]))
        tell(i + 1, len(rows))
    if not good:
        raise _missing(rows.names[0], f"no file can be read ({bad[0][1].rstrip('.')})")
    return replace(chosen, rows=rows.take(np.array(good, np.int64))), bad


def _is_data_name(word: str) -> bool:
    """Whether a word is no file, no folder, and was not meant as one."""
    named = word[:1] not in "-./~" and media_of(word) is None
    return named and not Path(word).exists()


def _of_csv(words: Sequence[str], saved: Saved, targets: Path) -> Chosen:
    if len(words) != 1 or not Path(words[0]).is_dir():
        raise mix_error(
            "--targets", f"FILES is {' '.join(words)[:80]!r}.",
            "The files that a CSV names lie in one folder.", "Pass that folder as FILES.",
        )  # fmt: skip
    table = read_targets(words[0], targets)
    if table.media != ("image" if saved.form == "image" else "sound"):
        raise _other_form(f"the files of {targets}", table.media, saved)
    part = next(part for part in ("test", "val", "train") if part in table.parts)
    listing = table.parts[part]
    rows = Rows(listing.names, listing.y, _reader(words[0], listing.names, saved))
    y = _as_learnt(listing.y, table.task, saved.task)
    if y is None:
        raise mix_error(
            f"--targets {targets}",
            f"it has {table.task.kind}, {', '.join(table.task.names[:9])}.",
            f"The model gives {saved.task.kind}, {', '.join(saved.task.names[:9])}.",
            "Use the names of the CSV that it was trained with.",
        )
    return Chosen(rows.relabel(y), True, _part_of(part, str(targets)))


def _of_data(data: Data, saved: Saved) -> Chosen:
    if data.form != saved.form:
        raise _other_form(data.name, data.form, saved)
    part = next(p for p in ("test", "val", "train") if getattr(data, p) is not None)
    rows: Rows = getattr(data, part)
    y = _as_learnt(rows.y, data.task, saved.task)
    rows = Rows(rows.names, rows.y if y is None else y, _fitted(rows.read, saved), rows.picked)
    return Chosen(rows, y is not None, _part_of(part, data.name))


def _part_of(part: str, name: str) -> str:
    return f"{part} rows of {name}" if part != "train" else f"all rows of {name}; {_LEARNT}"


def _as_learnt(y: NDArray[Any], task: Task, learnt: Task) -> NDArray[Any] | None:
    """Targets in the names of the model; None where it has not learnt them."""
    if not set(task.names) <= set(learnt.names) or task.kind not in (learnt.kind, "classes"):
        return None
    index = np.array([learnt.names.index(name) for name in task.names])
    if learnt.kind == "classes":
        return np.asarray(index[y])
    if task.kind == "classes":
        return (
            np.eye(learnt.outputs, dtype=np.float32)[index[y]] if learnt.kind == "labels" else None
        )
    if learnt.kind == "numbers" and len(index) < learnt.outputs:
        return None
    found = np.zeros((len(y), learnt.outputs), np.float32)
    found[:, index] = y
    return found


def _files(words: Sequence[str], saved: Saved) -> tuple[list[str], str]:
    """Every file once, in the order given; those of a folder sorted."""
    media = "image" if saved.form == "image" else "sound"
    found: dict[str, None] = {}
    notes: list[str] = []
    for word in _listed(words):
        path = Path(word)
        if word and path.is_dir():  # the path of "" is the current folder
            top, note = _test_part(path)
            notes += [note] if note else []
            inside = [name for name in _below(top) if media_of(name) == media]
            if not inside:
                raise _missing(word, f"it holds no {media}")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            if media_of(word) not in (media, None):
                raise _other_form(word, str(media_of(word)), saved)
            found[word] = None
        else:
            raise _missing(word, "there is no such file or folder")
    if not found:
        raise _missing("-", "standard input names no file")
    return list(found), "; ".join(notes)


def _listed(words: Sequence[str]) -> Iterator[str]:
    """The words, and in place of - the lines of standard input."""
    for word in words:
        if word == "-":
            yield from map(os.fsdecode, filter(None, sys.stdin.buffer.read().splitlines()))
        else:
            yield word


def _test_part(folder: Path) -> tuple[Path, str]:
    """The part that a model was not trained on, where a folder has parts."""
    parts = {PARTS[p.name]: p for p in folder.iterdir() if p.name in PARTS and p.is_dir()}
    for name in ("test", "val"):
        if "train" in parts and name in parts:
            return parts[name], f"{parts[name]} of {folder}"
    return folder, ""


def _below(folder: Path) -> Iterator[str]:
    """All files that are not hidden."""
    for where, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield str(path)


def _raise(error: OSError) -> None:
    raise error


def _reader(root: str, names: list[str], saved: Saved) -> Callable[[int], NDArray[Any]]:
    """Reads files as in training."""
    if saved.form == "image":
        return _fitted(Images(root, names), saved)
    from batchmix.cli.lab.data.mel import cells_of
    from batchmix.cli.lab.data.sounds import Form, Sounds, form_of

    assert saved.form != "table"  # which no command saves
    first, _ = form_of(root, names, 1.0)
    channels = first.channels if saved.form == "mel" else saved.shape[0]
    cells = cells_of(saved.shape[2], saved.rate) if saved.form == "mel" else saved.shape[1]
    return Sounds(root, names, saved.form, Form(saved.rate, channels, first.dtype, cells))


def _fitted(read: Callable[[int], NDArray[Any]], saved: Saved) -> Callable[[int], NDArray[Any]]:
    if saved.form != "image":
        return read
    height, width = saved.shape[1:]
    return Fitted(read, saved.shape[0], None if saved.training.image_size else (height, width))


def _other_form(what: str, form: str, saved: Saved) -> MixError:
    return mix_error(
        "FILES", f"{what[:200]!r} is of the form {form!r}.",
        f"The model was trained on rows of the form {saved.form!r}.", "Pass such files.",
    )  # fmt: skip


def _missing(word: str, why: str) -> MixError:
    return mix_error(
        f"FILES {word[:200]!r}", f"{why}.",
        "FILES are files, folders, the name of a data set, or - for a list of files.",
        "Check the path.",
    )  # fmt: skip
