"""Tables, report.json, compare.png and report.html of a comparison, on outcomes made up for it."""

import io
import json
import re
import runpy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

import batchmix.cli.show.figure
from batchmix.cli._output import shown
from batchmix.cli.lab.outcome import Outcome, Trial
from batchmix.cli.lab.rows import Task
from batchmix.cli.show import curves
from batchmix.cli.show.figure import figure
from batchmix.cli.show.html import page
from batchmix.cli.show.record import dumps, of_json
from batchmix.cli.show.report import Report, as_json, print_report, write_report
from made_outcomes import ARMS, DIGITS, classes, others

CONFIG = {"data": "digits", "arms": list(ARMS), "training": {"model": "mlp", "epochs": 30}}
BAD = ("a$\\frac$", "<script>alert(1)</script>", "\x1b]0;title\x07", "caf\udce9", "[red]", "猫")


def made(outcomes=None, task=DIGITS, planned=None, config=CONFIG, **more):
    outcomes = classes(epochs=30) if outcomes is None else outcomes
    planned = len(outcomes) if planned is None else planned
    return Report(config, task, outcomes, planned, "batchmix compare digits", **more)


def printed(report, width=80):
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture(scope="module")
def report():
    return made()


@pytest.fixture(scope="module")
def markup(report):
    return page(report).decode()


