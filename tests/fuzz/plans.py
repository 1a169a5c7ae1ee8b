"""Saved plans. After a first byte "Z" the rest is a zip, else it is members that are zipped here.

A member is a letter for its name, two bytes of length, and its content, so that no checksum keeps
the fuzzer from what is inside.
"""

import io
import zipfile

import numpy as np

import batchmix as bm
from fuzz.refusals import FOLDER, refused

COLUMNS = ("partner", "box", "opacity", "mask", "source", "kind", "label_lam")
LAYERS = tuple(name + end for end in ("", ".2", ".3") for name in COLUMNS)
NAMES = ("format", "axes", "size", "resample", "others", *LAYERS)


def seeds():
    plans = [
        bm.Plan.identity(3),
        bm.Plan(
            [1, 0], [[[0, 2], [1, 3]]] * 2, [0.5, 1], "HW", (3, 4), mask=np.ones((2, 3, 4)),
            kind=[0, 1], source=[[[1, 2], [0, 4]]] * 2, label_lam=[0.25, np.nan],
            resample="bilinear",
        ),
        bm.Plan(
            [4, 0], [[[0, 2], [1, 3]]] * 2, [0.5, 1], "HW", (3, 4), others=5,
            mask=np.full((2, 2, 1), 200, np.uint8),
        ),
    ]  # fmt: skip
    plans.append(plans[1].then(plans[1]).then(plans[1].at({"H": 3, "W": 4})))
    found = []
    for plan in plans:
        plan.save(FOLDER / "seed.npz")
        found.append(b"Z" + (FOLDER / "seed.npz").read_bytes())
        with zipfile.ZipFile(FOLDER / "seed.npz") as archive:
            parts = [(name, archive.read(name)) for name in archive.namelist()]
        found.append(
            b"M" + b"".join(
                bytes([65 + NAMES.index(name.removesuffix(".npy"))])
                + len(content).to_bytes(2, "little") + content
                for name, content in parts
            )
        )  # fmt: skip
    return found


def _zipped(data):
    file, i = io.BytesIO(), 0
    with zipfile.ZipFile(file, "w") as archive:
        while i + 3 <= len(data):
            name = f"{NAMES[(data[i] - 65) % len(NAMES)]}.npy"
            length = int.from_bytes(data[i + 1 : i + 3], "little")
            if name not in archive.NameToInfo:
                archive.writestr(name, data[i + 3 : i + 3 + length])
            i += 3 + length
    return file.getvalue()


def one(data):
    path = FOLDER / "plan.npz"
    path.write_bytes(data[1:] if data[:1] == b"Z" else _zipped(data[1:]))
    plan = None
    with refused(repr(str(path))):
        plan = bm.Plan.load(path)
    if plan is not None:
        plan.save(path)
        again = bm.Plan.load(path)
        assert again.form == plan.form
        for name, value in plan.columns().items():
            np.testing.assert_array_equal(again.columns()[name], value)
