"""Opening a data set by its name: rows are listed here, and read one by one later."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchmix._errors import MixError, mix_error
from batchmix.cli.lab.data.folders import Listing, scan
from batchmix.cli.lab.data.images import RULES, Images
from batchmix.cli.lab.data.sounds import Sound, Sounds, form_of
from batchmix.cli.lab.data.targets import read_targets
from batchmix.cli.lab.rows import Data, Rows, Task

BUILT_IN = ("photos", "digits")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def open_data(
    name: str,
    *,
    targets: Path | None = None,
    sound: Sound | None = None,
    seconds: float | None = None,
    target: str | None = None,
) -> Data:
    """List a data set: 'digits' or 'photos', else a folder, else one of the Hugging Face hub.

    A CSV is a table, of which `target` is the column to learn.

    `targets` is a CSV of what the files of the folder are. WAV files, if it holds such, are read as
    log-mel spectrograms ("mel", default) or as they are ("wave"), each `seconds` long, else as long
    as their median.
    """
    try:
        folder = Path(name).expanduser()
        is_folder = name != "" and folder.is_dir()
    except (OSError, ValueError, RuntimeError):  # a name that no path can have
        is_folder = False
    if target is not None or (name.lower().endswith(".csv") and not is_folder):
        for option, value in (("--targets", targets), ("--seconds", seconds)):
            if value is not None:
                raise _not_for(option, value, name)
        return _table(name, target)
    if name not in BUILT_IN and is_folder:
        return _folder(name, folder, targets, sound, seconds)
    for option, value in (("--targets", targets), ("--seconds", seconds)):
        if value is not None:
            raise _not_for(option, value, name)
    if name == "digits":
        from batchmix.cli.lab.data.digits import open_digits

        return open_digits()
    if name == "photos":
        return _photos()
    if _is_path(name):
        short = name if len(name) <= 200 else name[:200] + "..."
        raise mix_error(
            "DATA",
            f"{short!r} is not a folder.",
            "It is 'photos', 'digits', a folder of images or WAV files, a CSV, or a Hugging Face "
            "data set.",
            "Pass a folder that holds train/CLASS/* or CLASS/*.",
        )
    from batchmix.cli.lab.data.hub import open_hub

    return open_hub(name)


def _table(name: str, target: str | None) -> Data:
    """The lines of a CSV."""
    if target is None or not name.lower().endswith(".csv"):
        raise mix_error(
            "DATA" if target is None else "--target", f"got {name[:200]!r} "
            f"{'without --target' if target is None else f'with --target {target[:80]!r}'}.",
            "A table is a CSV, and one of its columns is what is learnt.",
            "Pass for example table.csv --target price, to preview or to compare.",
        )  # fmt: skip
    from batchmix.cli.lab.data.tables import open_table

    return open_table(name, target)


def _is_path(name: str) -> bool:
    """Whether a name that is no folder was meant as a path, and not as one of the hub."""
    if not _HUB.fullmatch(name) or len(name) > 200 or name.startswith("."):
        return True
    parent = Path(name).parent
    return Path(name).is_symlink() or Path(name).exists() or (parent != Path() and parent.is_dir())


def _folder(
    name: str, folder: Path, targets: Path | None, sound: Sound | None, seconds: float | None
) -> Data:
    """The files of a folder; nothing but their headers is read here."""
    root = str(folder)
    notes: tuple[str, ...] = ()
    if targets is None:
        found = scan(root)
        media, listings, notes = found.media, found.parts, found.note()
        task = Task("classes", found.classes)
    else:
        media, task, listings = read_targets(root, targets)
    if media == "image":
        if seconds is not None:
            raise _not_for("--seconds", seconds, name)
        rows = {p: Rows(t.names, t.y, Images(root, t.names)) for p, t in listings.items()}
        return Data(
            name, root, "image", task, rows["train"], rows.get("val"), rows.get("test"),
            notes=notes, fingerprint=_fingerprint(task, listings, "image"),
        )  # fmt: skip
    sound = sound or "mel"
    form, length = form_of(root, listings["train"].names, seconds)
    rows = {p: Rows(t.names, t.y, Sounds(root, t.names, sound, form)) for p, t in listings.items()}
    return Data(
        name, root, sound, task, rows["train"], rows.get("val"), rows.get("test"),
        rate=form.rate, notes=(*notes, *length),
        seconds=form.cells / form.rate, fingerprint=_fingerprint(task, listings, sound, *form),
    )  # fmt: skip


def _photos() -> Data:
    """Four squares of each of eight photographs, 192 x 192; photos/CREDITS.md says whose."""
    data = _folder("photos", Path(__file__).with_name("photos"), None, None, None)
    here = Path("photos").is_dir()
    note = ("the photographs of batchmix; the folder of this name is ./photos",) if here else ()
    return replace(data, shape=(192, 192, 3), notes=note)


def _fingerprint(task: Task, listings: dict[str, Listing], *how: Any) -> str:
    """Of names, targets, sizes in bytes, and how rows are read."""
    total = hashlib.sha256(repr((RULES, task, how)).encode())
    for part, (names, sizes, y) in listings.items():
        total.update(f"\0{part}\0".encode())
        total.update("\0".join(names).encode(errors="surrogateescape"))
        total.update(repr(sizes).encode())
        total.update(y.tobytes())
    return total.hexdigest()[:16]


def _not_for(option: str, value: object, name: str) -> MixError:
    what = "a folder" if option == "--targets" else "WAV files"
    return mix_error(
        f"{option} {value}", f"{name} holds images, or is no folder.",
        f"The option is for {what}.", "Leave it out.",
    )  # fmt: skip