def of(kind):
    if kind == "classes":
        return made(classes(epochs=12, seeds=3))
    task, outcomes = others(kind)
    return made(outcomes, task, config={"data": "rows.csv"})


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_the_tables_fit_80_columns_and_nothing_is_cut_off(kind):
    report = of(kind)
    text = printed(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name in ARMS:
        assert re.search(rf"^{re.escape(name)} ", text, re.MULTILINE)


def test_long_names_of_arms_are_folded_not_cut():
    name = "mixup:0.8,prob=0.5,off=90,smooth=0.1"
    outcomes = classes(("none", "smooth:0.1", name), epochs=12)
    text = printed(made(outcomes, config={"data": "digits"}))
    assert max(map(len, text.splitlines())) <= 80
    pieces = re.findall(r"^(mixup:\S+|\S+)", text.partition("best: at")[0], re.MULTILINE)
    assert name in "".join(pieces)


def test_a_terminal_that_is_too_narrow_gets_80_columns():
    assert printed(made(), 40).splitlines()[2].startswith("labels as given")
    assert "-24.3±0.0" in printed(made(), 40)


def test_best_stopped_stands_first_and_the_cost_beside_it(report):
    text = printed(report)
    (line,) = re.findall(r"^cutmix:1 +91.*$", text, re.MULTILINE)
    assert re.fullmatch(r"cutmix:1 +91\.\d±0\.\d +\+1\.\d±0\.\d 5/5\* +2\d +8\d\.\d±0\.\d +-9\.7±0\.0", line.strip())  # fmt: skip # noqa: E501
    assert text.index("best:") < text.index("last:")
    assert "memo-" in text
    assert "after TS" in text


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_other_tasks_have_no_calibration_and_no_memorised_labels(kind):
    report = of(kind)
    text = printed(report)
    assert ("RMSE" if kind == "numbers" else "mAP") in text
    for word in ("ECE", "emorised", "TS"):
        assert word not in text
    assert "reliability" not in page(report).decode()
    assert figure(report).startswith(b"\x89PNG")


def test_the_json_holds_everything_and_can_be_read_back(report):
    found = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert list(found) == [
        "format", "title", "verdict", "trials", "levels", "command", "config", "task", "rows",
        "versions", "outcomes",
    ]  # fmt: skip
    assert found["trials"] == {"planned": 50, "finished": 50, "used": 50}
    assert set(found["versions"]) >= {"python", "batchmix", "numpy", "torch"}
    assert [Outcome.of_json(one) for one in found["outcomes"]] == list(report.outcomes)
    level = found["levels"][1]
    assert (level["label_noise"], level["metric"], level["seeds"]) == (0.4, "accuracy", [*range(5)])
    none, *_, cutmix, _ = level["arms"]
    for at in ("best", "last"):
        own, other = cutmix[at]["accuracy"], none[at]["accuracy"]
        assert own["mean"] == pytest.approx(np.mean(own["values"]))
        assert own["spread"] == pytest.approx(np.std(own["values"], ddof=1))
        paired = np.subtract(own["values"], other["values"])
        assert own["against_none"]["mean"] == pytest.approx(paired.mean())
        assert "against_none" not in other
    cost = np.subtract(cutmix["last"]["accuracy"]["values"], cutmix["best"]["accuracy"]["values"])
    assert cutmix["last_minus_best"]["accuracy"]["mean"] == pytest.approx(cost.mean())
    assert cutmix["recall_against_none"]["1"]["beyond_chance"]
    assert level["mixing_against_smoothing"]["cutmix:1"]["beyond_chance"]
    assert " ".join(level["verdict"]) == found["verdict"][1]


def test_what_is_not_a_number_is_null():
    outcomes = [replace(one, best=one.best | {"nll": float("nan")}) for one in classes(seeds=3)]
    found = as_json(made(outcomes))
    assert found["levels"][0]["arms"][1]["best"]["nll"]["mean"] is None
    json.dumps(found, allow_nan=False)
    assert "nan" in printed(made(outcomes))


def test_files_are_written_the_report_first(tmp_path, monkeypatch):
    assert [path.name for path in write_report(tmp_path / "a", made())] == [
        "report.json", "compare.png", "report.html",
    ]  # fmt: skip

    def broken(report):
        raise ValueError("no figure")

    monkeypatch.setattr(batchmix.cli.show.figure, "figure", broken)
    with pytest.raises(ValueError, match="no figure"):
        write_report(tmp_path / "b", made())
    kept = json.loads((tmp_path / "b" / "report.json").read_text())
    assert kept == as_json(made())
    assert as_json(of_json(kept)) == kept
    assert max(map(len, dumps(kept).splitlines())) < 2000


def test_nothing_finished_is_no_error(tmp_path):
    report = made([], planned=30)
    assert write_report(tmp_path, report) == [tmp_path / "report.json"]
    assert "0 of 30 trials are there" in printed(report)


def test_an_interrupted_comparison_says_what_it_rests_on():
    outcomes = classes(noises=(0.0,), epochs=12)
    report = made([one for one in outcomes if one.trial != Trial("cutmix:1", 0.0, 4)], planned=25)
    text = " ".join(printed(report).split())
    assert "24 of 25 trials are there; what is said rests on 20 of them" in text
    assert "24 of 25 trials" in page(report).decode()


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_are_shown_too(seeds, tmp_path):
    write_report(tmp_path, made(classes(seeds=seeds, epochs=1)))
    assert "cannot tell" in (tmp_path / "report.html").read_text()


def test_names_from_files_break_nothing(tmp_path):
    task = Task("classes", BAD)
    outcomes = classes(noises=(0.0,), epochs=12, task=task)
    report = made(outcomes, task, config={"data": "d$\\frac$\x1b]0;x\x07" + BAD[1]})
    text = printed(report)
    assert "\x1b" not in text.replace("\x1b[", "")  # those of colours are rich's own
    assert "d$\\frac$\\x1b]0;x\\x07" in text
    write_report(tmp_path, report)
    shown = (tmp_path / "report.html").read_text()
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "a$\\frac$" in shown
    assert "\x1b" not in shown
    json.loads((tmp_path / "report.json").read_text())


def test_names_are_printed_escaped():
    assert shown("é 猫 a$b") == "é 猫 a$b"
    assert shown("a\x1b\n\udce9") == "a\\x1b\\n\\udce9"


class Page(HTMLParser):
    """What a page loads, and its open tags."""

    VOID = frozenset({"meta", "img", "br", "path", "use"})

    def __init__(self):
        super().__init__()
        self.loaded, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.loaded += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.loaded += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_nothing_else():
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "png")
    parser = Page()
    text = page(made(classes(epochs=12), first_batch=picture.getvalue())).decode()
    parser.feed(text)
    assert parser.open == []
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in parser.loaded)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    ids = re.findall(r'xlink:href="#([^"]+)"', text)
    assert {f'id="{name}"' in text for name in ids} <= {True}
    for words in ("The first mixed batch", "The same again", "batchmix compare digits", "numpy 2"):
        assert words in parser.text


def test_the_page_says_its_verdict_before_all_tables_and_figures(report, markup):
    first = report.verdicts[0][0].replace("'", "&#x27;")
    assert markup.index(first) < markup.index("<table") < markup.index("<svg")
    for arm in ARMS:
        assert f"<td>{arm}</td>" in markup
    for words in ("learning curves", "after temperature scaling (h", "gains and losses by class"):
        assert words in markup
    assert "prefers-color-scheme: dark" in markup
    assert "#2b6cb0" not in markup.partition("</style>")[2]  # all colours are the page's


