"""`batchmix audit`, run for real on files of this test and on timm."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from batchmix._audit._checks import CHECKS
from batchmix._errors import MixError
from batchmix.cli._target import maker
from pages import DOCS

RIGHT = """
import numpy as np

import batchmix as bm
from batchmix.fields import Image, Labels

class Mix:
    def __init__(self, shift=0):
        self.mixer = bm.Mixer(bm.policies.CutMix(1.0), {0: Image("NCHW"), 1: Labels(10)})
        self.shift = shift

    def __call__(self, x, y):
        images, labels = self.mixer((x, y))
        return images, labels if not self.shift else labels[:, ::-1]

def pair(batch, flip=False):
    images, labels = batch
    return (images, labels) if not flip else (images[::-1], labels)

mixer = bm.Mixer(bm.policies.MixUp(0.2), {"x": Image("NCHW"), "y": Labels(10)})
number = 5

shares = bm.fields.BoundingBoxes("cxcywhn")
detection = bm.Mixer(bm.policies.CutMix(), {0: Image("NCHW"), 1: shares})

def flipped(batch):
    return batch[0][::-1], batch[1]

class Ends:
    def __call__(self, x, y):
        raise SystemExit(0)

class Speaks(Mix):
    def __call__(self, x, y):
        print("hello")
        return super().__call__(x, y)

class Markup(Mix):
    def __init__(self, says):
        super().__init__(1)
        self.says = says

    def __call__(self, x, y):
        if len(x) % 2:
            raise ValueError(self.says + "\x1b[31m" + 10**6 * "<i>")
        return super().__call__(x, y)

def half_label(x, y):
    flat = x.reshape(x.shape[0], -1)
    mixed = (3 * x + np.roll(x, 1, 0)) / 4
    return mixed.astype(x.dtype), (np.eye(10)[y] + np.eye(10)[np.roll(y, 1)]) / 2

def all_wrong(batch):
    "What is wrong in every way."
    x = batch["image"]
    mixed = (x * 0.75 + np.roll(x, 1, 0) * 0.75).astype(np.float64)
    batch["id"] += 1
    return batch | {
        "image": mixed,
        "label": np.eye(10)[batch["label"]] * 2,
        "mask": batch["mask"][::-1],
        "boxes": batch["boxes"][::-1],
    }

def nan(x, y):
    return x * np.nan, np.full((len(y), 10), np.nan)

def far(x, y):
    return x * 1e30, -np.eye(10)[y] * np.inf

class Fails:
    def __init__(self):
        raise RuntimeError("not today")
