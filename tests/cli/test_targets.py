"""Targets from a CSV: classes, several labels, numbers; and everything that can be wrong in it."""

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.split import checked, split
from made_files import wav


@pytest.fixture
def table(tmp_path):
    """A maker of a folder of images, flat and nested, and of a CSV: open_data's arguments."""
    (tmp_path / "data" / "in").mkdir(parents=True)
    names = [f"{i}.png" for i in range(9)] + ["in/9.png", "in/a,b.png"]
    for i, name in enumerate(names):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "data" / name)

    def make(text, encoding="utf-8"):
        path = tmp_path / "targets.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return str(tmp_path / "data"), path

    return make


def opened(made):
    folder, path = made
    return open_data(folder, targets=path)


def test_classes_and_splits(table):
    data = opened(
        table(
            'file,label,split\n0.png,cat,train\nin/9.png,dog,train\n"in/a,b.png",cat,test\n'
            "2.png,dog,valid\n\n./3.png, cat ,train\n"
        )
    )
    assert (data.task.kind, data.task.names) == ("classes", ("cat", "dog"))
    assert data.train.names == ["0.png", "in/9.png", "3.png"]
    assert (data.train.y.tolist(), data.train.y.dtype) == ([0, 1, 0], np.int64)
    assert (data.val.names, data.test.names) == (["2.png"], ["in/a,b.png"])
    assert data.test[0][0, 0, 0] == 10
    assert checked(data, [0], None).shape == (4, 4, 3)


def test_a_table_of_a_spreadsheet(table):
    data = opened(table("file,label\r\n0.png,Ä\r\n1.png,b\r\n", "utf-8-sig"))
    assert data.task.names == ("b", "Ä")
    odd = opened(table(b"file,label\n0.png,\xff\x1b\n1.png,b\n"))
    assert odd.task.names == ("b", r"\udcff\x1b")


def test_whole_numbers_are_names_of_classes(table):
    data = opened(table("file,label\n0.png,7\n1.png,3\n2.png,7\n"))
    assert (data.task.kind, data.task.names, data.train.y.tolist()) == (
        "classes", ("3", "7"), [1, 0, 1],
    )  # fmt: skip


def test_several_labels(table):
    data = opened(table("file,label\n0.png,cat|dog\n1.png,\n2.png, dog\n3.png,bird|\n"))
    assert (data.task.kind, data.task.names) == ("labels", ("bird", "cat", "dog"))
    assert data.train.y.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert data.train.y.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "names", "y"),
    [
        ("file,label\n0.png,1.5\n1.png,2\n2.png,-3e-1\n", ("label",), [[1.5], [2], [-0.3]]),
        ("file,age\n0.png,7\n1.png,8\n2.png,9\n", ("age",), [[7], [8], [9]]),
        ("x,file,y\n1,0.png,2\n3,1.png,4\n5,2.png,6\n", ("x", "y"), [[1, 2], [3, 4], [5, 6]]),
    ],
)
def test_numbers(table, text, names, y):
    data = opened(table(text))
    assert (data.task.kind, data.task.names) == ("numbers", names)
    assert data.train.y.dtype == np.float32
    assert np.allclose(data.train.y, y)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_splits_of_other_targets(table, kind):
    cell = {"labels": "{}|x", "numbers": "{}.5"}[kind]
    rows = "".join(f"{i}.png,{cell.format(i % 3)}\n" for i in range(9))
    data = opened(table(f"file,label\n{rows}"))
    parts = list(vars(split(data, 0)).values())
    assert [len(part) for part in parts] == [5, 1, 3]
    assert sorted(name for part in parts for name in part.names) == data.train.names
    assert (split(data, 0, 3).train.y == split(data, 0, 3).train.y).all()
    assert len(split(data, 0, 3).train) == 3


def test_the_fingerprint_is_of_the_targets(table):
    rows = ["file,label\n0.png,a\n1.png,b\n", "file,label\n0.png,b\n1.png,a\n"]
    rows += ["file,label\n0.png,a\n1.png,c\n", "file,label,split\n0.png,a,train\n1.png,b,test\n"]
    assert len({opened(table(text)).fingerprint for text in rows}) == 4


def test_speakers_are_held_out(tmp_path):
    lines = ["file,label,split"]
    for digit in range(3):
        for speaker in ("ann", "bob", "cem"):
            for i in range(2):
                name = f"{digit}_{speaker}_{i}.wav"
                (tmp_path / name).write_bytes(wav(bytes(2000 + 100 * i)))
                lines.append(f"{name},{digit},{'test' if speaker == 'cem' else 'train'}")
    path = tmp_path / "targets.csv"
    path.write_text("\n".join(lines))
    data = checked(open_data(str(tmp_path), targets=path), [0], None)
    parts = split(data, 0)
    assert (data.form, data.task.names, data.shape) == ("mel", ("0", "1", "2"), (64, 11, 1))
    assert not [name for name in parts.train.names if "cem" in name]
    assert all("cem" in part for part in parts.held_out.names + parts.test.names)


