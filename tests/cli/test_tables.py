"""A CSV as a table: how it is read, previewed and compared, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import batchmix as bm
from batchmix.cli import main
from batchmix.cli._mixing import Mixing
from batchmix.cli._words import Entry
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.rows import Column
from batchmix.cli.show import strips
from batchmix.cli.show.opened import choose, open_source

TEXT = """age, city ,score,kind
20,Oslo,1.5,a
30,Lima,-2,b
40,Oslo,0.25,a
50,,1e3,b
"""


def run(*words: object) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    return int(stop.value.code or 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TEXT)
    return path


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    """Sixty lines: what is bought depends on the age, a number on age and town."""
    rng = np.random.default_rng(0)
    lines = ["age,town,bought,price"]
    for _ in range(60):
        age, town = rng.integers(20, 60), rng.choice(["Oslo", "Lima", "Kyoto"])
        price = age / 7 + (town == "Oslo") * 3
        lines.append(f"{age},{town},{'yes' if age > 40 else 'no'},{price:.3f}")
    path = tmp_path / "larger.csv"
    path.write_text("\n".join(lines))
    return path


def test_numbers_are_numbers_and_words_are_places(table: Path) -> None:
    data = open_data(str(table), target="kind")
    words = ("", "Lima", "Oslo")
    assert data.columns == (Column("age"), Column("city", words), Column("score"))
    assert (data.form, data.task.kind, data.task.names) == ("table", "classes", ("a", "b"))
    assert data.train.y.tolist() == [0, 1, 0, 1]
    assert list(data.train.names) == ["line 2", "line 3", "line 4", "line 5"]
    x = np.stack([data.train[i] for i in range(4)])
    assert x.shape == (4, 3, 4)
    assert x.dtype == np.float32
    assert x[:, 0].tolist() == [[20, 0, 0, 0], [30, 0, 0, 0], [40, 0, 0, 0], [50, 0, 0, 0]]
    assert x[:, 1, 1:].argmax(1).tolist() == [2, 1, 2, 0]
    assert (x[:, 1].sum(1) == 1).all()
    assert x[:, 2, 0].tolist() == [1.5, -2, 0.25, 1000]


def test_a_target_of_numbers_is_a_regression(table: Path) -> None:
    data = open_data(str(table), target="score")
    assert data.task.kind == "numbers"
    assert data.train.y.tolist() == [[1.5], [-2], [0.25], [1000]]
    assert open_data(str(table), target="age").task.kind == "classes"  # whole numbers are names


def test_a_column_split_names_the_parts(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    path.write_text("x,y,split\n1,a,train\n2,b,train\n3,a,valid\n4,b,test\n")
    data = open_data(str(path), target="y")
    assert data.val is not None
    assert data.test is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [2, 1, 1]
    assert [column.name for column in data.columns] == ["x"]
    assert data.test[0].tolist() == [[4.0]]


def test_the_fingerprint_is_of_what_is_in_it(table: Path) -> None:
    first = open_data(str(table), target="kind").fingerprint
    assert open_data(str(table), target="kind").fingerprint == first
    assert open_data(str(table), target="score").fingerprint != first
    table.write_text(TEXT.replace("1.5", "1.25"))
    assert open_data(str(table), target="kind").fingerprint != first


BROKEN = {
    "empty": ("", "kind", "line 1"),
    "a header": ("a,kind\n", "kind", "has 0 lines"),
    "no name": ("a,,kind\n1,2,b\n1,2,c\n", "kind", "line 1: the columns"),
    "a name twice": ("a,a,kind\n1,2,b\n1,2,c\n", "kind", "line 1: the columns"),
    "unknown target": (TEXT, "colour", "no column 'colour'"),
    "split as target": (TEXT, "split", "no column 'split'"),
    "one column": ("kind\na\nb\n", "kind", "line 1"),
    "only the target": ("kind,split\na,train\nb,train\n", "kind", "no other column"),
    "cells missing": ("a,kind\n1,b\n2\n", "kind", "line 3: it has 1 cells"),
    "a number missing": ("a,kind\n1,b\n,c\n", "kind", "line 3: 'a' is ''"),
    "words among numbers": ("a,kind\n1,b\nNA,c\n1,c\n", "kind", "line 3: 'a' is 'NA'"),
    "not finite": ("a,kind\n1,b\ninf,c\n1,c\n", "kind", "line 3"),
    "target missing": ("a,kind\n1,b\n2,\n", "kind", "line 3: 'kind' is empty"),
    "text": (
        "a,kind\n" + "".join(f"w{i},{'ab'[i % 2]}\n" for i in range(99)), "kind",
        "99 different words",
    ),
    "unknown part": ("a,kind,split\n1,b,train\n2,c,later\n", "kind", "line 3: the column 'split'"),
    "no train": ("a,kind,split\n1,b,test\n2,c,test\n", "kind", "the column 'split'"),
    "semicolons": ("a;kind\n1;b\n2;c\n", "kind", "Write commas between the cells"),
    "tabs": ("a\tkind\n1\tb\n2\tc\n", "kind", "Write commas between the cells"),
    "pandas' index": (",a,kind\n0,1,b\n1,2,c\n", "kind", "to_csv(index=False)"),
    "decimal commas": ('a,kind\n"1,5",b\n"2,0",c\n', "kind", "a decimal point, and no comma"),
    "a quote": ('a,kind\n"1,b\n2,c\n', "kind", "cannot be read"),
    "a nul": ("a,kind\n1\0,b\n2,c\n", "kind", "DATA"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, target, says = BROKEN[name]
    path = tmp_path / "table.csv"
    path.write_text(text)
    for command in ("preview", "compare"):
        assert run(command, path, "--target", target, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["preview", "table.csv"], "without --target"),
        (["compare", "table.csv"], "without --target"),
        (["train", "table.csv"], "to preview or to compare"),
        (["preview", "digits", "--target", "x"], "with --target 'x'"),
        (["preview", ".", "--target", "x"], "with --target 'x'"),
        (["preview", "nowhere.csv", "--target", "x"], "cannot be read"),
        (["preview", "table.csv", "--target", "kind", "--seconds", "1"], "--seconds"),
        (["preview", "table.csv", "--target", "kind", "--image-size", "9"], "holds no images"),
        (["compare", "table.csv", "--target", "kind", "--image-size", "9"], "no images"),
        (["compare", "table.csv", "--target", "kind", "--augment", "light"], "no images"),
        (["compare", "table.csv", "--target", "kind", "--sound", "mel"], "holds no sounds"),
        (["compare", "table.csv", "--target", "kind", "--model", "resnet20"], "'table'"),
        (["compare", "table.csv", "--target", "kind", "--policies", "mosaic"], "axes"),
        (["compare", "table.csv", "--target", "kind", "--keep-best"], "compared, not kept"),
    ],
)
def test_what_a_table_is_not_for_is_refused(
    words: list[str], says: str, table: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(table.parent)
    assert run(*words, "--out", "out") == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_whole_numbers_that_may_be_meant_as_numbers_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ages.csv"
    path.write_text("x,age\n" + "".join(f"{k}.5,{20 + k % 30}\n" for k in range(42)))
    (note,) = open_data(str(path), target="age").notes
    assert note.startswith("'age' has 30 whole numbers, which are learnt as classes")
    out = tmp_path / "out"
    assert run("compare", path, "--target", "age", "--seeds", 1, "--epochs", 1, "--out", out) == 2
    assert "write 34.0 for 34" in capsys.readouterr().err
    path.write_text("x,age\n" + "".join(f"{k}.5,{20 + k % 20}\n" for k in range(42)))
    assert open_data(str(path), target="age").notes == ()
    path.write_text("x,age\n" + "".join(f"{k}.5,{20 + k % 21}.0\n" for k in range(42)))
    data = open_data(str(path), target="age")
    assert (data.task.kind, data.notes) == ("numbers", ())


@pytest.mark.parametrize("target", ["y", "kind"])
def test_numbers_that_float32_cannot_tell_apart_are_refused(tmp_path: Path, target: str) -> None:
    path = tmp_path / "moments.csv"
    lines = [f"{1_700_000_000 + k}.5,{'ab'[k % 2]}" for k in range(60)]
    path.write_text("\n".join(["y,kind", *lines]))
    with pytest.raises(bm.MixError, match=r"'y' lies between 1700000000\.5 and 1700000059\.5"):
        open_data(str(path), target=target)
    path.write_text("\n".join(["y,kind", *(f"0.1,{'ab'[k % 2]}" for k in range(60))]))
    assert open_data(str(path), target=target).train.y.shape[0] == 60  # one number is no mistake


def test_one_class_cannot_be_learnt(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text("a,kind\n1,b\n2,b\n3,b\n")
    words = ["compare", table, "--target", "kind", "--out", table.parent / "out"]
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert "one class only" in error
    assert "Add rows of another class" in error


def test_a_table_that_is_not_utf8_is_refused(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_bytes("größe,kind\n1,b\n2,c\n".encode("latin-1"))
    assert run("preview", table, "--target", "kind", "--out", table.parent / "out") == 2
    assert "Save it as UTF-8" in capsys.readouterr().err


def test_a_strip_shows_whose_each_cell_is(larger: Path) -> None:
    source = open_source(str(larger), target="bought")
    batch = choose(source, 6, Mixing())
    shown = batch.show(Entry("columns:0.5", bm.policies.Columns(0.5)))
    row, partner, mixed = strips.of_table([shown], 1)
    for k, share in enumerate(mixed.shares.tolist()):
        assert mixed.cells[k] == (partner if share else row).cells[k]
    assert [part.name for part in mixed.label] == ["no", "yes"] or len(mixed.label) == 1
    assert sum(part.share for part in mixed.label) == pytest.approx(1)
    blend = strips.of_table([batch.show(Entry("mixup:1", bm.policies.MixUp(1.0)))], 1)[-1]
    assert len(set(blend.shares.tolist())) == 1


def test_words_that_are_blended_say_how_much(larger: Path) -> None:
    batch = choose(open_source(str(larger), target="price"), 6, Mixing())
    plan = bm.Plan([1, 2, 3, 4, 5, 0], [[[0, 3]]] * 6, [0.25] * 6, "T", (3,))
    shown = batch.apply("by hand", plan)
    for row in range(6):
        own, partner, mixed = strips.of_table([shown], row)
        same = own.cells[1] == partner.cells[1]
        assert mixed.cells[1] == (own.cells[1] if same else f"{own.cells[1]} 75%")
        value = 0.75 * batch.numbers[row] + 0.25 * batch.numbers[plan.partner[row]]
        assert mixed.value == f"{strips.number(float(value))} = "


def test_the_share_of_a_long_word_and_the_whole_label_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    words = ("Constantinople", "Villingen-Schwenningen")
    path.write_text("city,price\n" + "".join(f"{words[k % 2]},{k}234.25\n" for k in range(20)))
    batch = choose(open_source(str(path), target="price"), 6, Mixing())
    shown = batch.apply(
        "by hand", bm.Plan([1, 2, 3, 4, 5, 0], [[[0, 1]]] * 6, [0.25] * 6, "T", (1,))
    )
    blocks = [strips.of_table([shown], row) for row in range(6)]
    assert {block[-1].cells[0][-5:] for block in blocks} <= {"… 75%", "ntin…", "inge…"}
    assert any(block[-1].cells[0].endswith("… 75%") for block in blocks)
    canvas = strips.figure("t", ["city"], blocks)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    wide = canvas.bbox.width
    assert all(text.get_window_extent(renderer).x1 <= wide for text in canvas.axes[0].texts)


def test_what_has_no_share_of_a_label_is_not_told(larger: Path) -> None:
    batch = choose(open_source(str(larger), target="bought"), 6, Mixing())
    plan = bm.Plan([1, 2, 3, 4, 5, 0], [[[0, 3]]] * 6, [1.0] * 6, "T", (3,))
    blocks = [strips.of_table([batch.apply("by hand", plan)], row) for row in range(6)]
    told = {text.get_text() for text in strips.figure("t", ["a"] * 3, blocks).axes[0].texts}
    assert not any(words.endswith(" 0%") for words in told)


def test_a_preview_of_a_table(
    larger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("preview", larger, "--target", "price", "--rows", 3, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {"rows.png", "preview.html"}
    capsys.readouterr()
    words = ["preview", larger, "--target", "bought", "--rows", 3, "--out", out, "--json"]
    assert run(*words) == 0
    told = json.loads(capsys.readouterr().out)
    assert "--target bought" in told["command"]
    assert [one["policy"] for one in told["policies"]] == ["mixup:1", "columns:0.3"]
    assert {path.name for path in out.iterdir()} == {"rows.png", "labels.png", "preview.html"}


def test_rows_of_like_numbers_keep_their_shares_of_a_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("x,price\n" + "".join(f"{k},1{k % 2}.5\n" for k in range(12)))
    words = ["preview", path, "--target", "price", "--rows", 8, "--out", tmp_path / "out", "--json"]
    assert run(*words) == 0
    for policy in json.loads(capsys.readouterr().out)["policies"]:
        for row in policy["rows"]:
            assert sum(row["label"].values()) == pytest.approx(1)


def test_a_policy_for_images_is_refused_before_anything_is_trained(
    larger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--target", "price", "--policies", "none saliencymix:1", "--out", out]
    assert run("compare", larger, *words) == 2
    said = capsys.readouterr().err
    assert "--policies: got 'saliencymix:1'; the rows are lines of a table." in said
    assert not out.exists()


@pytest.mark.parametrize("target", ["bought", "price"])
def test_a_comparison_on_a_table(
    target: str, larger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", larger, "--target", target, "--policies", "none mixup:1 columns:0.3"]
    words += ["--seeds", 2, "--epochs", 6, "--jobs", 1, "--out", tmp_path / "out", "--json"]
    assert run(*words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config"]["training"]["model"] == "mlp"
    assert f"--target {target}" in report["command"]
    assert report["trials"]["finished"] == 6


def test_numbers_are_standardised_and_words_are_not(larger: Path) -> None:
    torch = pytest.importorskip("torch")
    from batchmix.cli.lab import defaults
    from batchmix.cli.lab.loading.feed import moments, prepare

    data = open_data(str(larger), target="price")
    training = defaults.choose(data, {})
    x = torch.from_numpy(np.stack([data.train[i] for i in range(60)]))
    mean, std = moments(data.train, "table", training)
    done = prepare(x, mean, std, "table")
    assert done.shape == (60, 4, 3)
    assert done[:, 0, 0].mean().item() == pytest.approx(0, abs=1e-5)
    assert done[:, 0, 0].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(done[:, 1:], x.movedim(-1, 1)[:, 1:])