"""
KEYS = '{"image": "x", "label": "y"}'


@pytest.fixture
def code(tmp_path):
    """A file with callables."""
    path = tmp_path / "mixing.py"
    path.write_text(RIGHT)
    return path


def test_nothing_found_is_exit_code_0(run, code, tmp_path):
    done, out, error = run("audit", f"{code}:Mix", "--calls", 3, "--out", tmp_path / "out")
    assert (done, error) == (0, "")
    assert "nothing found" in out
    assert "label error, odd batch" in out
    words = ["--call", "dict", "--keys", KEYS, "--calls", 3, "--out", tmp_path / "out"]
    assert run("audit", f"{code}:mixer", *words)[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert "Nothing was found." in (tmp_path / "out" / "report.html").read_text()


def test_boxes_of_a_detector_in_shares_of_the_image(run, code, tmp_path):
    words = ["--call", "pair", "--labels", "boxes", "--box-format", "cxcywhn", "--calls", 2]
    out = tmp_path / "out"
    assert run("audit", f"{code}:detection", *words, "--out", out)[0] == 0
    assert run("audit", f"{code}:flipped", *words, "--out", out)[0] == 1
    assert "--box-format cxcywhn" in (out / "report.html").read_text()
    assert (out / "wrong-boxes.png").exists()


def test_a_finding_is_exit_code_1_and_can_be_replayed(run, code, tmp_path):
    words = ["--args", '{"shift": 1}', "--calls", 3, "--out", tmp_path / "out"]
    done, out, _ = run("audit", f"{code}:Mix", *words)
    assert done == 1
    assert "found" in out
    path = tmp_path / "out" / "label-error-odd-batch.npz"
    assert path.exists()
    assert out.splitlines()[-1] == str(tmp_path / "out" / "report.html")

    done, again, error = run("audit", f"{code}:Mix", *words[:2], "--replay", path)
    assert (done, error) == (1, "")
    assert "report.html" not in again  # nothing is written unless --out says where
    (first,) = [line for line in out.splitlines() if "odd batch" in line]
    (second,) = [line for line in again.splitlines() if "odd batch" in line]
    assert first == second
    assert "even batch" not in again

    done, fixed, error = run("audit", f"{code}:Mix", "--replay", path)  # without the shift
    assert done == 0
    assert "nothing found" in fixed
    assert error == f'{path} was written with the --args {{"shift": 1}}, and this is {{}}\n'


def test_what_an_earlier_audit_found_does_not_stay(run, code, tmp_path):
    words = ["--calls", 3, "--out", tmp_path / "out"]
    run("audit", f"{code}:Mix", "--args", '{"shift": 1}', *words)
    assert (tmp_path / "out" / "label-error-odd-batch.png").exists()
    mine = {"mine.npz", "mine.png"}
    for name in mine:
        (tmp_path / "out" / name).touch()
    assert run("audit", f"{code}:Mix", *words)[0] == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == mine | {"report.html"}


def test_a_replay_with_a_folder_draws_what_it_finds(run, code, tmp_path):
    words = ["--calls", 3, "--out", tmp_path / "out", "--args", '{"shift": 1}']
    run("audit", f"{code}:Mix", *words)
    path, other = (tmp_path / "out" / f"label-error-{name}.npz" for name in ("uint8", "one-row"))
    words = ["--replay", path, "--args", '{"shift": 1}']
    before = sorted(tmp_path.rglob("*"))
    assert run("audit", f"{code}:Mix", *words)[0] == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert run("audit", f"{code}:Mix", *words, "--out", tmp_path / "again")[0] == 1
    names = {"label-error-uint8.npz", "label-error-uint8.png", "report.html"}
    assert {p.name for p in (tmp_path / "again").iterdir()} == names
    # of the checks that were not run again the files stay
    assert run("audit", f"{code}:Mix", "--replay", path, "--out", tmp_path / "out")[0] == 0
    assert other.exists()
    assert not path.exists()
    assert not path.with_suffix(".png").exists()


class Page(HTMLParser):
    """Which elements a page has, what it says, and what is open at its end."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.said, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data


def test_the_page_tells_all_and_needs_nothing(run, code, tmp_path):
    words = ["--args", '{"shift": 1}', "--calls", 3, "--out", tmp_path / "out"]
    run("audit", f"{code}:Mix", *words, "--accept", "label error, uint8")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.open == []
    for check in CHECKS.values():
        assert check.name in page.said
    assert CHECKS["label error, odd batch"].means in page.said
    assert "(at most 0.01) (accepted)" in page.said
    assert "--replay" in page.said
    assert page.tags.count("svg") == len(list((tmp_path / "out").glob("*.png"))) > 3
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert len(labels) == page.tags.count("svg")
    assert "row 0: label" in " ".join(labels)
    heads = [tag for tag in page.tags if tag in ("h1", "h2")]
    assert heads[0] == "h1"
    assert heads.count("h1") == 1
    for name, value in page.attributes:
        if name in ("src", "srcset", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), value
    anchors = {value for name, value in page.attributes if name == "id"}
    links = {value[1:] for name, value in page.attributes if name == "href" and value[0] == "#"}
    assert links <= anchors


def test_strangers_words_are_text_on_the_page(run, code, tmp_path):
    odd = tmp_path / "<b>&amp;'"
    odd.mkdir()
    words = ["--calls", 3, "--out", odd, "--args", '{"says": "<script>alert(1)</script>"}']
    assert run("audit", f"{code}:Markup", *words)[0] == 1
    page = Page((odd / "report.html").read_text())
    assert "script" not in page.tags
    assert "i" not in page.tags
    assert "<script>alert(1)</script>" in page.said
    assert "\x1b" not in page.said
    assert len((odd / "report.html").read_text()) < 2**20


def test_of_each_kind_of_finding_a_picture_is_drawn_or_there_is_none(run, code, tmp_path):
    words = ["--calls", 2, "--out", tmp_path / "out", "--call", "dict"]
    keys = {name: name for name in ("image", "label", "mask", "onehot_mask", "boxes", "id")}
    run("audit", f"{code}:all_wrong", *words, "--keys", json.dumps(keys))
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    saved = {path.stem for path in (tmp_path / "out").glob("*.npz")}
    assert saved - drawn == {"writes-to-inputs", "other-dtype", "repeated-mixes"}
    assert {"pixel-sum", "label-sum", "wrong-boxes", "changed-ids"} <= drawn
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as picture:
            colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20)}
        assert (0x2B, 0x6C, 0xB0) in colours, path.name  # the row's own