LONG = "x" * 200_000
WRONG = {
    "nothing": ("", "line 1: the columns are []"),
    "no file column": ("name,label\n0.png,a\n", "line 1: the columns are ['name', 'label']"),
    "a line without end": ("file,label\n" + "," * 2**21, "line 2 is longer than 1048576 char"),
    "a row without end": ("file,label\n" + '"\n",' * 2**19, "is longer than 1048576 characters"),
    "a novel in the first line": ("a" * 10**5 + ",b\n", "line 1: the columns are"),
    "no target": ("file,split\n0.png,train\n", "line 1: the columns are"),
    "a column twice": ("file,label,label\n0.png,a,b\n", "line 1: the columns are"),
    "a column without a name": ("file,label,\n0.png,a,\n", "line 1: the columns are"),
    "a label and numbers": ("file,label,age\n0.png,a,3\n", "line 1: the columns are"),
    "no rows": ("file,label\n", "it names no file"),
    "a cell too few": ("file,label\n0.png,a\n1.png\n", "line 3: it has 1 cells, the first line 2"),
    "a cell too many": ("file,label\n0.png,a,b\n", "line 2: it has 3 cells, the first line 2"),
    "no such file": ("file,label\n0.png,a\nno.png,b\n", "line 3: the file 'no.png' cannot be"),
    "no name": ("file,label\n,a\n", "line 2: the file is ''"),
    "a file twice": ("file,label\n0.png,a\n./0.png,b\n", "line 3: '0.png' was named in line 2"),
    "out of the folder": ("file,label\n../data/0.png,a\n", "line 2: the file is '../data/0.png'"),
    "out and in": ("file,label\nin/../../x.png,a\n", "line 2: the file is 'in/../../x.png'"),
    "absolute": ("file,label\n/etc/passwd,a\n", "line 2: the file is '/etc/passwd'"),
    "no image": ("file,label\ntargets.csv,a\n", "line 2: 'targets.csv' has not the suffix"),
    "a folder": ("file,label\nin.png/,a\n", "line 2: the file 'in.png/' cannot be found"),
    "a device": ("file,label\nnull.png,a\n", "line 2: 'null.png' is not a file"),
    "a sound": ("file,label\n0.png,a\ns.wav,b\n", "line 3: 's.wav' is no image"),
    "no label": ("file,label\n0.png,a\n1.png,\n", "line 3: the label is empty"),
    "a label twice": ("file,label\n0.png,a|b\n1.png,a|a\n", "line 3: a label is named twice"),
    "no number": ("file,age\n0.png,1\n1.png,old\n", "line 3: 'age' is 'old'"),
    "NaN": ("file,age\n0.png,1\n1.png,nan\n", "line 3: 'age' is 'nan'"),
    "NaN as a label": ("file,label\n0.png,1.5\n1.png,nan\n", "line 3: 'label' is 'nan'"),
    "infinite": ("file,age\n0.png,inf\n", "line 2: 'age' is 'inf'"),
    "too large": ("file,age\n0.png,1e300\n", "line 2: 'age' is '1e300'"),
    "a number is missing": ("file,age\n0.png,\n", "line 2: 'age' is ''"),
    "no such split": ("file,label,split\n0.png,a,dev\n", "line 2: the split is 'dev'"),
    "no training rows": ("file,label,split\n0.png,a,test\n", "no line is of the split 'train'"),
    "an open quote": ('file,label\n"0.png,a\n', "it cannot be read (unexpected end of data)"),
    "a long cell": (f"file,label\n{LONG},a\n", "it cannot be read (field larger than"),
    "a long name": (f"file,label\n{LONG[:9000]}.png,a\n", "line 2: the file 'xxx"),
    "a zero byte": ("file,label\n0\0.png,a\n", "t"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe" * 9, "targets.csv"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_whatever_is_wrong_is_one_line_with_its_number(table, tmp_path, kind):
    (tmp_path / "data" / "s.wav").write_bytes(wav())
    (tmp_path / "data" / "null.png").symlink_to("/dev/null")
    text, says = WRONG[kind]
    with pytest.raises(bm.MixError) as error:
        opened(table(text))
    found = " ".join(str(error.value).split())
    assert str(tmp_path / "targets.csv") in found
    assert says in found
    assert found.isprintable()
    assert len(found) < 900


def test_a_csv_that_is_not_there_or_no_file(table, tmp_path):
    folder, path = table("file,label\n0.png,a\n")
    for other in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(bm.MixError, match=f"DATA {other}: it"):
            open_data(folder, targets=other)
    with pytest.raises(bm.MixError, match=r"--targets .*: digits holds images"):
        open_data("digits", targets=path)