def test_figures_have_no_empty_panel_and_compared_panels_one_range(report, monkeypatch):
    made_figures = []
    save = Figure.savefig

    def keep(self, *args, **kwargs):
        made_figures.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    content = Image.open(io.BytesIO(figure(report)))
    assert content.width > 1500
    (canvas,) = made_figures
    panels = [axes for axes in canvas.axes if axes.get_visible()]
    assert len(panels) == len(canvas.axes) == 3 + 5 + 4 + 5
    assert all(axes.lines or axes.patches for axes in panels)
    named = {}
    for axes in panels:
        named.setdefault(axes.get_xlabel().partition(",")[0], []).append(axes.get_xlim())
    assert len(set(named["paired difference"])) == 1
    assert len(set(named["ECE at best"])) == 1
    words = " ".join(text.get_text() for text in canvas.findobj(lambda a: hasattr(a, "get_text")))
    assert "mixing helps, cutmix:1 gains" in " ".join(words.split())


def test_a_comparison_without_histories_has_no_curves():
    outcomes = [replace(one, history={}) for one in classes(seeds=3)]
    assert "learning curves" not in page(made(outcomes)).decode()
    assert figure(made(outcomes)).startswith(b"\x89PNG")


def test_a_learning_curve_marks_the_epoch_that_was_chosen(report):
    level = report.levels[1]
    axes = Figure().subplots()
    curves.learning(axes, level, level.arms[0], "accuracy")
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == [one.best["epoch"] + 1 for one in level.arms[0].outcomes]
    thin = [line for line in axes.lines if line.get_linewidth() < 1 and line.get_marker() != "o"]
    assert len(thin) == 5


def test_of_many_classes_both_ends_are_drawn():
    task = Task("classes", tuple(f"class {k}" for k in range(40)))
    (level,) = made(classes(noises=(0.0,), epochs=12, task=task), task).levels
    found = level.classes(level.arms[3])
    order = curves.ends(found)
    assert len(order) == 16
    assert order[-1] == 1  # which loses most
    assert found[order[0]].mean == max(d.mean for d in found.values())


TABLES = Path(__file__).parents[2] / "docs" / "compare_tables.py"


@pytest.fixture(scope="module")
def tables():
    return SimpleNamespace(**runpy.run_path(str(TABLES)))


def test_the_tables_of_the_pages_are_those_of_the_kept_reports(tables):
    for path in tables.PAGES:
        text = path.read_text(encoding="utf-8")
        assert tables.page(text) == text, f"{path.name}: run python docs/compare_tables.py"


def test_every_kept_report_is_shown(tables):
    marked = {
        found[2] for path in tables.PAGES for found in tables.PARTS.finditer(path.read_text())
    }
    assert "digits" in marked
    kept = {path: json.loads(path.read_text()) for path in tables.KEPT.glob("*.json")}
    reports = {path.stem for path, found in kept.items() if "verdict" in found}
    assert reports <= marked
    pages = "".join(path.read_text() for path in Path("docs").rglob("*.md"))
    named = {path.stem for path in kept if f"evidence/{path.name}" in pages}
    assert {path.stem for path in kept} - reports <= named


def test_a_page_takes_its_parts_from_a_report(report, tables, tmp_path):
    (tmp_path / "x.json").write_text(dumps(as_json(report)))
    other = "<!-- compare y 0 gains -->\nz<!-- end -->"
    text = "a\n<!-- compare x 0.4 {} -->\nold\n<!-- end -->\nb\n" + other
    shown = tables.page(text.format("gains"), tmp_path)
    assert "| policy | best: accuracy % | against none, seeds agree | best epoch |" in shown
    assert re.search(r"^\| cutmix:1 \| 91\.\d±0\.\d \| \+1\.\d±0\.\d 5/5\* \|", shown, re.MULTILINE)
    assert "old" not in shown
    assert shown.endswith("b\n" + other)
    assert tables.page(shown, tmp_path) == shown
    assert "memorised %" in tables.page(text.format("others"), tmp_path)
    assert f"> {report.verdicts[1][0]}\n" in tables.page(text.format("verdict"), tmp_path)
