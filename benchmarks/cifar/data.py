"""CIFAR-10 as bytes: decoded once, then on the device, an epoch cut by a few operations."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from batchmix.extend import mix_error

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training rows
PAD = 4
CACHE = "cifar10.npz"
Tensor = Any


class Rows(NamedTuple):
    """Images uint8 [N, H, W, C] and class ids [N], sorted by class and file."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]


class Data(NamedTuple):
    """Both parts of the data set."""

    train: Rows
    test: Rows
    classes: int
    digest: str  # of all bytes: which data a run was made with

    @property
    def whole(self) -> bool:
        """Whether these are all rows of CIFAR-10."""
        return (len(self.train.y), len(self.test.y), self.classes) == (50_000, 10_000, 10)


def load(source: Path | None, folder: Path) -> Data:
    """The decoded rows of `source`, a folder or an archive of one; from the cache in `folder`."""
    cache = folder / CACHE
    if source is None and not cache.exists():
        raise mix_error(
            "--data", f"it is left out, and there is no {CACHE} in --out.",
            "The images are decoded once and kept there.",
            "Name the folder with train/CLASS/* and test/CLASS/*, or a .tar.gz of it.",
        )  # fmt: skip
    if cache.exists():
        data, name = _kept(cache)
        if source is None or name == source.name:
            return data
    assert source is not None
    return _decoded(source, cache)


def _kept(cache: Path) -> tuple[Data, str]:
    try:
        with np.load(cache, allow_pickle=False) as file:
            train, test = (Rows(file[f"{part}_x"], file[f"{part}_y"]) for part in ("train", "test"))
            found = Data(train, test, int(file["classes"]), str(file["digest"]))
            return found, str(file["source"])
    except (BadZipFile, KeyError, ValueError, EOFError) as problem:
        raise mix_error(
            CACHE, f"it cannot be read: {type(problem).__name__}.", "It holds the decoded images.",
            "Remove it; it is made again from --data.",
        ) from problem  # fmt: skip


def _decoded(source: Path, cache: Path) -> Data:
    """Every image of the source; written to the cache under another name first."""
    files = dict(_files(source))
    classes = sorted({name.parent.name for name in files})
    parts = {}
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        for part in ("train", "test"):
            names = sorted(name for name in files if name.parent.parent.name == part)
            if not names:
                raise _unlike(f"{source.name!r} holds no {part}/CLASS/*.jpg.")
            rows = list(threads.map(lambda name: _image(name, files[name]), names))
            if len({row.shape for row in rows}) > 1:
                raise _unlike(f"images of {part} differ in size.")
            ids = [classes.index(name.parent.name) for name in names]
            parts[part] = Rows(np.stack(rows), np.array(ids))
    digest = hashlib.sha256(b"".join(row.tobytes() for part in parts.values() for row in part))
    data = Data(parts["train"], parts["test"], len(classes), digest.hexdigest()[:16])
    arrays = {f"{part}_{k}": v for part, rows in parts.items() for k, v in rows._asdict().items()}
    half = cache.with_name(f".{cache.name}.{os.getpid()}")
    with half.open("wb") as file:
        np.savez(file, classes=len(classes), digest=data.digest, source=source.name, **arrays)
    half.replace(cache)
    return data


def _files(source: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """(name, content) of each file of a folder or an archive."""
    if source.is_dir():
        for path in source.glob("*/*/*.jp*g"):
            yield PurePosixPath(path.relative_to(source).as_posix()), path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name, file = PurePosixPath(member.name), archive.extractfile(member)
                if file and name.suffix in (".jpg", ".jpeg") and not name.name.startswith("."):
                    yield name, file.read()
    except (tarfile.TarError, EOFError) as problem:
        raise _unlike(f"{source.name!r} is no archive that can be read: {problem}.") from problem


def _image(name: PurePosixPath, content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as problem:
        raise _unlike(f"{str(name)!r} is no image that can be read.") from problem


def _unlike(got: str) -> Exception:
    return mix_error(
        "--data", got, "It holds train/CLASS/*.jpg and test/CLASS/*.jpg, images of one size.",
        "Name such a folder, or an archive of it.",
    )  # fmt: skip


def limited(rows: Rows, count: int) -> Rows:
    """`count` rows, spread evenly."""
    chosen = np.linspace(0, len(rows.y) - 1, min(count, len(rows.y))).astype(int)
    return Rows(rows.x[chosen], rows.y[chosen])


def held_out(rows: Rows, y: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Without the last tenth of each class (500 of 5,000), and that tenth; with the labels `y`."""
    last = np.zeros(len(rows.y), bool)
    for k in np.unique(rows.y):
        own = np.flatnonzero(rows.y == k)
        last[own[len(own) - max(len(own) // 10, 1) :]] = True
    return Rows(rows.x[~last], y[~last]), Rows(rows.x[last], y[last])


def with_wrong_labels(rows: Rows, share: float, classes: int, seed: int) -> Rows:
    """Exactly this share of the rows gets another class, each of the others equally likely."""
    rng = np.random.default_rng([seed, 40])
    wrong = rng.permutation(len(rows.y))[: round(share * len(rows.y))]
    y = rows.y.copy()
    y[wrong] = (y[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return Rows(rows.x, y)


class Loader:
    """Rows on the device: crops of the padded image, flips, normalised; channels last."""

    def __init__(self, rows: Rows, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype, self.size = dtype, rows.x.shape[1]
        self.x = torch.from_numpy(rows.x).to(device)
        self.y = torch.from_numpy(rows.y).to(device)
        frame = (0, 0, PAD, PAD, PAD, PAD)  # black
        self.padded = torch.nn.functional.pad(self.x, frame)

    def epoch(self, seed: int, epoch: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Its batches, a function of (seed, epoch) alone; rows beyond whole batches sit out.

        The whole epoch is cut at once, so that a step costs nothing but the view of its rows.
        """
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self.y))[: len(self.y) // batch * batch]
        corner = rng.integers(0, 2 * PAD + 1, (2, len(order), 1))
        flip = rng.random((len(order), 1)) < 0.5
        order, top, left, flip = (
            torch.from_numpy(a).to(self.y.device) for a in (order, *corner, flip)
        )
        cells = torch.arange(self.size, device=self.y.device)
        rows, columns = top + cells, torch.where(flip, left + cells.flip(0), left + cells)
        x = self.padded[order[:, None, None], rows[:, :, None], columns[:, None, :]]
        x, y = self._normalised(x), self.y[order]
        for k in range(0, len(order), batch):
            yield x[k : k + batch], y[k : k + batch]

    def plain(self) -> Tensor:
        """All rows as they are, normalised."""
        return self._normalised(self.x)

    def _normalised(self, x: Tensor) -> Tensor:
        mean, std = (255 * torch.tensor(values, device=x.device) for values in (MEAN, STD))
        return ((x - mean) / std).to(self.dtype).permute(0, 3, 1, 2)
