"""Saved plans that anybody may have written: bounded memory, and one error that names the file."""

import io
import re
import zipfile
from itertools import pairwise

import numpy as np
import pytest

import batchmix as bm
from limited import MB, read

GOOD = {
    "format": np.array(1), "axes": np.array("HW"), "size": np.array([2, 3]),
    "partner": np.array([1, 0], np.int32), "box": np.full((2, 2, 2), [0, 2], np.int32),
    "opacity": np.ones(2, np.float32),
}  # fmt: skip


def npy(array, **header):
    """An .npy whose header may say anything."""
    array = np.asarray(array, order="C")
    said = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    text = repr(said).encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


def packed(members, method=zipfile.ZIP_STORED):
    """An npz with these members: bytes as they are, arrays as .npy."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, value in members.items():
            content = value if isinstance(value, bytes) else npy(value)
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def with_(method=zipfile.ZIP_STORED, **arrays):
    return packed(GOOD | arrays, method)


def _shape_of_2_40():
    """A mask of a TB, in a file of 1 kB."""
    whole = {"size": np.array([2**20, 2**20]), "box": np.zeros((2, 2, 2), np.int32)}
    return with_(**whole, mask=npy(np.zeros(9, np.float32), shape=(2, 2**20, 2**20)))


def _overlapping():
    """Two members that are one and the same place of the file."""
    content = bytearray(with_(mask=np.ones((2, 2, 3), np.float32), kind=np.zeros(2, np.int8)))
    directory = content.index(b"PK\x01\x02")
    starts = [m.start() for m in re.finditer(b"PK\x01\x02", content)]
    assert starts[0] == directory
    for _, entry in pairwise(starts):
        content[entry + 42 : entry + 46] = bytes(4)  # where the local header is
    return bytes(content)


def _encrypted():
    content = bytearray(with_())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(signature, bytes(content)):
            content[found.start() + at] |= 1
    return bytes(content)


def _long_header():
    """A header of version 2.0 that says that it has 4 GB."""
    start = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little")
    return with_(method=zipfile.ZIP_DEFLATED, partner=start + b" " * 64 * MB)


def _directory(size, count=1):
    """The end of a zip whose list of members has this size."""
    return b"\0" * size + b"PK\5\6\0\0\0\0" + count.to_bytes(2, "little") * 2 + (
        size.to_bytes(4, "little") + bytes(6)
    )  # fmt: skip


def _zip64():
    """An end that sends the reader to another end, far outside."""
    end = with_()[-22:]
    return with_()[:-22] + b"PK\6\7" + bytes(4) + (2**60).to_bytes(8, "little") + bytes(4) + end


ZEROS = np.zeros(96 * MB, np.uint8)
SMALL = {  # what is said of it: the file
    "'mask' takes more bytes than the file has": _shape_of_2_40,
    "'partner' is <i4 (-1,), not i4 (any,)": lambda: with_(
        partner=npy(GOOD["partner"], shape=(-1,))
    ),
    "'partner' takes more bytes than the file has": lambda: with_(
        partner=npy(GOOD["partner"], shape=(2**80,))
    ),
    "shape is not valid: ((2,),)": lambda: with_(partner=npy(GOOD["partner"], shape=((2,),))),
    "'partner' is |O (2,), not i4 (any,)": lambda: with_(partner=npy(GOOD["partner"], descr="|O")),
    "'partner' is |V4 (2,), not i4 (any,)": lambda: with_(
        partner=npy(GOOD["partner"], descr=[("x", "<i4")])
    ),
    'of "i4,\\x1b]0;x\\x07" is not recognized': lambda: with_(
        partner=npy(GOOD["partner"], descr="i4,\x1b]0;x\a")
    ),
    "'size' is <f8 (2,), not i (2,)": lambda: with_(size=np.array([2.7, 3.0])),
    "'axes' is |S2 (), not U ()": lambda: with_(axes=np.array(b"HW")),
    "'partner' is <i8 (2,), not i4 (any,)": lambda: with_(partner=np.array([1, 0])),
    "Plan: `opacity` of row 0 is [nan]": lambda: with_(opacity=np.array([np.nan, 1], np.float32)),
    "Plan: `partner` of row 1 is [9]": lambda: with_(partner=np.array([1, 9], np.int32)),
    "it has 5000 axes": lambda: with_(axes=np.array("H" * 5000), size=np.zeros(5000, int)),
    "EOF in multi-line statement": lambda: with_(partner=b"\x93NUMPY\1\0\xf0\3" + b"(" * 1008),
    "expected 8 bytes got 5": lambda: with_(partner=b"hello"),
    "expected 8 bytes got 0": lambda: with_(partner=b""),
    "reading array data, expected 8 bytes got 7": lambda: with_(partner=npy(GOOD["partner"])[:-1]),
    "it has 'partner.npy' twice": lambda: with_(partneR=GOOD["partner"]).replace(
        b"partneR", b"partner"
    ),
    "it has no 'box'": lambda: packed({k: v for k, v in GOOD.items() if k != "box"}),
    "it has no 'partner'": lambda: packed({k: v for k, v in GOOD.items() if k != "partner"}),
    "it has no 'opacity'": lambda: packed({k: v for k, v in GOOD.items() if k != "opacity"}),
    "'box' is <i4 (3, 2, 2), not i4 (2, 2, 2)": lambda: with_(box=np.zeros((3, 2, 2), np.int32)),
    "it has no 'format'": lambda: packed({}),
    "begin at one byte": _overlapping,
    "is encrypted": _encrypted,
    "'format' is compressed by method 14": lambda: with_(zipfile.ZIP_LZMA),
    "cannot read": _zip64,
    "it has a foreign array": lambda: packed(GOOD | {"\x1b]0;x\x07\n": b""}),
    "not a zip file": lambda: b"",
    "is not a zip file": lambda: b"[" * 10**6,
    "File is not a zip file": lambda: with_()[:-30],
}
CASES = SMALL | {
    "'mask' is |u1 (100663296,), not f4 or u1 (2, any, any)": lambda: with_(
        zipfile.ZIP_DEFLATED, mask=ZEROS
    ),
    "'mask' takes more bytes than the file": lambda: with_(
        zipfile.ZIP_DEFLATED,
        size=np.array([2**12, 3 * 2**10]),
        mask=ZEROS.view(np.float32).reshape(2, 2**12, 3 * 2**10),
    ),
    "it has a foreign array 'other'": lambda: with_(zipfile.ZIP_DEFLATED, other=ZEROS),
    "'partner' is not of version 1.0 of npy": _long_header,
    "its list of members has": lambda: packed({str(i): b"" for i in range(30_000)}),
    "its list of members has 67108864 bytes": lambda: _directory(64 * MB),
}


def loaded(*paths):
    return read("batchmix.Plan.load(path)", paths)


def test_no_file_takes_more_than_its_size_and_a_constant(tmp_path):
    paths = []
    for i, make in enumerate(CASES.values()):
        paths.append(tmp_path / f"{i}.npz")
        paths[-1].write_bytes(make())
    for name, path, (said, grown) in zip(CASES, paths, loaded(*paths)):
        assert said.startswith(f"Plan.load(): cannot read {str(path)!r} as a plan ("), name
        assert name in said
        first, rest = said.split("\n")
        assert first.isprintable(), name
        assert rest.startswith("A plan is"), name
        assert len(said) < 600, name
        assert grown < 64 * MB, f"{name}: {grown / MB:.0f} MB for {path.stat().st_size} bytes"


@pytest.mark.parametrize("said", SMALL)
def test_what_is_no_plan_is_refused_with_the_reason(tmp_path, said):
    path = tmp_path / "p.npz"
    path.write_bytes(SMALL[said]())
    with pytest.raises(bm.MixError) as caught:
        bm.Plan.load(path)
    first, rest = str(caught.value).split("\n")
    assert first.startswith(f"Plan.load(): cannot read {str(path)!r} as a plan (")
    assert said in first
    assert rest.startswith("A plan is an npz file of format 1, without pickled objects. Write it")


def test_a_large_plan_takes_a_small_multiple_of_its_size(tmp_path):
    """Memory is at most 64 MB and 8 bytes for each byte of the file."""
    rows = 2_000_000
    bm.Plan.identity(rows).save(tmp_path / "rows.npz")
    mask = np.ones((2, 2048, 2048), np.float32)
    box = np.full((2, 2, 2), [0, 2048], np.int32)
    bm.Plan([1, 0], box, [1, 1], "HW", (2048, 2048), mask=mask).save(tmp_path / "mask.npz")
    for path in (tmp_path / "rows.npz", tmp_path / "mask.npz"):
        [(said, grown)] = loaded(path)
        assert said.startswith("Plan("), said
        assert grown < 64 * MB + 8 * path.stat().st_size, path.name


def test_an_axis_may_be_longer_than_the_memory_where_there_are_no_rows(tmp_path):
    path = tmp_path / "p.npz"
    empty = {"partner": np.zeros(0, np.int32), "opacity": np.zeros(0, np.float32)}
    path.write_bytes(
        packed(
            GOOD | empty | {"axes": np.array("H"), "size": np.array([2**31 - 1])}
            | {"box": np.zeros((0, 1, 2), np.int32)}
            | {"mask": np.zeros((0, 2**31 - 1), np.float32)}
        )
    )  # fmt: skip
    [(said, grown)] = loaded(path)
    assert said == "Plan(0 rows, H=2147483647)"
    assert grown < 64 * MB


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_numpy_writes_is_read(tmp_path, method):
    path = tmp_path / "p.npz"
    box = np.asfortranarray(GOOD["box"])
    path.write_bytes(with_(method, box=npy(box.T, shape=box.shape, fortran_order=True)))
    found = bm.Plan.load(path)
    np.testing.assert_array_equal(found.box, GOOD["box"])
    assert found.size == (2, 3)
    assert found.box.flags.writeable
