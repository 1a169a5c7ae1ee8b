"""Cases are made to be sent around: the file of a stranger is data, and none of it is run."""

import io
import json
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import batchmix as bm

CODE = """
from pathlib import Path

class Mine:
    def __init__(self, path=None):
        if path:
            Path(path).touch()

    def __call__(self, x, y):
        return x, y[::-1]
"""
ABOUT = {
    "format": 2,
    "check": "label error, even batch",
    "call": 0,
    "number": 1.0,
    "kind": {"name": "even batch", "layout": "NCHW", "size": {"H": 12, "W": 20}, "batch": 8,
             "dtype": "float32", "nan": False},
    "options": {"call": "xy", "keys": {"image": "image", "label": "label"}, "labels": "ids",
                "box_format": "xyxy", "weight": "own", "classes": 10, "layout": "NCHW",
                "size": {"H": 12, "W": 20, "T": 5, "D": 6}, "batch": 8, "calls": 3,
                "max_unmixed": 0.5},
    "notes": {},
}  # fmt: skip


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def case(tmp_path):
    """A maker of case files, in which something is other than an audit writes it."""

    def make(**changed):
        path = tmp_path / "case.npz"
        np.savez_compressed(path, about=np.array(json.dumps(ABOUT | changed)))
        return path

    return make


def test_a_case_that_an_audit_could_have_written_is_replayed(run, code, case):
    done, out, error = run("audit", f"{code}:Mine", "--replay", case())
    assert (done, error) == (1, "")
    assert "label error, even batch" in out


@pytest.mark.parametrize("target", ["{code}:Mine", "pathlib:Path.touch"])
def test_no_code_comes_from_a_case(run, code, case, tmp_path, target):
    mark = tmp_path / "mark"
    notes = {"target": target.format(code=code), "args": json.dumps({"path": str(mark)})}
    path = case(notes=notes | {"framework": "numpy"})
    done, _, error = run("audit", "--replay", path)
    assert done == 2
    assert "got no target" in error
    done, _, error = run("audit", f"{code}:Mine", "--replay", path)  # its arguments neither
    assert done == 1
    assert f"was written with the --args {notes['args']}, and this is {{}}" in error
    assert not mark.exists()


def test_nothing_beside_a_case_stands_in_for_what_is_installed(case, tmp_path):
    """As in a folder of downloads: `timm` is the one that is installed."""
    (tmp_path / "timm.py").write_text("open('mark', 'w')")
    path = case(notes={"framework": "torch"})
    command = "from batchmix.cli import main; main()"
    words = ["audit", "timm.data.mixup:Mixup", "--args", '{"num_classes": 10}', "--replay", path]
    python = [sys.executable, "-P", "-c", command]
    done = subprocess.run([*python, *words], cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    assert not (tmp_path / "mark").exists()


KIND, OPTIONS = ABOUT["kind"], ABOUT["options"]


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 1},
        {"check": "no such check"},
        {"check": ["even batch"]},
        {"kind": {}},
        {"kind": None},
        {"kind": KIND | {"dtype": "object"}},
        {"kind": KIND | {"dtype": "load"}},
        {"kind": KIND | {"dtype": "float16"}},
        {"kind": KIND | {"batch": 10**9}},
        {"kind": KIND | {"more": 1}},
        {"options": {}},
        {"options": []},
        {"options": OPTIONS | {"layout": 5}},
        {"options": OPTIONS | {"layout": "N" * 10**5}},
        {"options": OPTIONS | {"call": ["xy"]}},
        {"options": OPTIONS | {"keys": "image label"}},
        {"options": OPTIONS | {"keys": {"image": 1, "label": {}}}},
        {"options": OPTIONS | {"size": {"H": 10**6, "W": 10**6}}},
        {"options": OPTIONS | {"size": {"H": "12", "W": -1}}},
        {"options": OPTIONS | {"calls": 10**12}},
        {"options": OPTIONS | {"calls": True}},
        {"options": OPTIONS | {"classes": 10**9}},
        {"options": OPTIONS | {"max_unmixed": "all"}},
        {"notes": [1]},
        {"notes": {"framework": "os"}},
    ],
)
def test_a_case_that_no_audit_wrote_is_one_line(run, code, case, changed):
    done, out, error = run("audit", f"{code}:Mine", "--replay", case(**changed))
    assert (done, out) == (2, "")
    assert error.count("\n") == 1
    assert "case.npz" in error


def forged(about, name="about.npy"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, about)
    return file.getvalue()


def header(dtype="<U4", shape=()):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        forged(b""),
        forged(b"", "other.npy"),
        forged(b"\x93NUMPY\x09\x09"),
        forged(header() + b"4 bytes are no text"),
        forged(header("<U1000000000")),
        forged(header("<U4", (2**40,))),
        forged(header("|O") + b"cos\nsystem\n(S'false'\ntR."),
        forged(header("<U100000") + "[".encode("utf-32-le") * 100_000),
        forged(header("<U4") + b"\xff" * 16),
    ],
)
def test_what_is_no_case_is_one_line(run, code, tmp_path, content):
    path = tmp_path / "case.npz"
    path.write_bytes(content)
    done, _, error = run("audit", f"{code}:Mine", "--replay", path)
    assert done == 2
    assert error.count("\n") == 1
    assert "cannot read" in error
    with pytest.raises(bm.MixError, match="cannot read"):
        bm.audit(lambda x, y: (x, y), replay=path)


def test_a_case_is_not_unpacked_beyond_its_bound(tmp_path):
    """A small zip holds 64 MB; 1 MB of them is looked at."""
    path = tmp_path / "case.npz"
    path.write_bytes(forged(bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(bm.MixError, match="more than 1048576 bytes"):
            bm.audit(lambda x, y: (x, y), replay=path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