@pytest.mark.filterwarnings("ignore:invalid value")  # of the code that is audited
@pytest.mark.parametrize(("name", "said"), [("nan", "nan"), ("far", "1e+30")])
def test_numbers_that_are_none_are_told_as_such(run, code, tmp_path, name, said):
    words = ["--calls", 2, "--batch-size", 4, "--out", tmp_path / "out", "--json"]
    done, out, error = run("audit", f"{code}:{name}", *words)
    assert (done, error) == (1, "")
    assert json.loads(out)["checks"][0]["verdict"] == "found"  # which is JSON in spite of them
    assert f">{said}</td>" in (tmp_path / "out" / "report.html").read_text()
    with Image.open(tmp_path / "out" / "pixel-sum.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20)}
    assert (0xC8, 0x10, 0x2E) in colours  # red


@pytest.mark.parametrize("layout", ["NCDHW", "NCTHW", "NCT", "NTC", "NC"])
def test_other_kinds_of_data_are_drawn(run, code, tmp_path, layout):
    words = ["--layout", layout, "--calls", 2, "--batch-size", 4, "--out", tmp_path / "out"]
    size = ["--size", '{"T": 9}'] if "T" in layout else []
    done, out, error = run("audit", f"{code}:half_label", *words, *size, "--json")
    assert (done, error) == (1, "")
    told = json.loads(out)
    assert told["options"]["layout"] == layout
    assert told["options"]["size"]["T"] == (9 if size else 5)
    with Image.open(tmp_path / "out" / "label-error-even-batch.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20)}
    assert {(0x2B, 0x6C, 0xB0), (0xD9, 0x8A, 0x1F)} <= colours


def test_one_document_for_programs(run, code, tmp_path):
    words = ["--calls", 3, "--out", tmp_path / "out", "--json"]
    done, out, error = run("audit", f"{code}:Speaks", "--args", '{"shift": 1}', *words)
    assert done == 1
    assert set(error.split()) == {"hello"}
    told = json.loads(out)
    checks = {check["check"]: check for check in told["checks"]}
    odd = checks["label error, odd batch"]
    assert odd["check"] in told["found"]
    assert odd["verdict"] == "found"
    assert odd["number"] > odd["limit"] > 0
    assert odd["file"] == str(tmp_path / "out" / "label-error-odd-batch.npz")
    assert odd["picture"] == str(tmp_path / "out" / "label-error-odd-batch.png")
    assert (odd["batch"], type(odd["call"]), type(odd["row"])) == ("odd batch", int, int)
    assert checks["changed ids"]["number"] is None
    assert checks["changed ids"]["file"] is None
    assert list(checks) == list(CHECKS)
    assert {name: told[name] for name in ("target", "args", "framework", "accepted")} == {
        "target": f"{code}:Speaks", "args": '{"shift": 1}', "framework": "numpy", "accepted": [],
    }  # fmt: skip
    assert told["options"]["size"] == {"H": 12, "W": 20, "T": 5, "D": 6}
    assert {Path(path) for path in told["files"]} == set((tmp_path / "out").iterdir())


def test_the_findings_fit_80_columns(run, code, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["audit", f"{code}:Mix", "--args", '{"shift": 1}', "--calls", 3]
    _, out, _ = run(*words, "--out", tmp_path / "out")
    lines = out.partition(" found\n")[0].splitlines()
    assert "    row " in out
    assert max(map(len, lines[2:])) <= 80
    _, quiet, _ = run(*words, "--quiet", "--out", tmp_path / "out")
    assert "label error, odd batch" in quiet
    assert "changed ids" not in quiet


def test_the_page_of_the_command_shows_what_it_prints(tmp_path):
    """In a process of its own, as packages that others import bring dtypes along."""
    page = (DOCS / "audit.md").read_text()
    program = re.search(r"^```python\n(.*?)^found = ", page, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "mine.py").write_text(program)
    shown = re.search(r"^```text\n(mine.py:careless\n.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-m", "batchmix", "audit", "mine.py:careless"],
        cwd=tmp_path, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == (shown, "", 1)


def test_known_findings_can_be_accepted(run, code, tmp_path):
    words = ["audit", f"{code}:pair", "--call", "pair", "--labels", "onehot", "--calls", 3]
    words += ["--out", tmp_path / "out", "--max-unmixed", 1]
    assert run(*words)[0] == 0  # an identity: nothing is wrong but that nothing is mixed
    assert run(*words[:-1], 0.5)[0] == 1
    accepted = run(*words[:-1], 0.5, "--accept", "unmixed rows")
    assert accepted[0] == 0
    assert "accepted" in accepted[1]


def test_timm_by_its_module_name(run, tmp_path):
    args = {"mixup_alpha": 0, "cutmix_alpha": 1, "num_classes": 10, "mode": "elem"}
    words = ["--args", json.dumps(args), "--framework", "torch", "--out", tmp_path / "out"]
    done, out, _ = run("audit", "timm.data.mixup:Mixup", *words)
    assert done == 1
    assert (tmp_path / "out" / "label-error-video.npz").exists()
    assert "draws from numpy.random" in out
    words = ["--args", json.dumps(args), "--replay", tmp_path / "out" / "label-error-video.npz"]
    assert run("audit", "timm.data.mixup:Mixup", *words)[0] == 1  # of torch, as the file says


@pytest.mark.parametrize(
    ("target", "words", "says"),
    [
        ("mixing", [], "module:callable"),
        ("nowhere.py:mix", [], "no file nowhere.py"),
        ("no.such.module:mix", [], "ModuleNotFoundError"),
        (
            "{code}:nothing",
            [],
            "has no 'nothing'. It is a function or a class by its name. There is",
        ),
        ("{code}:Mix.nothing", [], "AttributeError"),
        ("{code}:number", [], "is of type int"),
        ("{code}:Fails", [], "RuntimeError: not today"),
        ("{code}:Mix", ["--args", "{}}"], "--args"),
        ("{code}:Mix", ["--args", "[]"], "--args"),
        ("{code}:Mix", ["--call", "pair"], "raised TypeError"),
        ("{code}:Mix", ["--layout", "NHW"], "layout='NHW'"),
        ("{code}:Mix", ["--size", "12"], "--size"),
        ("{code}:Mix", ["--size", '{"H": "x"}'], "whole numbers > 0"),
        ("{code}:Mix", ["--keys", '{"image": ["x"], "label": 5}'], "They are words"),
        ("{code}:Mix", ["--keys", KEYS], "Keys are those of call='dict'"),
        ("{code}", [], "module:callable"),
        ("../nowhere:mix", [], "no file ../nowhere"),
        ("{code}:", [], "module:callable"),
        (":mix", [], "module:callable"),
        ("{code}:Mix", ["--accept", "nothing"], "The checks are"),
        ("{code}:Mix", ["--framework", "mxnet"], "--framework"),
        ("{code}:Mix", ["--replay", "nowhere.npz"], "nowhere.npz"),
        (None, ["--replay", "nowhere.npz"], "no file says what is run"),
        ("{code}:Mix", ["--args", "[" * 100000], "--args"),
        ("{code}:Ends", [], "ends the program (exit code 0)"),
        (None, [], "Type for example: batchmix audit timm.data:Mixup"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(run, code, tmp_path, target, words, says):
    given = [] if target is None else [target.format(code=code)]
    done, _, error = run("audit", *given, *words, "--out", tmp_path / "out")
    assert done == 2
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_imports_what_lies_beside_it_and_replaces_no_module(tmp_path):
    """As the command runs, where the current folder is not on the path."""
    (tmp_path / "beside.py").write_text("import numpy as np\nhot = np.eye(10, dtype='float32')\n")
    (tmp_path / "json.py").write_text(
        "import numpy as np\nfrom beside import hot\n"
        "def mix(x, y):\n    o = np.roll(np.arange(len(x)), 1)\n"
        "    return (x + x[o]) / 2, (hot[y] + hot[y[o]]) / 2\n"
    )
    words = ["audit", str(tmp_path / "json.py") + ":mix", "--json", "--out", str(tmp_path / "out")]
    run = f"from batchmix.cli import main; main({words!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", run], capture_output=True, text=True, timeout=100, check=False
    )
    assert "Traceback" not in done.stderr
    assert "beside" not in done.stderr
    assert json.loads(done.stdout)["checks"][0]["verdict"] == "ok"


def test_a_framework_that_is_not_here_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MixError, match=r"pip install tensorflow"):
        maker("tensorflow")
